"""Activations and losses of users: traced, derived, compiled on every backend, kept in files, exported."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.installing import installed

import tinynet as tn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
Y = RNG.normal(size=(12, 2))
math = tn.math

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "mish": lambda x: x * math.tanh(math.softplus(x)),
    "numpy": lambda x: np.log1p(np.square(x)) - np.sqrt(1 + x**2) / 3 + np.minimum(x, 0.5) * 2,
    "choice": lambda x: math.where(x >= 0.25, x**3, math.where(x == 0.1, 1.0, abs(x) ** 1.5 / 2)),
    "the rest": lambda x: math.erf(x) + math.expm1(x / 9) + 2**x - math.maximum(x, -x) / (1 + math.exp(-x)) ** -2,
}


def log_cosh(p: Any, t: Any) -> Any:
    return math.softplus(2 * (p - t)) - (p - t) - np.log(2)


def network(kind: str = "mish", **settings: Any) -> tn.Sequential:
    layers = [tn.Linear(3, 4), tn.Activation(ACTIVATIONS[kind]), tn.Linear(4, 2)]
    return tn.Sequential(*layers, seed=0, **{"dtype": "float64", **settings})


# -- what they compute


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_is_what_was_written_and_its_slope_is_derived(kind: str) -> None:
    layer = tn.Activation(ACTIVATIONS[kind]).build("float64", backend="numpy")
    x = np.linspace(-3, 3, 61).reshape(1, -1) + 0.003
    numbers = [_number(kind, value) for value in x.ravel()]
    np.testing.assert_allclose(layer.forward(x).ravel(), numbers, rtol=1e-13, atol=1e-15)
    central = (layer.forward(x + 1e-6) - layer.forward(x - 1e-6)) / 2e-6
    layer.forward(x)
    np.testing.assert_allclose(layer.backward(np.ones_like(x)), central, rtol=2e-8, atol=2e-8)


def _number(kind: str, x: float) -> float:
    """The same in Python's own numbers."""
    import math as m

    match kind:
        case "mish":
            return x * m.tanh(m.log1p(m.exp(x)))
        case "numpy":
            return m.log1p(x * x) - m.sqrt(1 + x * x) / 3 + min(x, 0.5) * 2
        case "choice":
            return x**3 if x >= 0.25 else abs(x) ** 1.5 / 2
    return m.erf(x) + m.expm1(x / 9) + 2**x - abs(x) * (1 + m.exp(-x)) ** 2


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_the_gradient_check_passes(kind: str) -> None:
    assert tn.gradient_check(network(kind), X, Y, loss=tn.ElementwiseLoss(log_cosh)).passed


def fitted(backend: str, sizes: tuple[int, ...] = (3, 4, 2), **settings: Any) -> tuple[tn.Sequential, str]:
    layers: list[tn.Layer] = []
    for n_in, n_out in pairwise(sizes):
        layers += [tn.Linear(n_in, n_out), tn.Activation(ACTIVATIONS["mish"])]
    net = tn.Sequential(*layers, tn.Linear(2, 2), seed=0, backend=backend, **{"dtype": "float64", **settings})
    history = net.fit(X, Y, loss=tn.ElementwiseLoss(log_cosh), optimizer="adam", epochs=3, batch_size=5)
    return net, str(history.plan)


@pytest.mark.parametrize("sizes", [(3, 4, 2), (3, 33, 2)], ids=["samples", "tiles"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_generated_code_agrees_with_numpy(sizes: tuple[int, ...], dtype: str) -> None:
    (net, plan), (plain, _) = (fitted(backend, sizes, dtype=dtype) for backend in ("numba", "numpy"))
    assert plan.startswith("fused: whole epochs in generated code")
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=tolerance, atol=tolerance)


def test_the_kernels_of_numba_agree_with_numpy() -> None:
    results = []
    for backend in ("numba", "numpy"):
        net = network(backend=backend)
        prediction = net.forward(X)
        net.backward(tn.ElementwiseLoss(log_cosh).backward(prediction, Y))
        results.append(np.concatenate([net.layers[0].weight_grad.ravel(), net.layers[2].bias_grad.ravel()]))
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-15)


def test_kernels_and_fused_plans_for_a_gpu_agree_with_numpy() -> None:
    expected = fitted("numpy")[0].predict(X)
    with installed("fake"):
        net, plan = fitted("cupy")
        assert plan.startswith("fused")
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(net.forward(X), expected, rtol=1e-10, atol=1e-12)


def test_an_ensemble_trains_them_together() -> None:
    net = network(backend="numba")
    many = tn.Ensemble(net, 2, seeds=[0, 1])
    many.fit(X, Y, loss=tn.ElementwiseLoss(log_cosh), epochs=3, batch_size=4)
    alone = network(backend="numpy")
    alone.fit(X, Y, loss=tn.ElementwiseLoss(log_cosh), epochs=3, batch_size=4)
    np.testing.assert_allclose(many[0].predict(X), alone.predict(X), rtol=1e-10)


def test_second_derivatives_are_derived_too() -> None:
    net = network("numpy", backend="numpy")
    hessian = net.hessian(X[:2])
    shift = 1e-5 * np.eye(3)
    rows = [(net.jacobian(X[:2] + step) - net.jacobian(X[:2] - step)) / 2e-5 for step in shift]
    np.testing.assert_allclose(hessian, np.stack(rows, axis=-1), atol=1e-8)


AT_ZERO: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "sigmoid": (math.sigmoid, 0.25, 0.0),
    "softplus": (math.softplus, 0.5, 0.25),
    "expm1": (math.expm1, 1.0, 1.0),
    "erf": (math.erf, 2 / np.sqrt(np.pi), 0.0),
    "absolute": (math.absolute, 0.0, 0.0),
    "log_cosh": (lambda x: log_cosh(x, 0.0), 0.0, 1.0),
}
"""Functions with their first and second derivative at 0, where the choices within them change."""


@pytest.mark.parametrize("name", AT_ZERO)
def test_derivatives_at_zero_are_those_of_the_function(name: str, backend: str) -> None:
    function, slope, curvature = AT_ZERO[name]
    layers = [tn.Linear(1, 1, weight_init="ones"), tn.Activation(function)]
    net = tn.Sequential(*layers, dtype="float64", backend=backend)
    for zero in (0.0, -0.0):
        assert net.jacobian([[zero]]).item() == pytest.approx(slope, abs=1e-15)
        assert net.hessian([[zero]]).item() == pytest.approx(curvature, abs=1e-15)


# -- kept and exported


def test_files_and_pickles_hold_the_formula_and_not_the_function(tmp_path: Path) -> None:
    net = network(backend="numpy")
    loss = tn.ElementwiseLoss(lambda p, t: abs(p - t), targets="numbers")
    net.fit(X, Y, loss=loss, epochs=1)
    for name in ("net.npz", "net.safetensors"):
        net.save(tmp_path / name)
        again = tn.load(tmp_path / name, backend="numpy")
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        assert again.evaluate(X, Y) == net.evaluate(X, Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X))
    assert repr(pickle.loads(pickle.dumps(loss))) == "ElementwiseLoss(abs((p - t)), reduction='mean')"


WRONG = [
    "__import__('os').system('true')",
    "formula",
    "formula__",
    "formula__exp_y",
    "formula__exp_1",
    "formula__exp_0",
    "formula__system_z",
    "formula__add_z",
    "formula__add_z_x7ff0000000000000",
    "formula__less_z_z",
    "formula__select_z_z_z",
    "formula__less_z_z__add_0_z",
    "__".join(["formula", *["exp_z"] * 1001]),
]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"formula|operation"):
        tn.Activation(text)


# -- what cannot be traced


def _branching(x: Any) -> Any:
    return x if x > 0 else 0.1 * x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_branching, r"cannot branch on \(z > 0\)\. Choose by tn\.math\.where"),
        (lambda x: x > 0, "truth value"),
        (lambda x: 1.0, "must depend on"),
        (lambda x: np.sin(x), r"cannot have np\.sin"),
        (lambda x: float(x), r"functions of tn\.math"),
        (lambda x: x + "1", "made of numbers"),
        (lambda x: x != 0, "no !="),
        (lambda x: x / 0 * np.inf, "finite"),
        (3, "expects a function of z"),
    ],
)
def test_what_cannot_be_a_formula_says_why(function: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        tn.Activation(function)


def test_a_formula_with_much_in_common_stays_short() -> None:
    def deep(x: Any) -> Any:
        for _ in range(100):
            x = x * x + 0.1 * x
        return x

    layer = tn.Activation(deep)
    assert len(layer.kind) < 12_000
    assert len(repr(layer)) < 100
    with pytest.raises(ValueError, match="at most 1000 operations"):
        tn.Activation(lambda x: deep(deep(deep(deep(x)))))
