"""Frozen layers on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(9)
X = RNG.normal(size=(12, 3))
Y = X[:, :1] ** 2


def network(frozen: tuple[int, ...], backend: str) -> tn.Sequential:
    layers = [tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 4), tn.Tanh(), tn.Linear(4, 1)]
    net = tn.Sequential(layers, seed=0, backend=backend, dtype="float64")
    for i in frozen:
        net.layers[i].trainable = False
    return net


@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 4)], ids=str)
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_what_is_left_is_trained_as_on_numpy(cp: Any, frozen: tuple[int, ...], kind: str) -> None:
    nets = [network(frozen, backend) for backend in ("numpy", "gpu")]
    before = nets[0].get_weights()
    optimizer = tn.SGD(0.1) if kind == "sgd" else tn.AdamW(0.01, clip_norm=0.3)
    plans = [net.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=5).plan for net in nets]
    assert plans[1].startswith("loop: frozen layer")
    np.testing.assert_allclose(nets[1].flat_parameters(), nets[0].flat_parameters(), rtol=1e-9)
    for i, (a, b) in enumerate(zip(before, nets[1].get_weights(), strict=True)):
        assert (a.tobytes() == b.tobytes()) == ((0, 2, 4)[i // 2] in frozen)


@pytest.mark.parametrize("bytes_of_state", [None, "0"], ids=["on the device", "in slices"])
def test_ensembles(cp: Any, bytes_of_state: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if bytes_of_state is not None:
        monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", bytes_of_state)
    models = [tn.Ensemble(network((0,), backend), 2) for backend in ("numpy", "gpu")]
    for each in models:
        each.fit(X, Y, optimizer=tn.AdamW(0.01), epochs=2, batch_size=5)
        assert each.state.moments.shape == (2, 2, 29)
    for a, b in zip(*(each.get_weights() for each in models), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9)
    np.testing.assert_array_equal(models[1].get_weights()[0][1], network((0,), "numpy").get_weights()[0])


def test_parameters_decay_by_their_own_numbers(cp: Any) -> None:
    nets = [network((2,), backend) for backend in ("numpy", "gpu")]
    for kind in (tn.SGD, tn.AdamW):
        optimizer = kind(0.01, weight_decay=lambda name: 0.3 * name.endswith("bias"))
        plan = [net.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=5).plan for net in nets][1]
        assert plan.startswith("loop: frozen layer")
        np.testing.assert_allclose(nets[1].flat_parameters(), nets[0].flat_parameters(), rtol=1e-9)
    nets[1].trainable = True
    assert nets[1].fit(X, Y, optimizer=optimizer, epochs=1).plan == "loop: weight decay by parameter"
