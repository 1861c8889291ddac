"""How far numbers may lie from the oracle's, and a network of the library's as the oracle has it."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

import tinynet as tn

from . import oracle
from .cases import Case

ROUNDINGS = 300
"""How many times farther than a training whose first weights were rounded otherwise may the library's lie."""


class Mismatch(AssertionError):
    """The library and the oracle disagree by more than rounding can explain."""


def compare(case: Case, what: str, got: Any, expected: list[Any]) -> None:
    """Hold numbers against the oracle's, given for the model as it is and for those that were rounded otherwise."""
    right, *others = (_flat(one) for one in expected)
    if not np.abs(right).max(initial=0.0) < np.finfo(case.dtype).max:
        return  # It is beyond the numbers of the dtype: there is nothing to compare with.
    scale = max(1.0, float(np.abs(right).max(initial=0.0)))
    moved = max(float(np.abs(one - right).max(initial=0.0)) for one in others)
    allowed = ROUNDINGS * (moved + float(np.finfo(case.dtype).eps) * scale)
    numbers = _flat(got)
    off = float(np.abs(numbers - right).max(initial=0.0)) if numbers.shape == right.shape else math.inf
    if not off <= allowed:
        raise Mismatch(f"{what} differ by {off:.3g}; rounding explains {allowed:.3g}")


def _flat(value: Any) -> Any:
    """Return a number, an array or a list of them as one float64 vector."""
    values = value if isinstance(value, list) else [value]
    return np.concatenate([np.ravel(np.asarray(a, np.float64)) for a in values] or [np.empty(0)])


def net_of(case: Case, net: tn.Sequential) -> oracle.Net:
    """Return a network as the oracle has it, in float64."""
    layers: list[tuple[str, Any]] = []
    frozen: list[int] = []
    n_arrays = 0
    for place, (layer, (kind, *settings)) in enumerate(zip(net.layers, case.layers, strict=True)):
        if kind == "Normalize":
            layers.append((kind, [np.asarray(net.backend.to_numpy(v), np.float64) for v in (layer.mean, layer.scale)]))
        else:
            layers.append((kind, settings[-1] if settings else 0.0))
        if kind == "Linear":
            arrays = range(n_arrays, n_arrays + 1 + settings[-1])
            frozen += arrays if place in case.frozen else []
            n_arrays = arrays.stop
    weights = [np.asarray(w, np.float64) for w in net.get_weights()]
    return oracle.Net(layers, weights, int(net.state.dropout_seed), int(net.state.draws), frozenset(frozen))


def otherwise_rounded(case: Case, net: oracle.Net, n: int = 3) -> list[oracle.Net]:
    """Return a network and some of the same whose weights are rounded otherwise."""
    rng, epsilon = np.random.default_rng(case.seed), float(np.finfo(case.dtype).eps)
    found = [copy.deepcopy(net)]
    for _ in range(n):
        own = copy.deepcopy(net)
        own.weights = [w * (1 + epsilon * rng.standard_normal(w.shape)) for w in own.weights]
        found.append(own)
    return found


def as_they_are(case: Case, net: tn.Sequential) -> list[oracle.Net]:
    """Return the oracle's networks with the weights that the library's has now."""
    return otherwise_rounded(case, net_of(case, net))
