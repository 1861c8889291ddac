"""Data, networks and a quick sweep for the tests of sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sin(X.sum(axis=1, keepdims=True)) + 0.1 * RNG.normal(size=(40, 1))
TRAIN, HELD = (X[:30], Y[:30]), (X[30:], Y[30:])


def build(width: int = 4, dropout: float = 0.0, activation: str = "tanh", seed: int | None = None) -> tn.Sequential:
    layer = {"tanh": tn.Tanh, "relu": tn.ReLU}[activation]
    return tn.Sequential(
        tn.Normalize(3).adapt(TRAIN[0]),
        tn.Linear(3, width),
        layer(),
        tn.Dropout(dropout),
        tn.Linear(width, 1),
        dtype="float64",
        backend="numpy",
        seed=seed,
    )


def quick(space: Any, **options: Any) -> tn.SweepResult:
    chosen: dict[str, Any] = {"optimizer": tn.SGD(0.05), "epochs": 3, "batch_size": 8, "validation_data": HELD}
    return tn.sweep(options.pop("build", build), space, *TRAIN, **chosen | options)
