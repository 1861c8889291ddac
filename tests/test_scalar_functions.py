"""Activations and losses that are functions of numbers in Python: compiled where Numba can, else named."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.installing import installed

import tinynet as tn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(13, 3)), RNG.normal(size=(13, 2))


class Ripple(tn.ScalarActivation):
    @staticmethod
    def value(x: float) -> float:
        return x + math.sin(x) if x > 0 else 0.25 * math.atan(x)

    @staticmethod
    def slope(x: float) -> float:
        return 1 + math.cos(x) if x > 0 else 0.25 / (1 + x * x)


class Quantile(tn.ScalarLoss):
    @staticmethod
    def value(p: float, t: float) -> float:
        return 0.9 * (t - p) if t > p else 0.1 * (p - t)

    @staticmethod
    def slope(p: float, t: float) -> float:
        return -0.9 if t > p else 0.1


class OnlyPython(Ripple):
    @staticmethod
    def value(x: float) -> float:
        return Ripple.value(float(str(x)))


def network(backend: str, layer: type[tn.Layer] = Ripple, width: int = 4, dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), layer(), tn.Linear(width, 2), seed=0, backend=backend, dtype=dtype)


def fitted(backend: str, **settings: Any) -> tuple[tn.Sequential, str]:
    net = network(backend, **settings)
    history = net.fit(X, Y, loss=Quantile(), epochs=3, batch_size=5, sample_weight=np.linspace(0.5, 1, 13))
    return net, str(history.plan)


@pytest.mark.parametrize(("width", "dtype"), [(4, "float64"), (40, "float32")])
def test_compiled_epochs_call_them(width: int, dtype: str) -> None:
    (net, plan), (plain, slow) = (fitted(backend, width=width, dtype=dtype) for backend in ("numba", "numpy"))
    assert plan.startswith("fused: whole epochs in generated code")
    assert slow == "loop: custom layer Ripple"
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=tolerance, atol=tolerance)
    assert net.evaluate(X, Y) == pytest.approx(plain.evaluate(X, Y), rel=tolerance)


def test_their_gradient_passes_the_check() -> None:
    assert tn.gradient_check(network("numba"), X, Y, loss=Quantile()).passed


def test_a_plan_says_why_numba_cannot_compile_them() -> None:
    net, plan = fitted("numba", layer=OnlyPython)
    assert plan.startswith("loop: custom layer OnlyPython: Numba cannot compile OnlyPython.value: ")
    np.testing.assert_allclose(net.predict(X), fitted("numpy")[0].predict(X), rtol=1e-12)


def test_they_run_on_a_gpu_kernel_by_kernel() -> None:
    expected = fitted("numpy")[0].predict(X)
    with installed("fake"):
        net, plan = fitted("cupy")
        assert plan == "loop: custom layer Ripple"
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


def test_files_name_the_class_and_no_address(tmp_path: Path) -> None:
    net, _ = fitted("numba")
    net.save(tmp_path / "net.safetensors")
    assert b"called_" not in (tmp_path / "net.safetensors").read_bytes()
    again = tn.load(tmp_path / "net.safetensors", custom={"Ripple": Ripple}, backend="numba")
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X))
    with pytest.raises(ValueError, match="text of a formula"):
        tn.Activation("called_4096_8192")


class Half(tn.ScalarActivation):
    value = staticmethod(abs)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(TypeError, match="slope is missing"):
        Half()
