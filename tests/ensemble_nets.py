"""Data, networks and ensembles for the tests of ensembles."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn

N, E = 19, 9
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 2))
Y = np.sin(X[:, :1]) + 0.1 * RNG.normal(size=(N, 1))
XV, YV = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1))


def net(backend: str = "numba", rate: Any = None, seed: int | None = 0) -> tn.Sequential:
    dropout = [] if rate is None else [tn.Dropout(rate)]
    layers = [tn.Linear(2, 3), tn.Tanh(), *dropout, tn.Linear(3, 1)]
    return tn.Sequential(*layers, dtype="float64", seed=seed, backend=backend)


def models(backend: str = "numba", rate: Any = None) -> tn.Ensemble:
    return tn.Ensemble(net(backend, rate), E, seeds=range(10, 10 + E))


def assert_is(model: tn.Sequential, other: tn.Sequential) -> None:
    np.testing.assert_allclose(model.flat_parameters(), other.flat_parameters(), rtol=1e-12, atol=1e-13)


MOMENTA = np.linspace(0.0, 0.9, E)
