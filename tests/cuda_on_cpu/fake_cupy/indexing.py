"""Keys of an index: which give a view, and where arrays among them go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAY = object()
"""Stands for an array among the keys."""


def is_basic(key: Any) -> bool:
    if isinstance(key, bool):
        return False
    return key is None or key is Ellipsis or isinstance(key, (slice, int, np.integer))


def opened(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return keys that give an array even where only one element is left."""
    return keys if Ellipsis in keys else (*keys, ...)


def wrapped(host: NDArray[Any], pattern: tuple[Any, ...], arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
    """Put index arrays in their places; CuPy wraps what is out of bounds round."""
    rest, axis, result = iter(arrays), 0, []
    for key in pattern:
        if key is not ARRAY:
            result.append(key)
            axis += key is not None and key is not Ellipsis
            continue
        index = next(rest)
        if index.dtype == bool:
            axis += index.ndim
        else:
            index, axis = index % max(1, host.shape[axis]), axis + 1
        result.append(index)
    return tuple(result)
