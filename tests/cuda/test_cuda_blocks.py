"""Several outputs for each target, and targets with gaps, on a GPU: kernel by kernel, fused, and in ensembles."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2)) + 3
GAPS = np.where(RNG.random(Y.shape) < 0.3, np.nan, Y)


def network(backend: str) -> tn.Sequential:
    scaled = tn.Denormalize(2, powers=(1, 2)).adapt(GAPS, missing_targets="ignore")
    layers = [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 4), tn.MeanVariance(2), scaled]
    return tn.Sequential(*layers, dtype="float64", seed=1, backend=backend)


def trained(backend: str, n_models: int | None) -> list[Any]:
    net: Any = network(backend)
    net = net if n_models is None else tn.Ensemble(net, n_models)
    options: Any = {"loss": "gaussian_nll", "missing_targets": "ignore"}
    history = net.fit(X, GAPS, epochs=2, batch_size=7, metrics="mae", **options)
    return [history["loss"], history["mae"], net.predict(X), net.evaluate(X, GAPS, **options)["loss"]]


@pytest.mark.parametrize("n_models", [None, 2])
@pytest.mark.parametrize("tier", ["loop", None])
def test_a_training_is_numpys(
    tier: str | None, n_models: int | None, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier is not None:
        monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    for got, expected in zip(trained("gpu", n_models), trained("numpy", n_models), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9)
