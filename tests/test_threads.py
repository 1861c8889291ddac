"""Any number of threads predict with one model, and evaluate it, at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threads import assert_same_from_threads, at_once

import tinynet as tn
from tinynet import notebook

RNG = np.random.default_rng(5)
ROWS = (1, 3, 40, 200)
X = [RNG.normal(size=(n, 4)).astype(np.float32) for n in ROWS]
PAIRS = [(x, RNG.normal(size=(len(x), 2)).astype(np.float32)) for x in X]


class InPlace(tn.Layer):
    """A tanh that keeps its output in one array, and gives it away."""

    out: Any = None

    def forward(self, x: Any) -> Any:
        if self.out is None or self.out.shape != x.shape:
            self.out = np.empty_like(x)
        np.tanh(x, out=self.out)
        return self.out

    def backward(self, grad: Any) -> Any:
        return grad * (1.0 - self.out**2)


class Remembering(tn.Loss):
    """A squared error that goes back from what it kept."""

    def forward(self, prediction: Any, target: Any) -> float:
        self.difference = prediction - target
        return float((self.difference**2).mean())

    def backward(self, prediction: Any, target: Any) -> Any:
        return 2.0 * self.difference / self.difference.size


def network(backend: str, middle: tn.Layer | None = None) -> tn.Sequential:
    middle = tn.Tanh() if middle is None else middle
    return tn.Sequential(
        tn.Linear(4, 24), middle, tn.Linear(24, 8), tn.ReLU(), tn.Linear(8, 2), seed=0, backend=backend
    )


def loss_of(model: Any, pair: tuple[Any, Any]) -> Any:
    return model.evaluate(*pair, loss="mse", metrics="mae")["loss"]


def test_predictions_and_forward_passes() -> None:
    net = network("numpy")
    assert_same_from_threads(net.predict, X)
    assert_same_from_threads(lambda x: net.predict(x.tolist()), X[:3])
    assert_same_from_threads(lambda x: net.forward(x, training=False), X)


def test_custom_layers(backend: str) -> None:
    net = network(backend, InPlace())
    assert_same_from_threads(net.predict, X)
    assert_same_from_threads(lambda x: net.forward(x, training=False), X)


def test_evaluations(backend: str) -> None:
    for net in (network("numpy"), network(backend, InPlace())):
        assert_same_from_threads(lambda pair, net=net: loss_of(net, pair), PAIRS)


def test_custom_losses(backend: str) -> None:
    net, loss = network(backend, InPlace()), Remembering()
    assert_same_from_threads(lambda pair: net.evaluate(*pair, loss=loss)["loss"], PAIRS)


def test_two_models_train_on_one_custom_loss() -> None:
    def trained(loss: tn.Loss) -> Any:
        net = network("numpy")
        net.fit(*PAIRS[2], loss=loss, epochs=4, batch_size=8)
        return net.flat_parameters()

    loss = Remembering()
    assert_same_from_threads(lambda _: trained(loss), [None], n_threads=3, n_calls=2)


def test_ensembles(backend: str) -> None:
    models = tn.Ensemble(network(backend), 3)
    assert_same_from_threads(models.predict, X)
    assert_same_from_threads(models.mean, X)
    assert_same_from_threads(lambda pair: loss_of(models, pair), PAIRS, n_calls=10)


@pytest.mark.parametrize("layer", [tn.Linear(4, 24), tn.Tanh(), tn.Normalize(4).adapt(X[2])], ids=repr)
def test_layers_by_themselves(layer: tn.Layer) -> None:
    assert_same_from_threads(layer, X)


def test_a_layer_that_several_threads_build_is_built_once() -> None:
    def outputs() -> list[Any]:
        layer, found = tn.Linear(4, 24), list[Any]()
        at_once(*[lambda: found.append(layer(X[0]))] * 4)
        return found

    for _ in range(5):
        first, *others = outputs()
        for other in others:
            np.testing.assert_array_equal(other, first)


def test_each_thread_goes_back_through_what_it_went_through() -> None:
    layer = tn.Linear(4, 24)

    def gradient(x: Any) -> Any:
        y = layer.forward(x)
        return layer.backward(np.ones_like(y) * x.sum(axis=1, keepdims=True))

    assert_same_from_threads(gradient, X)


def test_backward_by_hand_knows_that_a_custom_layer_has_seen_something_else() -> None:
    net = network("numpy", InPlace())
    y = net.forward(X[2])
    net.predict(X[2] + 1.0)
    with pytest.raises(RuntimeError, match=r"InPlace.backward expects .* Call forward again"):
        net.backward(np.ones_like(y))
    net.forward(X[2])
    net.backward(np.ones_like(y))


@pytest.mark.parametrize("layer", [notebook.Sigmoid(), notebook.Linear(4, 24), notebook.TanH()])
def test_the_layers_of_the_notebook(layer: Any) -> None:
    assert_same_from_threads(layer.forward, X)
