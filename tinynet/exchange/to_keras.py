"""Networks for Keras: a ``keras.Sequential`` of its own layers, with copies of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import requires
from tinynet.exchange.parts import Parts, refuse_layers
from tinynet.layers.layer import Layer

Arrays = Mapping[str, NDArray[Any]]

ACTIVATIONS = {
    "Identity": "linear",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Softplus": "softplus",
    "Exp": "exponential",
    "Softmax": "softmax",
}
"""Keras's names of those without a number of their own."""


def _normalization(layers: Any, layer: Layer, arrays: Arrays, dtype: str) -> Any:
    # Keras holds variances.
    return layers.Normalization(mean=arrays["mean"], variance=np.square(arrays["scale"]), dtype=dtype)


def _denormalization(layers: Any, layer: Layer, arrays: Arrays, dtype: str) -> Any:
    scale = 1.0 / arrays["unit"]
    return layers.Normalization(mean=-arrays["zero"] * scale, variance=np.square(scale), invert=True, dtype=dtype)


LAYERS: dict[str, Callable[[Any, Any, Arrays, str], Any]] = {
    "Linear": lambda layers, layer, arrays, dtype: layers.Dense(
        layer.n_out, use_bias="bias" in arrays, trainable=layer.trainable, dtype=dtype
    ),
    "Normalize": _normalization,
    "Denormalize": _denormalization,
    "LeakyReLU": lambda layers, layer, arrays, dtype: layers.LeakyReLU(negative_slope=layer.alpha, dtype=dtype),
    "ELU": lambda layers, layer, arrays, dtype: layers.ELU(alpha=layer.alpha, dtype=dtype),
    "LayerNorm": lambda layers, layer, arrays, dtype: layers.LayerNormalization(
        epsilon=layer.eps, center=layer.affine, scale=layer.affine, trainable=layer.trainable, dtype=dtype
    ),
    "BatchNorm": lambda layers, layer, arrays, dtype: layers.BatchNormalization(
        momentum=1.0 - layer.momentum,
        epsilon=layer.eps,
        center=layer.affine,
        scale=layer.affine,
        trainable=layer.trainable,
        dtype=dtype,
    ),
    "Dropout": lambda layers, layer, arrays, dtype: layers.Dropout(layer.rate, dtype=dtype),
}
"""For each other layer by its class: the layer of Keras that does the same."""


def as_keras(parts: Parts, n_in: int) -> Any:
    """Return the network as a ``keras.Sequential``; see ``Sequential.to_keras``."""
    try:
        import keras
    except ImportError as error:
        raise requires(
            "keras", "to_keras", "pip install keras, and one of its backends: jax, torch or tensorflow"
        ) from error
    refuse_layers(parts, LAYERS | ACTIVATIONS, "to_keras")
    layers = [
        keras.layers.Activation(ACTIVATIONS[name], dtype=parts.dtype)
        if (name := type(layer).__name__) in ACTIVATIONS
        else LAYERS[name](keras.layers, layer, arrays, parts.dtype)
        for layer, arrays in zip(parts.layers, parts.arrays, strict=True)
    ]
    model = keras.Sequential([keras.Input((n_in,), dtype=parts.dtype), *layers])
    learned = keras.layers.Dense, keras.layers.LayerNormalization, keras.layers.BatchNormalization
    for made, arrays in zip(layers, parts.arrays, strict=True):
        if isinstance(made, learned):
            made.set_weights(list(arrays.values()))
    return model
