"""Putting layers together: whether they fit, and the values that they start from."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends.base import Backend
from tinynet.base.checks import member
from tinynet.layers import Denormalize
from tinynet.layers.layer import Layer
from tinynet.program import PRECISIONS, Precision


def checked_dtype(dtype: DTypeLike) -> str:
    """Return the name of a dtype that models compute in, or say which there are."""
    name = str(np.dtype(dtype))
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {name!r}.")
    return name


def checked_precision(precision: object, dtype: str, backend: Backend) -> Precision:
    """Return what the factors of products may be rounded to, if a backend can compute a model of this dtype so.

    Raises
    ------
    ValueError
        If there is no such precision, the model is float64, or the backend cannot.

    Examples
    --------
    >>> from tinynet.backends import get_backend
    >>> checked_precision("float32", "float64", get_backend("numpy"))
    'float32'
    """
    chosen: Precision = member("precision", precision, PRECISIONS)
    if chosen != "float32" and dtype != "float32":
        raise ValueError(
            f"precision={chosen!r} is for models of dtype float32; got dtype={dtype!r}. Leave precision out (or pass "
            "precision='float32'), or use dtype='float32'."
        )
    backend.check_precision(chosen)
    return chosen


def refuse_scaling_within(layers: tuple[Layer, ...]) -> None:
    """Raise ValueError if something comes after a ``Denormalize``, so that targets would not be scaled."""
    for position, layer in enumerate(layers):
        if isinstance(layer, Denormalize) and not 0 < position == len(layers) - 1:
            raise ValueError(
                f"{layer!r} scales the targets as the last layer of a network; got it as layer {position} of "
                f"{len(layers)}. Put it at the end."
            )


def values_of(layer: Layer, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the values a layer was given while it stood alone, else fresh ones."""
    drawn = layer.initial_values(rng)
    held = layer.held_values()
    return drawn if held is None else held
