"""Layers and losses that users write in Python, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))


class Scale(tn.Layer):
    """``y = factor * x``, one factor for all columns."""

    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("factor", (1,), init=1.5)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.factor

    def backward(self, grad: Any) -> Any:
        self.factor_grad[...] = (grad * self.x).sum()
        return grad * self.factor


class MyTanh(tn.Layer):
    def forward(self, x: Any) -> Any:
        self.y = tn.numpy_namespace(x).tanh(x)
        return self.y

    def backward(self, grad: Any) -> Any:
        return grad * (1.0 - self.y**2)


class Halves(tn.Layer):
    """Average neighbours: a layer that changes the width."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.n_in, self.n_out = n_in, n_in // 2

    def forward(self, x: Any) -> Any:
        return 0.5 * (x[:, ::2] + x[:, 1::2])

    def backward(self, grad: Any) -> Any:
        return 0.5 * np.repeat(grad, 2, axis=1)


class LogCosh(tn.Loss):
    """The mean of ``log(cosh(p - t))``."""

    def forward(self, prediction: Any, target: Any) -> float:
        return float(np.mean(np.log(np.cosh(prediction - target))))

    def backward(self, prediction: Any, target: Any) -> Any:
        return np.tanh(prediction - target) / prediction.size


class WeightedSquare(tn.Loss):
    takes_sample_weight = True

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        weight = 1.0 if sample_weight is None else sample_weight[:, None]
        return float(np.mean(weight * (prediction - target) ** 2))

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        weight = 1.0 if sample_weight is None else sample_weight[:, None]
        return 2.0 * weight * (prediction - target) / prediction.size


def test_custom_layers_pass_the_gradient_check(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 4), MyTanh(), Scale(), Halves(4), Scale(), seed=0, backend=backend)
    report = tn.gradient_check(net, X, Y)
    assert report.passed, str(report)
    assert "layer4.factor[0]" in report.names


def test_a_custom_layer_trains_as_the_built_in_one(backend: str) -> None:
    nets = [
        tn.Sequential(tn.Linear(3, 4), middle, tn.Linear(4, 2), seed=0, backend=backend, dtype="float64")
        for middle in (MyTanh(), tn.Tanh())
    ]
    losses = [net.fit(X, Y, epochs=5, batch_size=7)["loss"] for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_a_custom_parameter_is_trained_and_is_a_view(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 2), Scale(), seed=0, backend=backend)
    assert net.n_parameters == 9
    net.fit(X, Y, epochs=3)
    factor = net.layers[1].factor
    assert factor[0] != 1.5
    assert np.shares_memory(factor, net.state.parameters)


def test_the_plan_names_the_custom_layer_and_loss(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 2), Scale(), backend=backend)
    assert net.fit(X, Y).plan == "loop: custom layer Scale"
    plain = tn.Sequential(tn.Linear(3, 2), backend=backend)
    assert plain.fit(X, Y, loss=LogCosh()).plan == "loop: custom loss LogCosh"


def test_a_custom_loss_passes_the_gradient_check(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), seed=0, backend=backend)
    assert tn.gradient_check(net, X, Y, loss=LogCosh()).passed


def test_a_custom_loss_is_reported_as_the_mean_over_samples(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 2), seed=0, backend=backend, dtype="float64")
    before = LogCosh().forward(net.predict(X), Y)
    history = net.fit(X, Y, loss=LogCosh(), optimizer=tn.SGD(1e-12), batch_size=6)
    assert history["loss"][0] == pytest.approx(before, rel=1e-9)
    assert net.evaluate(X, Y)["loss"] == pytest.approx(before, rel=1e-9)


def test_a_custom_loss_with_weights_equals_the_built_in_one(backend: str) -> None:
    weights = RNG.uniform(size=20)
    nets = [tn.Sequential(tn.Linear(3, 2), seed=0, backend=backend, dtype="float64") for _ in range(2)]
    for net, loss in zip(nets, (WeightedSquare(), "mse"), strict=True):
        net.fit(X, Y, loss=loss, sample_weight=weights, batch_size=6)
    np.testing.assert_allclose(nets[0].flat_parameters(), nets[1].flat_parameters(), rtol=1e-12)


class Override(tn.Linear):
    """A subclass of a built-in layer with a forward pass of its own."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return 2.0 * (x @ self.weight + self.bias)

    def backward(self, grad: Any) -> Any:
        self.weight_grad[...] = 2.0 * self.x.T @ grad
        self.bias_grad[...] = 2.0 * grad.sum(axis=0)
        return 2.0 * grad @ self.weight.T


def test_overriding_a_built_in_layer_is_seen(backend: str) -> None:
    net = tn.Sequential(Override(3, 2), seed=0, backend=backend, dtype="float64")
    weight, bias = net.get_weights()
    np.testing.assert_allclose(net.predict(X), 2.0 * (X @ weight + bias), rtol=1e-13)
    assert tn.gradient_check(net, X, Y).passed


class Misshapen(tn.Layer):
    def forward(self, x: Any) -> Any:
        return x[:, :1]

    def backward(self, grad: Any) -> Any:
        return grad


def test_a_custom_layer_of_the_wrong_shape_is_named() -> None:
    net = tn.Sequential(tn.Linear(3, 2), Misshapen(), backend="numpy")
    with pytest.raises(ValueError, match=r"Misshapen.forward must return an array of shape \(20, 2\); got \(20, 1\)"):
        net.predict(X)


def test_training_is_told_to_custom_layers() -> None:
    seen = []

    class Spy(MyTanh):
        def forward(self, x: Any) -> Any:
            seen.append(self.training)
            return super().forward(x)

    net = tn.Sequential(tn.Linear(3, 2), Spy(), backend="numpy")
    net.fit(X, Y, batch_size=20)
    net.predict(X)
    assert seen == [True, False]
