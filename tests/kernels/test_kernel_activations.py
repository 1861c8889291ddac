"""Activations against their definitions in 60-digit arithmetic, at their limits, and cpu against reference."""

from __future__ import annotations

from types import ModuleType

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernels_oracle import (
    ACTIVATION,
    DERIVATIVE,
    DERIVATIVE_ULPS,
    DTYPES,
    VALUE_ULPS,
    assert_slopes_agree,
    assert_values_agree,
    derivative_unit,
    error_in_ulps,
    exact,
    value_unit,
)
from tinynet_kernels import ACTIVATIONS, READS_Z, cpu, reference

ELEMENTWISE = sorted(kind for kind, traits in ACTIVATIONS.items() if traits.elementwise)
ALPHA = 0.25


def points(dtype: str) -> np.ndarray:
    """Numbers where something could go wrong: near 0, around every threshold, out in the tails."""
    tails = np.geomspace(1e-6, 1e4, 60)
    near = [0.34, 0.347, 0.36, 17.3, 37.5, 38.4, 39.0, 87.3, 88.7, 103.9, 104.1, 708.0, 709.7, 745.1, 746.0, 800.0]
    positive = np.concatenate([tails, np.linspace(0.1, 20, 90), near, [1e-30, np.finfo(dtype).tiny]])
    return np.concatenate([positive, -positive, [0.0, -0.0]]).astype(dtype)[:, np.newaxis]


def forward(kernels: ModuleType, kind: str, z: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    y = np.full_like(z, np.nan)
    kernels.activation_forward(kind, z, y, alpha)
    return y


def derivative(kernels: ModuleType, kind: str, z: np.ndarray, y: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    dz = np.full_like(z, np.nan)
    kernels.activation_backward(kind, z, y, np.ones_like(z), dz, alpha)
    return dz


def flushing(kernels: ModuleType) -> dict[str, bool]:
    """Tell the oracle whether subnormal numbers of float32 are 0 in these kernels, as CuPy has them compiled."""
    return {"flushes": getattr(kernels, "flushes_subnormals", False)}


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_value_is_exact_to_the_stated_ulps(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = points(dtype)
    y = forward(kernels, kind, z)
    for argument, got in zip(z.ravel(), y.ravel(), strict=True):
        want = ACTIVATION[kind](exact(argument), exact(ALPHA))
        at = exact(argument)
        error = error_in_ulps(got, want, value_unit(kind, at, want), dtype, **flushing(kernels), argument=at)
        assert error <= VALUE_ULPS[kind], f"{kind}({argument}) is {got}, off by {error} ulp"


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_derivative_is_exact_to_the_stated_ulps(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = points(dtype)
    y = forward(reference, kind, z)
    dz = derivative(kernels, kind, z, y)
    for argument, output, got in zip(z.ravel(), y.ravel(), dz.ravel(), strict=True):
        if not np.isfinite(output):
            assert got == output
            continue
        at = exact(argument)
        want = DERIVATIVE[kind](at, exact(output), exact(ALPHA))
        error = error_in_ulps(got, want, derivative_unit(kind, at, want), dtype, **flushing(kernels), argument=at)
        assert error <= DERIVATIVE_ULPS[kind], f"{kind}'({argument}) is {got}, off by {error} ulp"


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_derivative_is_the_slope_of_the_value(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = np.linspace(-6, 6, 48).astype(dtype)[:, np.newaxis]
    slopes = derivative(kernels, kind, z, forward(kernels, kind, z))
    for argument, got in zip(z.ravel(), slopes.ravel(), strict=True):
        a, h = exact(argument), mpmath.mpf(10) ** -20
        central = (ACTIVATION[kind](a + h, exact(ALPHA)) - ACTIVATION[kind](a - h, exact(ALPHA))) / (2 * h)
        assert abs(exact(got) - central) <= 16 * np.finfo(dtype).eps * max(1, abs(central))


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_curvature_is_the_second_derivative_of_the_value(kernels: ModuleType, kind: str, dtype: str) -> None:
    """Of every direction; it is added to what was there."""
    z = np.concatenate([np.linspace(-6, 6, 20), [1e-3, -1e-3, 60, -60]]).astype(dtype)[:, np.newaxis]
    t, dt = np.random.default_rng(6).normal(size=(2, 3, *z.shape)).astype(dtype)
    dz = np.ones_like(z)
    kernels.activation_curvature(kind, z, forward(reference, kind, z), t, dt, dz, ALPHA)
    for i, argument in enumerate(z.ravel()):
        a, h = exact(argument), mpmath.mpf(10) ** -20
        ends = sum(ACTIVATION[kind](a + side * h, exact(ALPHA)) for side in (-1, 1))
        curvature = (ends - 2 * ACTIVATION[kind](a, exact(ALPHA))) / h**2
        want = 1 + curvature * mpmath.fsum(exact(x) * exact(y) for x, y in zip(t[:, i, 0], dt[:, i, 0], strict=True))
        size = 1 + abs(curvature) * float(np.abs(t[:, i] * dt[:, i]).sum())
        assert abs(exact(dz[i, 0]) - want) <= 16 * np.finfo(dtype).eps * size


def test_curvature_of_softmax_is_the_slope_of_its_jacobian(kernels: ModuleType, dtype: str) -> None:
    rng = np.random.default_rng(8)
    z, (t, dt) = rng.normal(size=(6, 5)), rng.normal(size=(2, 3, 6, 5)).astype(dtype)
    z, want, eps = z.astype(dtype), np.zeros((6, 5)), np.finfo(dtype).eps
    for j in range(5):
        for side in (-1, 1):
            near, out = z.astype(np.float64), np.empty((6, 5))
            near[:, j] += side * 1e-5
            y = forward(reference, "softmax", near)
            for along, gradient in zip(t.astype(np.float64), dt.astype(np.float64), strict=True):
                reference.activation_backward("softmax", near, y, along, out)
                want[:, j] += side / 2e-5 * (gradient * out).sum(axis=1)
    dz = np.zeros_like(z)
    kernels.activation_curvature("softmax", z, forward(reference, "softmax", z), t, dt, dz)
    np.testing.assert_allclose(dz, want, rtol=0, atol=max(1e-8, 64 * eps))


@pytest.mark.parametrize(
    ("kind", "at_minus_infinity", "at_infinity"),
    [
        ("identity", -np.inf, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("relu", 0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("elu", -ALPHA, np.inf),
        ("gelu", 0, np.inf),
        ("silu", 0, np.inf),
        ("softplus", 0, np.inf),
        ("exponential", 0, np.inf),
    ],
)
def test_value_reaches_its_limits(
    kernels: ModuleType, kind: str, at_minus_infinity: float, at_infinity: float, dtype: str
) -> None:
    z = np.array([[-np.inf, np.inf]], dtype)
    np.testing.assert_array_equal(forward(kernels, kind, z), np.array([[at_minus_infinity, at_infinity]], dtype))


@pytest.mark.parametrize(
    ("kind", "at_minus_infinity", "at_infinity"),
    [
        ("identity", 1, 1),
        ("sigmoid", 0, 0),
        ("tanh", 0, 0),
        ("relu", 0, 1),
        ("leaky_relu", ALPHA, 1),
        ("elu", 0, 1),
        ("exponential", 0, np.inf),
        ("gelu", 0, 1),
        ("silu", 0, 1),
        ("softplus", 0, 1),
    ],
)
def test_derivative_reaches_its_limits(
    kernels: ModuleType, kind: str, at_minus_infinity: float, at_infinity: float, dtype: str
) -> None:
    z = np.array([[-np.inf, -1e30, 1e30, np.inf]], dtype)
    want = np.array([[at_minus_infinity, at_minus_infinity, at_infinity, at_infinity]], dtype)
    np.testing.assert_array_equal(derivative(kernels, kind, z, forward(kernels, kind, z)), want)


@pytest.mark.parametrize(("kind", "slope"), [("relu", 0.0), ("leaky_relu", ALPHA), ("elu", ALPHA)])
def test_derivative_at_the_kink_is_that_of_the_left(kernels: ModuleType, kind: str, slope: float, dtype: str) -> None:
    z = np.array([[0.0, -0.0]], dtype)
    np.testing.assert_array_equal(derivative(kernels, kind, z, forward(kernels, kind, z)), np.full_like(z, slope))


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_nan_stays_nan(kernels: ModuleType, kind: str, dtype: str) -> None:
    for column in range(3):
        z = np.array([[0.5, -1.0, 2.0]], dtype)
        z[0, column] = np.nan
        y = forward(kernels, kind, z)
        assert np.isnan(y[0, column])
        if kind != "identity":  # its slope is 1 whatever z is
            assert np.isnan(derivative(kernels, kind, z, y)[0, column])


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_nan_in_the_gradient_stays_nan(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]], dtype)
    dz = np.zeros_like(z)
    kernels.activation_backward(kind, z, forward(kernels, kind, z), np.full_like(z, np.nan), dz, ALPHA)
    assert np.isnan(dz).all()


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_forward_may_work_in_place(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = np.random.default_rng(1).normal(size=(9, 7)).astype(dtype)
    apart = forward(kernels, kind, z)
    kernels.activation_forward(kind, z, z, ALPHA)
    np.testing.assert_array_equal(z, apart)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_backward_may_work_in_place(kernels: ModuleType, kind: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    z, dy = rng.normal(size=(2, 9, 7)).astype(dtype)
    y, apart = forward(kernels, kind, z), np.empty_like(z)
    kernels.activation_backward(kind, z, y, dy, apart, ALPHA)
    kernels.activation_backward(kind, z, y, dy, dy, ALPHA)
    np.testing.assert_allclose(dy, apart, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", sorted(set(ACTIVATIONS) - READS_Z))
def test_backward_reads_z_only_where_the_table_says(kernels: ModuleType, kind: str, dtype: str) -> None:
    z = np.random.default_rng(3).normal(size=(4, 3)).astype(dtype)
    y = forward(kernels, kind, z)
    np.testing.assert_array_equal(derivative(kernels, kind, y, y), derivative(kernels, kind, z, y))


@pytest.mark.parametrize("kind", sorted(READS_Z))
def test_kinds_that_read_z_are_not_functions_of_y(kind: str) -> None:
    z = np.linspace(-8, 0, 400)[:, np.newaxis]
    differences = np.diff(forward(reference, kind, z).ravel())
    assert differences.min() < 0 < differences.max()


def test_softmax_is_exact(kernels: ModuleType, dtype: str) -> None:
    rng = np.random.default_rng(4)
    z = np.concatenate([rng.normal(size=(6, 5)), 40 * rng.normal(size=(6, 5)), 1e4 * rng.normal(size=(6, 5))])
    z = z.astype(dtype)
    y = forward(kernels, "softmax", z)
    for row, outputs in zip(z, y, strict=True):
        e = [mpmath.exp(exact(value)) for value in row]
        for value, got in zip(row, outputs, strict=True):
            want = mpmath.exp(exact(value)) / mpmath.fsum(e)
            depth = exact(row.max()) - exact(value)  # the rounding of this difference is all that grows
            assert error_in_ulps(got, want, want * (8 + depth), dtype, **flushing(kernels)) <= 1


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_softmax_of_equal_logits_is_uniform(kernels: ModuleType, shift: float, dtype: str) -> None:
    np.testing.assert_array_equal(forward(kernels, "softmax", np.full((3, 4), shift, dtype)), 0.25)


def test_softmax_gives_impossible_classes_nothing(kernels: ModuleType, dtype: str) -> None:
    z = np.array([[0.0, -np.inf, 0.0]], dtype)
    np.testing.assert_array_equal(forward(kernels, "softmax", z), [[0.5, 0.0, 0.5]])


def test_softmax_backward_applies_the_jacobian(kernels: ModuleType, dtype: str) -> None:
    rng = np.random.default_rng(5)
    z, dy = rng.normal(size=(2, 6, 5)).astype(dtype)
    y, dz = forward(kernels, "softmax", z), np.empty_like(z)
    kernels.activation_backward("softmax", z, y, dy, dz)
    for row in range(6):
        p = y[row].astype(np.float64)
        jacobian = np.diag(p) - np.outer(p, p)
        np.testing.assert_allclose(dz[row], jacobian @ dy[row], rtol=0, atol=8 * np.finfo(dtype).eps)


def arrays(dtype: str) -> st.SearchStrategy[np.ndarray]:
    """Arrays of up to 17 by 17 of any numbers at all: huge, tiny, subnormal, infinite, NaN."""
    elements = st.floats(width=np.finfo(dtype).bits, allow_subnormal=True)
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=17), elements=elements)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ELEMENTWISE)
@settings(max_examples=30)
@given(data=st.data())
def test_cpu_agrees_with_reference_on_any_numbers(kind: str, dtype: str, data: st.DataObject) -> None:
    z = data.draw(arrays(dtype))
    y = forward(reference, kind, z)
    assert_values_agree(kind, z, forward(cpu, kind, z), y)
    assert_slopes_agree(kind, z, derivative(cpu, kind, z, y), derivative(reference, kind, z, y))
