"""A network for the tests of files."""

from __future__ import annotations

import numpy as np

import tinynet as tn

X = np.random.default_rng(0).normal(size=(7, 3))


def network(backend: str = "numpy", dtype: str = "float32") -> tn.Sequential:
    layers = [tn.Normalize(3).adapt(X), tn.Linear(3, 4), tn.LeakyReLU(0.2), tn.Dropout(0.1)]
    return tn.Sequential(*layers, tn.Linear(4, 2, bias=False), tn.Softmax(), dtype=dtype, seed=0, backend=backend)
