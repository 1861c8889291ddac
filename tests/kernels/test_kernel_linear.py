"""The affine map against float64 products, and cpu against reference."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES
from tinynet_kernels import ACTIVATIONS, READS_Z, cpu, reference

SIZES = st.integers(1, 17)


def problem(n_samples: int, n_in: int, n_out: int, dtype: str, seed: int) -> tuple[np.ndarray, ...]:
    """Return x, w, b and dy."""
    rng = np.random.default_rng(seed)
    sizes = [(n_samples, n_in), (n_in, n_out), (n_out,), (n_samples, n_out)]
    return tuple(rng.normal(size=size).astype(dtype) for size in sizes)


def garbage(like: np.ndarray) -> np.ndarray:
    """Return an output whose old content would show."""
    return np.full_like(like, np.nan)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
@pytest.mark.parametrize("with_bias", [True, False])
@settings(max_examples=30)
@given(n_samples=SIZES, n_in=SIZES, n_out=SIZES, seed=st.integers(0, 2**32))
def test_forward_and_backward_are_the_products(
    module: ModuleType, dtype: str, with_bias: bool, n_samples: int, n_in: int, n_out: int, seed: int
) -> None:
    x, w, b, dy = problem(n_samples, n_in, n_out, dtype, seed)
    y, dw, db, dx = garbage(dy), garbage(w), garbage(b), garbage(x)
    module.linear_forward(x, w, b if with_bias else None, y)
    module.linear_backward(x, w, dy, dw, db if with_bias else None, dx)
    x, w, b, dy = (array.astype(np.float64) for array in (x, w, b, dy))
    eps = np.finfo(dtype).eps
    # A sum of n products is off by at most about n units of the sum of their sizes.
    for got, want, bound in [
        (y, x @ w + with_bias * b, (n_in + 2) * (np.abs(x) @ np.abs(w) + np.abs(b))),
        (dw, x.T @ dy, (n_samples + 1) * (np.abs(x).T @ np.abs(dy))),
        (dx, dy @ w.T, (n_out + 1) * (np.abs(dy) @ np.abs(w).T)),
    ]:
        assert (np.abs(got - want) <= eps * bound).all()
    if with_bias:
        assert (np.abs(db - dy.sum(0)) <= eps * n_samples * np.abs(dy).sum(0)).all()


def test_the_first_layer_needs_no_dx(kernels: ModuleType, dtype: str) -> None:
    x, w, b, dy = problem(5, 3, 4, dtype, seed=1)
    with_dx, without = (garbage(w), garbage(b)), (garbage(w), garbage(b))
    kernels.linear_backward(x, w, dy, *with_dx, garbage(x))
    kernels.linear_backward(x, w, dy, *without, None)
    for a, b in zip(with_dx, without, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_with_activation_is_the_two_in_turn(kernels: ModuleType, kind: str, with_bias: bool, dtype: str) -> None:
    x, w, b, dy = problem(6, 3, 5, dtype, seed=2)
    bias = b if with_bias else None
    want_z, want_y, z, y = garbage(dy), garbage(dy), garbage(dy), garbage(dy)
    kernels.linear_forward(x, w, bias, want_z)
    kernels.activation_forward(kind, want_z, want_y, 0.3)
    kernels.linear_activation_forward(kind, x, w, bias, z, y, 0.3)
    np.testing.assert_array_equal(z, want_z)
    np.testing.assert_array_equal(y, want_y)


@pytest.mark.parametrize("kind", sorted(set(ACTIVATIONS) - READS_Z))
def test_with_activation_may_keep_y_only(kernels: ModuleType, kind: str, dtype: str) -> None:
    x, w, b, dy = problem(6, 3, 5, dtype, seed=3)
    z, y, only = garbage(dy), garbage(dy), garbage(dy)
    kernels.linear_activation_forward(kind, x, w, b, z, y, 0.3)
    kernels.linear_activation_forward(kind, x, w, b, only, only, 0.3)
    np.testing.assert_array_equal(only, y)


def test_nan_reaches_what_depends_on_it(kernels: ModuleType, dtype: str) -> None:
    x, w, b, dy = problem(4, 3, 2, dtype, seed=4)
    x[1, 2] = np.nan
    y, dw, db, dx = garbage(dy), garbage(w), garbage(b), garbage(x)
    kernels.linear_forward(x, w, b, y)
    kernels.linear_backward(x, w, dy, dw, db, dx)
    np.testing.assert_array_equal(np.isnan(y), [[False] * 2, [True] * 2, [False] * 2, [False] * 2])
    np.testing.assert_array_equal(np.isnan(dw), [[False] * 2, [False] * 2, [True] * 2])
    assert np.isfinite(db).all()
    assert np.isfinite(dx).all()


def test_overflow_is_inf_and_silent(kernels: ModuleType, dtype: str) -> None:
    big = np.full((2, 2), np.finfo(dtype).max, dtype)
    y, dw, db, dx = (np.zeros((2, 2), dtype) for _ in range(4))
    kernels.linear_forward(big, big, big[0], y)
    kernels.linear_backward(big, big, big, dw, db[0], dx)
    for array in (y, dw, db[0], dx):
        assert np.isinf(array).all()


def test_each_gradient_may_be_left_out(kernels: ModuleType, dtype: str) -> None:
    x, w, b, dy = problem(5, 3, 4, dtype, seed=1)
    whole = garbage(w), garbage(b), garbage(x)
    kernels.linear_backward(x, w, dy, *whole)
    for kept in range(3):
        some = [garbage(like) if i == kept else None for i, like in enumerate((w, b, x))]
        kernels.linear_backward(x, w, dy, *some)
        np.testing.assert_array_equal(some[kept], whole[kept])
