"""Layers that standardise, skip and embed on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(3)
X = np.hstack([RNG.normal(size=(12, 3)), RNG.integers(0, 4, (12, 1))])
Y = X[:, :1] ** 2

NETWORKS: dict[str, Callable[[], list[tn.Layer]]] = {
    "norms": lambda: [tn.BatchNorm(4), tn.Linear(4, 5), tn.LayerNorm(5), tn.Tanh(), tn.Linear(5, 1)],
    "projected": lambda: [
        tn.Residual(tn.Linear(4, 6, bias=False), tn.BatchNorm(6, affine=False), tn.Dropout(0.2)),
        tn.Linear(6, 1),
    ],
    "embedding": lambda: [tn.Embedding(4, 2, columns=[3], n_in=4), tn.Linear(5, 1)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_trainings_and_predictions_are_those_of_numpy(cp: Any, name: str) -> None:
    found = []
    for backend in ("numpy", "gpu"):
        net = tn.Sequential(NETWORKS[name](), seed=0, backend=backend, dtype="float64")
        history = net.fit(X, Y, optimizer=tn.AdamW(0.01), epochs=2, batch_size=6)
        found.append((net.flat_parameters(), net.predict(X)))
    assert "goes kernel by kernel" in history.plan
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bytes_of_state", [None, "0"], ids=["on the device", "in slices"])
def test_ensembles(cp: Any, bytes_of_state: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if bytes_of_state is not None:
        monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", bytes_of_state)
    models = []
    for backend in ("numpy", "gpu"):
        net = tn.Sequential(NETWORKS["norms"](), seed=0, backend=backend, dtype="float64")
        models.append(tn.Ensemble(net, 2))
        models[-1].fit(X, Y, optimizer=tn.AdamW(0.01), epochs=2, batch_size=6)
    for a, b in zip(*(each.get_weights() for each in models), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
