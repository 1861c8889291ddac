"""Normalization over samples and over batches, and vectors for levels: formulas by hand, and central differences."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference

EPSILON = 1e-3


def tolerance(dtype: str) -> dict[str, float]:
    return {"rtol": 200 * float(np.finfo(dtype).eps), "atol": 50 * float(np.finfo(dtype).eps)}


def drawn(n_rows: int, n: int, seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(2.0, 3.0, (n_rows, n)), rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n_rows, n))


def forward(kernels: Any, over: str, x: Any, gamma: Any, beta: Any, running: Any = None) -> tuple[Any, Any, Any]:
    """Return what is standardised, 1 by the roots, and the output."""
    xhat, y = np.full_like(x, np.nan), np.full_like(x, np.nan)
    if over == "layer":
        inverse = np.full(len(x), np.nan)
        kernels.layer_norm_forward(x, gamma, beta, EPSILON, xhat, inverse, y)
    else:
        inverse, n = np.full(x.shape[1], np.nan), x.shape[1]
        mean, variance = running or (np.zeros(n, x.dtype), np.ones(n, x.dtype))
        kernels.batch_norm_forward(x, gamma, beta, mean, variance, EPSILON, 0.1, xhat, inverse, y)
    return xhat, inverse, y


def backward(kernels: Any, over: str, xhat: Any, inverse: Any, gamma: Any, dy: Any) -> tuple[Any, Any, Any]:
    dgamma, dbeta, dx = np.full(dy.shape[1], np.nan, dy.dtype), np.full(dy.shape[1], np.nan, dy.dtype), dy * np.nan
    getattr(kernels, f"{over}_norm_backward")(xhat, inverse, gamma, dy, dgamma, dbeta, dx)
    return dgamma, dbeta, dx


def formula(over: str, x: Any, gamma: Any, beta: Any) -> Any:
    axis = {"layer": 1, "batch": 0}[over]
    mean, variance = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("over", ["layer", "batch"])
def test_norms_are_the_formula_and_their_gradients_its_differences(
    kernels: ModuleType, over: str, affine: bool, dtype: str
) -> None:
    x, gamma, beta, dy = (array.astype(dtype).astype(float) for array in drawn(7, 5))
    if not affine:
        gamma, beta = np.ones(5), np.zeros(5)
    given_gamma, given_beta = (gamma.astype(dtype), beta.astype(dtype)) if affine else (None, None)
    xhat, inverse, y = forward(kernels, over, x.astype(dtype), given_gamma, given_beta)
    np.testing.assert_allclose(y, formula(over, x, gamma, beta), **tolerance(dtype))
    got = backward(kernels, over, xhat, inverse, given_gamma, dy.astype(dtype))
    for place, found in zip((1, 2, 0), got, strict=True):
        inputs = [x, gamma, beta]
        for index in np.ndindex(found.shape):
            slopes = []
            for step in (1e-5, -1e-5):
                moved = [array.copy() for array in inputs]
                moved[place][index] += step
                slopes.append((formula(over, *moved) * dy).sum())
            want = (slopes[0] - slopes[1]) / 2e-5
            np.testing.assert_allclose(found[index], want, rtol=tolerance(dtype)["rtol"] + 1e-6, atol=2e-5)


def test_running_statistics_follow_the_batches(kernels: ModuleType, dtype: str) -> None:
    x = drawn(6, 3)[0].astype(dtype)
    running = np.array([1.0, -2.0, 3.0], dtype), np.array([0.5, 1.0, 2.0], dtype)
    wide = x.astype(float)
    want = 0.9 * running[0] + 0.1 * wide.mean(axis=0), 0.9 * running[1] + 0.1 * wide.var(axis=0, ddof=1)
    forward(kernels, "batch", x, None, None, running)
    for found, expected in zip(running, want, strict=True):
        np.testing.assert_allclose(found, expected, **tolerance(dtype))


@pytest.mark.parametrize("in_place", [False, True])
def test_predictions_take_the_running_statistics(kernels: ModuleType, in_place: bool, dtype: str) -> None:
    x, gamma, beta, _ = (array.astype(dtype) for array in drawn(6, 3))
    mean, variance = np.array([1.0, -2.0, 3.0], dtype), np.array([0.5, 1.0, 2.0], dtype)
    slope = gamma.astype(float) / np.sqrt(variance.astype(float) + EPSILON)
    for own_gamma, own_beta, own_mean, want in (
        (gamma, beta, mean, (x.astype(float) - mean) * slope + beta),
        (gamma, None, None, x.astype(float) * slope),
        (None, None, mean, (x.astype(float) - mean) * slope / gamma),
    ):
        source = x.copy()
        y = source if in_place else np.full_like(x, np.nan)
        kernels.batch_norm_predict(source, own_gamma, own_beta, own_mean, variance, EPSILON, y)
        np.testing.assert_allclose(y, want, **tolerance(dtype))


@pytest.mark.parametrize("over", ["layer", "batch"])
def test_large_numbers_that_differ_by_little_keep_their_digits(kernels: ModuleType, over: str) -> None:
    x = 1e6 + np.random.default_rng(0).normal(size=(20, 20))
    y = forward(kernels, over, x, None, None)[2]
    np.testing.assert_allclose(y, formula(over, x - 1e6, 1.0, 0.0), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("over", ["layer", "batch"])
def test_what_is_not_asked_for_is_not_computed(kernels: ModuleType, over: str) -> None:
    x, gamma, beta, dy = drawn(4, 3)
    xhat, inverse, _ = forward(kernels, over, x, gamma, beta)
    dgamma, dbeta, dx = backward(kernels, over, xhat, inverse, gamma, dy)
    alone, without = np.empty_like(dx), (np.empty(3), np.empty(3))
    function = getattr(kernels, f"{over}_norm_backward")
    function(xhat, inverse, gamma, dy, None, None, alone)
    function(xhat, inverse, gamma, dy, *without, None)
    np.testing.assert_array_equal(alone, dx)
    np.testing.assert_array_equal(without, (dgamma, dbeta))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None)
@given(n_rows=st.integers(2, 40), n=st.integers(1, 40), seed=st.integers(0, 99))
def test_kernels_agree_at_any_size(dtype: str, n_rows: int, n: int, seed: int) -> None:
    x, gamma, beta, dy = (array.astype(dtype) for array in drawn(n_rows, n, seed))
    for over in ("layer", "batch"):
        found = []
        for kernels in (reference, cpu):
            running = np.zeros(n, dtype), np.ones(n, dtype)
            xhat, inverse, y = forward(kernels, over, x, gamma, beta, running)
            found.append([y, *backward(kernels, over, xhat, inverse, gamma, dy), *running])
        for a, b in zip(*found, strict=True):
            # A single column, or two samples, may leave nothing of a gradient but rounding, times 1 / sqrt(epsilon).
            np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-10, atol=2e3 * np.finfo(dtype).eps)


def test_an_embedding_picks_rows_and_its_gradient_adds_them(kernels: ModuleType, dtype: str) -> None:
    column = np.array([2, -0.2, 1.9, 1.4, 2.01], dtype)
    table, dy = np.arange(12.0).reshape(4, 3).astype(dtype), np.arange(15.0).reshape(5, 3).astype(dtype)
    y, dtable = np.full((5, 3), np.nan, dtype), np.full((4, 3), np.nan, dtype)
    kernels.embedding_forward(column, table, y)
    kernels.embedding_backward(column, dy, dtable)
    np.testing.assert_array_equal(y, table[[2, 0, 2, 1, 2]])
    np.testing.assert_array_equal(dtable, [dy[1], dy[3], dy[0] + dy[2] + dy[4], np.zeros(3)])


def test_an_embedding_reads_nothing_outside_of_its_table(kernels: ModuleType, dtype: str) -> None:
    column, table = np.array([-5, 7, 1e30, -np.inf, np.nan], dtype), np.array([[1.0], [2.0], [3.0]], dtype)
    y, dtable = np.empty((5, 1), dtype), np.empty((3, 1), dtype)
    kernels.embedding_forward(column, table, y)
    kernels.embedding_backward(column, np.ones((5, 1), dtype), dtable)
    assert y.ravel().tolist() == [1.0, 3.0, 3.0, 1.0, 1.0]
    assert dtable.ravel().tolist() == [3.0, 0.0, 2.0]
