"""Spaces: which settings a sweep tries, as a grid or drawn at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinynet.base.checks import whole
from tinynet.layers.initializers import Initializer
from tinynet.sweeps.distributions import Distribution

Settings = dict[str, Any]
Space = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def settings_of(space: Space, n_samples: int | None = None, seed: int = 0) -> list[Settings]:
    """Return the settings that a space stands for.

    Parameters
    ----------
    space : dict of str to list or distribution; or a list of such dicts
        Of several dicts all are taken, one after the other: for settings that go together with some others only.
    n_samples : int, optional
        None: all combinations of the lists. A number: so many settings drawn at random; where all are lists, different
        ones.
    seed : int
        Of what is drawn.

    Raises
    ------
    TypeError, ValueError
        If the space is none, or holds distributions and ``n_samples`` is not given.

    Examples
    --------
    >>> settings_of({"width": [8, 16], "activation": ["tanh"]})
    [{'width': 8, 'activation': 'tanh'}, {'width': 16, 'activation': 'tanh'}]
    """
    spaces = [_checked(one) for one in ([space] if isinstance(space, Mapping) else space)]
    if not spaces:
        raise ValueError("space expects a dict, or a list of dicts; got an empty list. {} trains one setting.")
    drawn = [name for one in spaces for name, values in one.items() if not isinstance(values, list)]
    if n_samples is None:
        if drawn:
            raise ValueError(
                f"space has a distribution for {drawn[0]!r}, and a grid needs a list. Give a list of values, or "
                "n_samples for a random search."
            )
        return [_combined(one, values) for one in spaces for values in itertools.product(*one.values())]
    n, rng = whole("n_samples", n_samples), np.random.default_rng(seed)
    if not drawn:
        return _different(spaces, n, rng)
    return [_sample(spaces[rng.integers(len(spaces))], rng) for _ in range(n)]


def _checked(one: Any) -> dict[str, Any]:
    """Return a space with its lists as lists of Python values."""
    if not isinstance(one, Mapping):
        raise TypeError(f"space expects a dict of names to values, or a list of such dicts; got {one!r}.")
    checked: dict[str, Any] = {}
    for name, values in one.items():
        if isinstance(values, Distribution | Initializer) or hasattr(values, "rvs"):
            checked[name] = values
        elif isinstance(values, list | tuple | range | np.ndarray):
            checked[name] = [_python(value) for value in values]
            if not checked[name]:
                raise ValueError(f"space expects at least one value for {name!r}; got none.")
        else:
            raise TypeError(
                f"space expects a list of values or a distribution for {name!r}; got {values!r}. "
                f"For one value write [{values!r}]."
            )
    return checked


def _combined(one: dict[str, Any], values: Sequence[Any]) -> Settings:
    return dict(zip(one, values, strict=True))


def _different(spaces: list[dict[str, Any]], n: int, rng: np.random.Generator) -> list[Settings]:
    """Draw different settings from grids, without making all of them."""
    sizes = [math.prod(map(len, one.values())) for one in spaces]
    if n > sum(sizes):
        raise ValueError(
            f"n_samples={n} asks for more settings than the space has, {sum(sizes)}. Leave it out to try them all."
        )
    ends = np.cumsum(sizes)
    found = []
    for place in rng.choice(sum(sizes), n, replace=False).tolist():
        which = int(np.searchsorted(ends, place, side="right"))
        one, within = spaces[which], place - (int(ends[which - 1]) if which else 0)
        shape = tuple(map(len, one.values()))
        positions = np.unravel_index(within, shape) if shape else ()
        found.append(_combined(one, [values[int(i)] for values, i in zip(one.values(), positions, strict=True)]))
    return found


def _sample(one: dict[str, Any], rng: np.random.Generator) -> Settings:
    return {name: _draw(values, rng) for name, values in one.items()}


def _draw(values: Any, rng: np.random.Generator) -> Any:
    if isinstance(values, list):
        return values[rng.integers(len(values))]
    if isinstance(values, Distribution | Initializer):
        return _python(values((), rng))
    return _python(values.rvs(random_state=rng))


def _python(value: Any) -> Any:
    """Return a number of NumPy, or an array of no dimensions, as Python's."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value
