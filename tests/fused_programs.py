"""Losses, optimizers and layers for the tests of fused plans: every one that the library has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinynet as tn

RNG = np.random.default_rng(9)

LOSSES: dict[str, tuple[tn.Loss, str]] = {
    "mse": (tn.MeanSquaredError(), "values"),
    "mse-sum": (tn.MeanSquaredError(reduction="sum"), "values"),
    "mae": (tn.MeanAbsoluteError(), "values"),
    "huber": (tn.Huber(0.5), "values"),
    "bce-logits": (tn.BinaryCrossEntropy(from_logits=True), "bits"),
    "poisson": (tn.PoissonLoss(), "counts"),
    "cross-entropy": (tn.CrossEntropy(), "labels"),
    "cross-entropy-rows": (tn.CrossEntropy(), "rows"),
    "cross-entropy-sum": (tn.CrossEntropy(reduction="sum"), "labels"),
}
OPTIMIZERS: dict[str, Callable[[], tn.Optimizer]] = {
    "sgd": lambda: tn.SGD(0.01),
    "decay": lambda: tn.SGD(0.01, weight_decay=0.1),
    "momentum": lambda: tn.SGD(0.01, momentum=0.9),
    "nesterov": lambda: tn.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "clip value": lambda: tn.SGD(0.01, clip_value=0.02),
    "clip norm": lambda: tn.SGD(0.01, clip_norm=0.05),
    "schedule": lambda: tn.SGD(tn.CosineDecay(0.01, 3)),
    "adam": lambda: tn.Adam(0.01),
    "adam, decay": lambda: tn.Adam(0.01, weight_decay=0.1, clip_norm=1.0, clip_value=0.5),
    "adam, no epsilon": lambda: tn.Adam(0.001, epsilon=0.0),
    "adam, epsilon hat": lambda: tn.Adam(0.01, epsilon=1e-3, epsilon_hat=True),
    "adamw": lambda: tn.AdamW(0.01),
    "rmsprop": lambda: tn.RMSprop(0.01),
    "rmsprop, all": lambda: tn.RMSprop(0.01, weight_decay=0.1, momentum=0.5, centered=True),
    "rmsprop, momentum": lambda: tn.RMSprop(0.01, momentum=0.5),
    "rmsprop, centered": lambda: tn.RMSprop(0.01, centered=True),
}

LAYERS: dict[str, Callable[[], list[tn.Layer]]] = {
    "one layer": lambda: [tn.Linear(3, 2)],
    "one output": lambda: [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1)],
    "width 1": lambda: [tn.Linear(1, 1), tn.Tanh(), tn.Linear(1, 1)],
    "no bias": lambda: [tn.Linear(3, 4, bias=False), tn.ELU(0.5), tn.Linear(4, 2, bias=False)],
    "four layers": lambda: [tn.Linear(2, 4), tn.ReLU(), tn.Linear(4, 3), tn.Tanh(), tn.Linear(3, 4), tn.Linear(4, 2)],
    "dropout": lambda: [tn.Linear(3, 8), tn.ReLU(), tn.Dropout(0.5), tn.Linear(8, 2), tn.Dropout(0.1)],
    "normalize": lambda: [
        tn.Normalize(3).adapt(RNG.normal(size=(9, 3)) + 2),
        tn.Linear(3, 4),
        tn.Tanh(),
        tn.Linear(4, 2),
    ],
    "normalize inside": lambda: [
        tn.Linear(3, 4),
        tn.Normalize(4).adapt(np.arange(20.0).reshape(5, 4)),
        tn.Linear(4, 2),
    ],
    "activation first": lambda: [tn.Tanh(), tn.Linear(3, 2)],
    "dropout first": lambda: [tn.Dropout(0.3), tn.Linear(3, 2)],
    "two activations": lambda: [tn.Linear(3, 4), tn.Tanh(), tn.GELU(), tn.Linear(4, 2), tn.Sigmoid(), tn.Tanh()],
}
