"""Rows of layers: whether they fit, and what width comes into each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tinynet.base.hints import did_you_mean, instance_meant
from tinynet.layers.layer import Layer


def checked_layers(
    layers: tuple[Any, ...], owner: str = "Sequential", names: Collection[str] = ()
) -> tuple[Layer, ...]:
    """Return layers, given one by one or as a list, or say why they make no row; ``names`` are those that there are."""
    if len(layers) == 1 and isinstance(layers[0], Sequence):
        layers = tuple(layers[0])
    if not layers:
        raise ValueError(
            f"{owner} expects at least one layer; got none. Pass all of them at once, as in "
            f"tn.{owner}(tn.Linear(4, 8), tn.ReLU(), tn.Linear(8, 1))."
        )
    for layer in layers:
        if not isinstance(layer, Layer):
            hint = did_you_mean(layer, names) if isinstance(layer, str) else instance_meant(layer, Layer)
            raise TypeError(
                f"{owner} expects layers; got {layer!r}.{hint or ' Layers are objects, as in tn.Linear(4, 5).'}"
            )
        if layer.owned or sum(other is layer for other in layers) > 1:
            raise ValueError(f"{layer!r} is in use already. Make a new layer for each place in a model.")
    return layers


def widths(layers: tuple[Layer, ...], owner: str = "Sequential") -> list[int]:
    """Return the width that comes into each layer; neighbours must fit."""
    width = next((layer.n_in for layer in layers if layer.n_in is not None), None)
    if width is None:
        raise ValueError(f"{owner} expects a layer with a width, such as Linear(n_in, n_out); got none.")
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
