"""Copies: what pickle, copy and joblib carry of a model, and the model that is made of it.

They carry what describes a model (its layers, by their classes, and its settings), its arrays in host memory, and what
its optimizer remembers: nothing compiled, no plans, no device's arrays.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.backends import get_backend
from tinynet.layers.row import widths
from tinynet.models.assembly import checked_precision
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet.backends.base import State
    from tinynet.models.network import Network

_MADE_ANEW = frozenset(
    (
        "layers",
        "backend",
        "program",
        "state",
        "guard",
        "_users",
        "_plans",
        "_by_hand",
        "_predict_plan",
        "_quick",
        "_quick_derivatives",
    )
)
"""What of a model does not travel as it is."""

_CHANGED_BY_TRAINING = frozenset(("rng", "generators", "history", "scores", "metadata", "seeds"))
"""What even ``copy.copy`` must not share. The loss and the optimizer stay themselves: they are only read."""

_VECTORS = ("parameters", "buffers", "moments")
_COUNTERS = ("step", "draws", "dropout_seed")


def taken_apart(network: Network, state: State) -> dict[str, Any]:
    """Return what is needed to make a network like this one; it shares nothing that either would change."""
    to_numpy = network.backend.to_numpy
    return {
        "attributes": {
            name: deepcopy(value) if name in _CHANGED_BY_TRAINING else value
            for name, value in vars(network).items()
            if name not in _MADE_ANEW
        },
        "layers": [layer.fresh_copy() for layer in network.layers],
        "backend": network.backend.name,
        "precision": network.program.precision,
        "n_models": network.program.n_models,
        "vectors": {name: np.array(to_numpy(getattr(state, name))) for name in _VECTORS},
        "counters": {name: np.array(getattr(state, name)) for name in _COUNTERS},
    }


def put_together(network: Network, parts: dict[str, Any]) -> State:
    """Give an empty network what ``taken_apart`` told of another, but for its state, which is returned."""
    vars(network).update(parts["attributes"])
    network.layers, network.backend = tuple(parts["layers"]), get_backend(parts["backend"])
    widths_in = widths(network.layers)
    ops = tuple(layer.lower(n, i) for i, (layer, n) in enumerate(zip(network.layers, widths_in, strict=True)))
    precision = checked_precision(parts["precision"], network.dtype, network.backend)
    network.program = Program(ops, dtype=network.dtype, n_models=parts["n_models"], precision=precision)
    vectors, counters = parts["vectors"], {name: _counter(value) for name, value in parts["counters"].items()}
    asarray = network.backend.asarray
    with network.backend.active():
        state = network.backend.new_state(network.program, vectors["parameters"], counters["dropout_seed"])
        state.moments = network.backend.new_moments(state, len(vectors["moments"]), vectors["moments"].shape[-1])
        state.moments[...] = asarray(vectors["moments"])
    return replace(state, step=counters["step"], draws=counters["draws"])


def _counter(value: Any) -> Any:
    """Return the counter of one model as a number, those of many as an array of their own."""
    return np.array(value) if np.ndim(value) else int(value)
