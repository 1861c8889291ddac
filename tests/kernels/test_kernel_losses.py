"""Losses against their definitions in 60-digit arithmetic, gradients against central differences of those."""

from __future__ import annotations

from types import ModuleType

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES, LOSS, exact, loss_gradient
from tinynet_kernels import LOSSES, cpu, reference

PROBABILITIES = {"bce", "cross_entropy_probabilities", "cross_entropy_probabilities_index"}
DELTA = 0.75

# In units of eps: the value's error relative to the sum of the sizes of all losses, the gradient's relative to its size
# plus, where it is the difference of a probability and a target, those.
VALUE_ULPS, GRADIENT_ULPS = 12, 12
IS_DIFFERENCE = {"bce_logits", "poisson_log", "cross_entropy", "cross_entropy_index"}


def problem(kind: str, n_samples: int, n_out: int, dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions, targets and weights that suit a loss."""
    rng = np.random.default_rng(seed)
    if kind in PROBABILITIES:
        prediction = rng.uniform(0.02, 0.98, size=(n_samples, n_out))
    else:
        prediction = 3 * rng.normal(size=(n_samples, n_out))
    target = rng.integers(0, n_out, n_samples) if LOSSES[kind].index_target else rng.random((n_samples, n_out))
    weight = rng.random(n_samples).astype(dtype)
    return prediction.astype(dtype), target if LOSSES[kind].index_target else target.astype(dtype), weight


def call(
    kernels: ModuleType,
    kind: str,
    prediction: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    scale: float = 1.0,
) -> tuple[float, np.ndarray]:
    gradient = np.full_like(prediction, np.nan)
    value = kernels.loss_forward_backward(kind, prediction, target, weight, gradient, scale, DELTA)
    assert type(value) is float
    return value, gradient


def one(kernels: ModuleType, kind: str, prediction: float, target: float, dtype: str) -> tuple[float, float]:
    """Return the loss of one prediction, and its slope."""
    value, gradient = call(kernels, kind, np.array([[prediction]], dtype), np.array([[target]], dtype))
    return value, float(gradient[0, 0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_value_and_gradient_are_exact(kernels: ModuleType, kind: str, weighted: bool, dtype: str) -> None:
    prediction, target, weight = problem(kind, 5, 4, dtype, seed=1)
    value, gradient = call(kernels, kind, prediction, target, weight if weighted else None, scale=0.3)
    eps = np.finfo(dtype).eps
    factors = [exact(0.3) * (exact(w) if weighted else 1) for w in weight]
    rows = [LOSS[kind]([exact(p) for p in prediction[i]], target[i], exact(DELTA)) for i in range(5)]
    want = mpmath.fsum(factor * row for factor, row in zip(factors, rows, strict=True))
    assert abs(value - want) <= VALUE_ULPS * eps * want
    for i, factor in enumerate(factors):
        slopes = loss_gradient(kind, prediction[i], target[i], DELTA)
        for got, slope in zip(gradient[i], slopes, strict=True):
            # Of bce both terms count, t / p and (1 - t) / (1 - p): at most 50 each for these predictions.
            size = abs(slope) + (1 if kind in IS_DIFFERENCE else 0) + (100 if kind == "bce" else 0)
            assert abs(exact(got) - factor * slope) <= GRADIENT_ULPS * eps * factor * size


@pytest.mark.parametrize("kind", LOSSES)
def test_the_value_may_be_left_in_a_place(kernels: ModuleType, kind: str, dtype: str) -> None:
    prediction, target, weight = problem(kind, 7, 3, dtype, seed=7)
    value, gradient = call(kernels, kind, prediction, target, weight)
    place, other = np.full(1, np.nan), np.empty_like(prediction)
    assert kernels.loss_forward_backward(kind, prediction, target, weight, other, 1.0, DELTA, place) is None
    assert place[0] == value
    np.testing.assert_array_equal(other, gradient)


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_may_overwrite_the_prediction(kernels: ModuleType, kind: str, dtype: str) -> None:
    prediction, target, weight = problem(kind, 6, 5, dtype, seed=2)
    value, gradient = call(kernels, kind, prediction, target, weight)
    in_place = kernels.loss_forward_backward(kind, prediction, target, weight, prediction, 1.0, DELTA)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(in_place, value, rtol=8 * eps)
    np.testing.assert_allclose(prediction, gradient, rtol=8 * eps, atol=2 * eps)


@pytest.mark.parametrize("kind", LOSSES)
def test_nan_in_a_prediction_reaches_value_and_gradient(kernels: ModuleType, kind: str, dtype: str) -> None:
    for column in range(3):
        prediction, target, _ = problem(kind, 2, 3, dtype, seed=3)
        if LOSSES[kind].index_target:
            target[1] = column
        prediction[1, column] = np.nan
        value, gradient = call(kernels, kind, prediction, target)
        assert np.isnan(value)
        assert np.isnan(gradient[1, column])
        assert np.isfinite(gradient[0]).all()


@pytest.mark.parametrize("kind", sorted(kind for kind, traits in LOSSES.items() if not traits.index_target))
def test_nan_in_a_target_reaches_value_and_gradient(kernels: ModuleType, kind: str, dtype: str) -> None:
    prediction, target, _ = problem(kind, 2, 3, dtype, seed=4)
    target[1, 1] = np.nan
    value, gradient = call(kernels, kind, prediction, target)
    assert np.isnan(value)
    assert np.isnan(gradient[1, 1])


@pytest.mark.parametrize("kind", LOSSES)
def test_nan_in_a_weight_reaches_value_and_gradient(kernels: ModuleType, kind: str, dtype: str) -> None:
    prediction, target, weight = problem(kind, 2, 3, dtype, seed=5)
    weight[1] = np.nan
    value, gradient = call(kernels, kind, prediction, target, weight)
    assert np.isnan(value)
    assert np.isnan(gradient[1]).all()


def test_mae_is_flat_at_zero(kernels: ModuleType, dtype: str) -> None:
    assert one(kernels, "mae", 2.0, 2.0, dtype) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("difference", "value", "slope"),
    [(0.5, 0.125, 0.5), (-0.5, 0.125, -0.5), (0.75, 0.28125, 0.75), (2.0, 1.21875, 0.75), (-2.0, 1.21875, -0.75)],
)
def test_huber_is_quadratic_within_delta(
    kernels: ModuleType, difference: float, value: float, slope: float, dtype: str
) -> None:
    assert one(kernels, "huber", 1.0 + difference, 1.0, dtype) == (value, slope)


@pytest.mark.parametrize("kind", ["bce", "cross_entropy_probabilities"])
def test_a_clamped_logarithm_costs_100_and_pulls_nothing(kernels: ModuleType, kind: str, dtype: str) -> None:
    value, slope = one(kernels, kind, 0.0, 1.0, dtype)
    assert (value, slope) == (100.0, 0.0)


def test_bce_is_clamped_at_both_ends(kernels: ModuleType, dtype: str) -> None:
    assert one(kernels, "bce", 1.0, 0.0, dtype) == (100.0, 0.0)
    assert one(kernels, "bce", 0.0, 0.0, dtype) == (0.0, 1.0)
    assert one(kernels, "bce", 1.0, 1.0, dtype) == (0.0, -1.0)


def test_class_probability_of_zero_costs_100_and_pulls_nothing(kernels: ModuleType, dtype: str) -> None:
    value, gradient = call(kernels, "cross_entropy_probabilities_index", np.array([[0.0, 1.0]], dtype), np.array([0]))
    assert value == 100.0
    assert not gradient.any()


@pytest.mark.parametrize(
    ("logit", "target", "value", "slope"),
    [(1e4, 1.0, 0.0, 0.0), (-1e4, 0.0, 0.0, 0.0), (1e4, 0.0, 1e4, 1.0), (-1e4, 1.0, 1e4, -1.0)],
)
def test_bce_logits_survives_large_logits(
    kernels: ModuleType, logit: float, target: float, value: float, slope: float, dtype: str
) -> None:
    assert one(kernels, "bce_logits", logit, target, dtype) == (value, slope)


def test_bce_logits_keeps_the_digits_of_small_losses(kernels: ModuleType, dtype: str) -> None:
    value, slope = one(kernels, "bce_logits", 40.0, 1.0, dtype)
    np.testing.assert_allclose([value, -slope], np.exp(-40.0), rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", ["cross_entropy", "cross_entropy_index"])
def test_cross_entropy_survives_large_logits(kernels: ModuleType, kind: str, dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], dtype)
    index = np.array([0, 1])
    value, gradient = call(
        kernels, kind, logits, index if kind == "cross_entropy_index" else np.eye(3, dtype=dtype)[index]
    )
    assert value == 2e4
    np.testing.assert_array_equal(gradient, np.array([[0, 0, 0], [1, -1, 0]], dtype))


@pytest.mark.parametrize(
    ("dense", "index"),
    [
        ("cross_entropy", "cross_entropy_index"),
        ("cross_entropy_probabilities", "cross_entropy_probabilities_index"),
    ],
)
def test_class_numbers_mean_one_hot_targets(kernels: ModuleType, dense: str, index: str, dtype: str) -> None:
    prediction, target, weight = problem(index, 6, 4, dtype, seed=6)
    value, gradient = call(kernels, index, prediction, target, weight)
    one_hot_value, one_hot_gradient = call(kernels, dense, prediction, np.eye(4, dtype=dtype)[target], weight)
    np.testing.assert_allclose(value, one_hot_value, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(gradient, one_hot_gradient, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


def test_the_value_is_summed_in_float64(kernels: ModuleType) -> None:
    n = 300_001
    prediction, target = np.full((n, 1), 0.1, np.float32), np.zeros((n, 1), np.float32)
    value, _ = call(kernels, "mse", prediction, target)
    np.testing.assert_allclose(value, n * float(np.float32(0.1) ** 2), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", LOSSES)
@settings(max_examples=30)
@given(n_samples=st.integers(1, 17), n_out=st.integers(1, 17), magnitude=st.integers(-30, 30), seed=st.integers(0, 999))
def test_cpu_agrees_with_reference_at_any_size(
    kind: str, dtype: str, n_samples: int, n_out: int, magnitude: int, seed: int
) -> None:
    prediction, target, weight = problem(kind, n_samples, n_out, dtype, seed)
    if kind not in PROBABILITIES:
        prediction *= np.asarray(10.0, dtype) ** magnitude
    value, gradient = call(reference, kind, prediction, target, weight)
    cpu_value, cpu_gradient = call(cpu, kind, prediction, target, weight)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(cpu_value, value, rtol=40 * eps)
    np.testing.assert_allclose(cpu_gradient, gradient, rtol=20 * eps, atol=40 * eps)
