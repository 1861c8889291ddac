"""Networks, trained in less than float32, and how far they are from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(41)
X = RNG.standard_normal((48, 20)).astype(np.float32)
Y = RNG.standard_normal((48, 3)).astype(np.float32)

# A factor is rounded by at most half a unit of its last bit: 2**-11 in TF32, 2**-8 in bfloat16.
TOLERANCES = {"tf32": 1e-3, "bf16": 1e-2}

OPTIMIZERS = {
    "descent": lambda: tn.SGD(0.05),
    "momentum": lambda: tn.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda: tn.Adam(0.003, clip_norm=1.0),
}

each_precision = pytest.mark.parametrize("precision", TOLERANCES)


def network(backend: str = "gpu", **settings: Any) -> tn.Sequential:
    layers = tn.Linear(20, 33), tn.Tanh(), tn.Linear(33, 3)
    return tn.Sequential(*layers, **{"seed": 7, "backend": backend, **settings})


def trained(backend: str = "gpu", optimizer: str = "adam", **settings: Any) -> tn.Sequential:
    net = network(backend, **settings)
    net.fit(X, Y, optimizer=OPTIMIZERS[optimizer](), epochs=3, batch_size=16)
    return net


def change(net: tn.Sequential) -> np.ndarray:
    """What training has made of the weights."""
    return net.flat_parameters() - network("numpy").flat_parameters()


def difference(net: tn.Sequential, other: tn.Sequential) -> float:
    """The difference of two trainings relative to what they have changed."""
    return float(np.linalg.norm(change(net) - change(other)) / np.linalg.norm(change(other)))


def plan_of(net: tn.Sequential, **settings: Any) -> str:
    return net.fit(X, Y, **settings).plan
