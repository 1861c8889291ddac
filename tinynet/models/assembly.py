"""Putting layers together: whether they fit, and the values that they start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends.base import Backend
from tinynet.base.arrays import numpy_namespace
from tinynet.base.checks import member
from tinynet.layers import Denormalize, Embedding, Normalize
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


def refuse_late_embedding(layers: tuple[Layer, ...]) -> None:
    """Raise ValueError if an ``Embedding`` would read what are no levels: it reads data, standardised at most."""
    for position, layer in enumerate(layers):
        if isinstance(layer, Embedding) and any(not isinstance(other, Normalize) for other in layers[:position]):
            raise ValueError(
                f"{layer!r} reads levels that stand in the data; got it as layer {position}. Put it first, or after a "
                "Normalize of other columns."
            )


def levels_read(layers: Sequence[Layer]) -> Embedding | None:
    """Return the layer that reads levels in the data, if there is one."""
    return next((layer for layer in layers[:2] if isinstance(layer, Embedding)), None)


def check_levels(layer: Embedding, x: Any, columns: tuple[Any, Any] | None) -> None:
    """Raise ValueError if there is something else in the columns of levels than levels.

    Parameters
    ----------
    layer : Embedding
    x : (n_samples, n_in) array of any backend
        Data as they were given.
    columns : (mean, scale) or None
        Of a ``Normalize`` before the layer.
    """
    for column, n_levels in zip(layer.columns, layer.levels, strict=True):
        values = x[:, column]
        if columns is not None:
            values = (values - columns[0][column]) / columns[1][column]
        wrong = (values != numpy_namespace(values).floor(values)) | (values < 0) | (values >= n_levels)
        if bool(wrong.any()):
            row, where = int(wrong.argmax()), "" if columns is None else ", after what stands before it"
            raise ValueError(
                f"{layer!r} expects whole levels from 0 to {n_levels - 1} in column {column}; got "
                f"{float(values[row]):g} in row {row}{where}. Number the levels from 0, and leave such columns out of "
                "Normalize: tn.Normalize(n, columns=...)."
            )


def values_of(layer: Layer, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the values a layer was given while it stood alone, else fresh ones."""
    drawn = layer.initial_values(rng)
    held = layer.held_values()
    return drawn if held is None else held
