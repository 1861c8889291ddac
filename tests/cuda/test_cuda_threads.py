"""Any number of threads predict with one model on a GPU, and evaluate it, at once."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from threads import assert_same_from_threads, at_once

import tinynet as tn

RNG = np.random.default_rng(5)
X = [RNG.normal(size=(n, 4)).astype(np.float32) for n in (1, 3, 17)]
PAIRS = [(x, RNG.normal(size=(len(x), 2)).astype(np.float32)) for x in X]
FEW: dict[str, Any] = {"n_threads": 3, "n_calls": 6}
"""The stand-in computes a thousandth as quickly as a GPU."""


class MyTanh(tn.Layer):
    def forward(self, x: Any) -> Any:
        self.y = tn.numpy_namespace(x).tanh(x)
        return self.y

    def backward(self, grad: Any) -> Any:
        return grad * (1.0 - self.y**2)


def network(*middle: tn.Layer) -> tn.Sequential:
    return tn.Sequential(tn.Linear(4, 5), *(middle or (tn.Tanh(),)), tn.Linear(5, 2), seed=0, backend="gpu")


@pytest.fixture(params=["loop", "persistent"])
def tier(request: pytest.FixtureRequest, cp: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kernel by kernel, and a fused plan."""
    monkeypatch.setenv("TINYNET_GPU_TIER", request.param)
    return str(request.param)


def test_predictions_and_evaluations(tier: str, cp: Any) -> None:
    net = network()
    assert_same_from_threads(net.predict, X, **FEW)
    assert_same_from_threads(lambda x: net.predict(x).get(), [cp.asarray(x) for x in X], **FEW)
    assert_same_from_threads(lambda x: net.forward(x, training=False), X, **FEW)
    assert_same_from_threads(lambda pair: net.evaluate(*pair, loss="mse")["loss"], PAIRS, **FEW)


def test_data_that_go_up_in_chunks(tier: str, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backends.cupy import streaming

    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 64)
    net = network()
    assert_same_from_threads(lambda pair: net.evaluate(*pair, loss="mse")["loss"], PAIRS, **FEW)


def test_layers_in_python(gpu: str) -> None:
    net = network(MyTanh())
    assert_same_from_threads(net.predict, X, **FEW)
    assert_same_from_threads(lambda pair: net.evaluate(*pair, loss="mse")["loss"], PAIRS, **FEW)


@pytest.mark.parametrize("name", ["loop", "batched", "persistent"])
def test_ensembles(name: str, cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", name)
    models = tn.Ensemble(network(), 3)
    assert_same_from_threads(models.predict, X, **FEW)
    assert_same_from_threads(lambda pair: models.evaluate(*pair, loss="mse")["loss"], PAIRS, **FEW)


def test_a_prediction_meanwhile_is_that_of_whole_updates(tier: str, cp: Any) -> None:
    def train(net: tn.Sequential, **options: Any) -> None:
        net.fit(*PAIRS[2], epochs=5, batch_size=17, optimizer=tn.SGD(0.1), shuffle=False, **options)

    plain, whole = network(), [network().predict(X[0]).tobytes()]
    train(plain, callbacks=tn.LambdaCallback(on_epoch_end=lambda *_: whole.append(plain.predict(X[0]).tobytes())))
    net, seen = network(), set[bytes]()
    at_once(lambda: train(net), *[lambda: seen.update(net.predict(X[0]).tobytes() for _ in range(6))] * 2)
    assert seen <= set(whole)


def test_a_copy_goes_on_as_the_model_does(tier: str, cp: Any) -> None:
    net = network()
    net.fit(*PAIRS[2], epochs=2, optimizer=tn.Adam(0.01))
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for each in (net, *copies):
        each.fit(*PAIRS[2], epochs=1, optimizer=each.optimizer)
    for other in copies:
        np.testing.assert_array_equal(other.flat_parameters(), net.flat_parameters())
