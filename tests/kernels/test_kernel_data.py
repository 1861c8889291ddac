"""Gathering rows of any kind of data, products, and standardisation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference

SOURCE_DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", ">f4"]


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("source_dtype", SOURCE_DTYPES)
def test_gather_casts_any_real_dtype(kernels: ModuleType, source_dtype: str, index_dtype: str) -> None:
    source = np.arange(24).reshape(8, 3).astype(source_dtype)
    index = np.array([7, 0, 0, 3], index_dtype)
    out = np.full((4, 3), np.nan, np.float32)
    kernels.gather_rows(source, index, out)
    np.testing.assert_array_equal(out, source[[7, 0, 0, 3]].astype(np.float32))


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
def test_gather_takes_one_dimension(kernels: ModuleType, dtype: str) -> None:
    source, out = (np.arange(8) ** 2).astype(dtype), np.empty(3, dtype)
    kernels.gather_rows(source, np.array([5, 1, 5]), out)
    np.testing.assert_array_equal(out, [25, 1, 25])


def sources(tmp_path: Path) -> dict[str, np.ndarray]:
    data = np.arange(48, dtype=np.float32).reshape(8, 6)
    frozen = data.copy()
    frozen.flags.writeable = False
    data.tofile(tmp_path / "data")
    packed = np.zeros(8, dtype=[("flag", "u1"), ("row", "f4", 6)])
    packed["row"] = data
    return {
        "columns": data[:, ::2],
        "backwards": data[::-1],
        "transposed": np.asfortranarray(data),
        "read-only": frozen,
        "memory-mapped": np.memmap(tmp_path / "data", np.float32, "r", shape=(8, 6)),
        "unaligned": packed["row"],
    }


@pytest.mark.parametrize("layout", ["columns", "backwards", "transposed", "read-only", "memory-mapped", "unaligned"])
def test_gather_takes_any_layout(kernels: ModuleType, layout: str, dtype: str, tmp_path: Path) -> None:
    source = sources(tmp_path)[layout]
    out = np.full((3, source.shape[1]), np.nan, dtype)
    kernels.gather_rows(source, np.array([6, 2, 6]), out)
    np.testing.assert_array_equal(out, np.asarray(source)[[6, 2, 6]])


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30)
@given(n_rows=st.integers(1, 17), n=st.integers(1, 17), data=st.data())
def test_gather_picks_the_rows_at_any_size(dtype: str, n_rows: int, n: int, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, n_rows - 1), min_size=1, max_size=20)))
    source = np.random.default_rng(0).normal(size=(n_rows, n)).astype(dtype)
    for kernels in (reference, cpu):
        out = np.full((len(index), n), np.nan, dtype)
        kernels.gather_rows(source, index, out)
        np.testing.assert_array_equal(out, source[index])


def test_gather_keeps_nan(kernels: ModuleType, dtype: str) -> None:
    out = np.zeros((2, 1), dtype)
    kernels.gather_rows(np.array([[1.0], [np.nan]]), np.array([1, 0]), out)
    np.testing.assert_array_equal(out, [[np.nan], [1.0]])


@pytest.mark.parametrize("alias", ["none", "first", "second"])
def test_multiply(kernels: ModuleType, alias: str, dtype: str) -> None:
    a, b = np.array([[2.0, np.nan], [np.inf, -3.0]], dtype), np.array([[0.5, 0.0], [0.0, 7.0]], dtype)
    out = {"none": np.empty_like(a), "first": a, "second": b}[alias]
    kernels.multiply(a, b, out)
    np.testing.assert_array_equal(out, [[1.0, np.nan], [np.nan, -21.0]])


@pytest.mark.parametrize("in_place", [False, True])
def test_normalize_standardises_each_column(kernels: ModuleType, in_place: bool, dtype: str) -> None:
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(dtype)
    mean, scale = np.array([1.0, -2.0, 0.0]), np.array([0.5, 3.0, 7.0])
    want = ((x.astype(np.float64) - mean) / scale).astype(dtype)
    y = x if in_place else np.empty_like(x)
    kernels.normalize_forward(x, mean, scale, y)
    np.testing.assert_allclose(y, want, rtol=np.finfo(dtype).eps)


def test_normalize_standardises_before_it_rounds(kernels: ModuleType, dtype: str) -> None:
    seconds = 1.7e9 + np.random.default_rng(1).normal(size=(6, 1))
    x = np.hstack([seconds, seconds * 1e-50, seconds * 1e100])
    mean, scale = x.mean(axis=0), x.std(axis=0)
    y = np.empty(x.shape, dtype)
    kernels.normalize_forward(x, mean, scale, y)
    np.testing.assert_allclose(y, ((x - mean) / scale).astype(dtype), rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("in_place", [False, True])
def test_normalize_backward_is_the_slope(kernels: ModuleType, in_place: bool, dtype: str) -> None:
    dy, scale = np.ones((2, 3), dtype), np.array([0.5, 4.0, 8.0])
    dx = dy if in_place else np.empty_like(dy)
    kernels.normalize_backward(scale, dy, dx)
    np.testing.assert_array_equal(dx, [[2.0, 0.25, 0.125]] * 2)
