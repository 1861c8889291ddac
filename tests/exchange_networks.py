"""Networks that exchange formats are tested with: one for each layer, and inputs that reach its tails."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn
from tinynet.layers import ACTIVATIONS, LAYERS

NAMES = sorted(set(LAYERS) - {"Embedding"})
"""Layers that may stand within a network."""
DERIVED = sorted(set(NAMES) - {"LayerNorm", "Residual"})
"""Layers whose derivatives are exported, too."""
KINDS = sorted(ACTIVATIONS)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Linear": (5, 5),
    "Normalize": (5,),
    "Denormalize": (5,),
    "LeakyReLU": (0.3,),
    "ELU": (0.7,),
    "Dropout": (0.25,),
    "Increasing": (5,),
    "MeanVariance": (3,),
}
ARGUMENTS["Activation"] = (lambda x: x * tn.math.tanh(tn.math.softplus(x)),)
ARGUMENTS |= {"LayerNorm": (5, 1e-3), "BatchNorm": (5, 1e-3)}
ALPHAS = {"leaky_relu": 0.3, "elu": 0.7}

X = np.random.default_rng(0).normal(size=(40, 3)) * 4
"""Samples, (40, 3)."""

LEVELS = np.insert(X, [1, 3], np.random.default_rng(5).integers(0, 3, (40, 2)), axis=1)
"""Samples with levels in columns 1 and 4."""

GRID = np.concatenate([np.linspace(-40, 40, 801), [-0.0, 1e-9, -1e-9, -300.0, 300.0]])
"""Pre-activations."""


def layer(name: str) -> tn.Layer:
    """A layer of a kind; one with a width has 5 inputs and 5 outputs, or 6."""
    made = LAYERS[name](*(within() if name == "Residual" else ARGUMENTS.get(name, ())))
    if isinstance(made, tn.BatchNorm | tn.LayerNorm):
        rng = np.random.default_rng(4)
        made.weight, made.bias = rng.uniform(0.5, 2.0, 5), rng.normal(size=5)
        if isinstance(made, tn.BatchNorm):
            made.running_mean, made.running_var = rng.normal(size=5), rng.uniform(0.5, 2.0, 5)
    if isinstance(made, tn.Normalize | tn.Denormalize):
        made.adapt(np.random.default_rng(1).normal(size=(20, 5)) * [1.0, 2.0, 3.0, 4.0, 5.0] + 2)
    return made


def within() -> tuple[tn.Layer, ...]:
    """The layers of a Residual: a batch norm behind a linear layer, others that change the width, and dropout."""
    inner = tn.Residual(tn.Linear(5, 4, bias=False), tn.Tanh()), tn.LayerNorm(4, affine=False)
    return tn.Linear(5, 5), layer("BatchNorm"), *inner, tn.Dropout(0.1), tn.Linear(4, 5), tn.Residual(tn.Linear(5, 5))


def embedded(dtype: str = "float64") -> tn.Sequential:
    """A network that reads levels in the second and the last of five columns."""
    first = [tn.Normalize(5, columns=[0, 2, 3]).adapt(LEVELS), tn.Embedding([4, 3], [2, 1], columns=[4, 1], n_in=5)]
    return tn.Sequential(*first, tn.Linear(6, 3), tn.Tanh(), dtype=dtype, seed=3, backend="numpy")


def network(name: str, dtype: str = "float64") -> tn.Sequential:
    """A network that has a kind of layer in its middle, again before a layer without bias, and at its end."""
    n = layer(name).n_in or 5
    layers = [tn.Linear(3, n, bias_init=0.1), layer(name), tn.Linear(n, n, bias=False), layer(name), layer(name)]
    net = tn.Sequential(*layers, dtype=dtype, seed=3, backend="numpy")
    if name == "Exp":  # exp(exp(exp(z))) is infinite for z above 1.9
        net.set_flat_parameters(0.02 * net.flat_parameters())
    return net


def activation_alone(kind: str, dtype: str = "float64") -> tn.Sequential:
    """A network that is one activation of one number; softmax of it and of 0."""
    made = ACTIVATIONS[kind](*([ALPHAS[kind]] if kind in ALPHAS else []))
    width = 2 if kind == "softmax" else 1
    net = tn.Sequential(tn.Linear(1, width), made, dtype=dtype, backend="numpy")
    net.set_weights([np.eye(1, width), np.zeros(width)])
    return net
