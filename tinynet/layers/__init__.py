"""The layers that a network is made of, and what they start from.

They say WHAT to compute and lower themselves to ``Program``; they may use ``backends``, ``program`` and ``base``.
"""

from __future__ import annotations

from collections.abc import Callable

from tinynet.base.checks import member
from tinynet.layers.activations import (
    ELU,
    GELU,
    Activation,
    Exp,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinynet.layers.blocks import Increasing, MeanVariance
from tinynet.layers.denormalize import Denormalize
from tinynet.layers.dropout import Dropout
from tinynet.layers.embedding import Embedding
from tinynet.layers.layer import Layer
from tinynet.layers.linear import Linear
from tinynet.layers.normalize import Normalize
from tinynet.layers.norms import BatchNorm, LayerNorm
from tinynet.layers.residual import Residual

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "LAYERS",
    "Activation",
    "BatchNorm",
    "Denormalize",
    "Dropout",
    "Embedding",
    "Exp",
    "Identity",
    "Increasing",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MeanVariance",
    "Normalize",
    "ReLU",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "get_activation",
]

LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        Linear,
        Identity,
        Sigmoid,
        Tanh,
        ReLU,
        LeakyReLU,
        ELU,
        GELU,
        SiLU,
        Softplus,
        Exp,
        Softmax,
        Activation,
        Dropout,
        Normalize,
        Denormalize,
        Increasing,
        MeanVariance,
        LayerNorm,
        BatchNorm,
        Residual,
        Embedding,
    )
}
"""Every layer of the library by name: what a model file may contain."""

ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    cls.kind: cls for cls in LAYERS.values() if issubclass(cls, Activation) and cls is not Activation
}
"""Activation layers of the library by the name of their kernel."""


def get_activation(name: str) -> Activation:
    """Return the activation layer of a name.

    Examples
    --------
    >>> get_activation("tanh")
    Tanh()
    """
    return ACTIVATIONS[member("activation", name, ACTIVATIONS)]()
