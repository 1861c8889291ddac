"""Putting layers together: whether they fit, and the values that they start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends.base import Backend
from tinynet.base.checks import member
from tinynet.base.hints import did_you_mean, instance_meant
from tinynet.layers import LAYERS, Denormalize
from tinynet.layers.layer import Layer
from tinynet.program import PRECISIONS, Precision


def checked_layers(layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    """Return layers, given one by one or as a list, or say why they make no network."""
    if len(layers) == 1 and isinstance(layers[0], Sequence):
        layers = tuple(layers[0])
    if not layers:
        raise ValueError("Sequential expects at least one layer; got none.")
    for layer in layers:
        if not isinstance(layer, Layer):
            hint = did_you_mean(layer, LAYERS) if isinstance(layer, str) else instance_meant(layer, Layer)
            raise TypeError(
                f"Sequential expects layers; got {layer!r}.{hint or ' Layers are objects, as in tn.Linear(4, 5).'}"
            )
        if layer.owned or sum(other is layer for other in layers) > 1:
            raise ValueError(f"{layer!r} is in use already. Make a new layer for each place in a model.")
    return layers


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


def widths(layers: tuple[Layer, ...]) -> list[int]:
    """Return the width that comes into each layer; neighbours must fit."""
    width = next((layer.n_in for layer in layers if layer.n_in is not None), None)
    if width is None:
        raise ValueError("Sequential expects a layer with a width, such as Linear(n_in, n_out); got none.")
    found = []
    for position, layer in enumerate(layers):
        if layer.n_in is not None and layer.n_in != width:
            raise ValueError(
                f"layer {position}, {layer!r}, expects inputs of width {layer.n_in}; the layers before it give "
                f"{width}. Make the widths of neighbouring layers equal."
            )
        found.append(width)
        width = layer.n_out if layer.n_out is not None else width
    return found


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
