"""Kernels on the CPU: votes, shuffles, atomics and mathematical functions are those of a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cuda_on_cpu import builder, toolchain
from harness_probes import CODE, EXPRESSIONS, launch
from numpy.testing import assert_allclose, assert_array_equal

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))


@pytest.fixture(scope="module")
def probes() -> builder.Module:
    return builder.build(CODE, EXPRESSIONS)


# Votes, shuffles and atomics.


def test_votes(probes: builder.Module) -> None:
    for p in (np.zeros(64), np.ones(64), np.arange(64) % 3 == 0):
        p = p.astype(np.int32)
        out = np.zeros((6, 64), np.int32)
        launch(probes, "votes", 64, p, out)
        warps = p.reshape(2, 32)
        ballots = (
            (warps.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1).astype(np.uint32).view(np.int32)
        )
        expected = [
            *([p.sum()] * 64, [p.all()] * 64, [p.any()] * 64),
            *(np.repeat(of_warp, 32) for of_warp in (ballots, warps.any(axis=1), warps.all(axis=1))),
        ]
        assert_array_equal(out, np.array(expected, np.int32))


@pytest.mark.parametrize(("kind", "dtype", "width"), [("float", "f4", 32), ("double", "f8", 8), ("long long", "i8", 2)])
@pytest.mark.parametrize("by", [0, 1, 5, 31])
@pytest.mark.parametrize("order", ["forward", "random"])
def test_shuffles(probes: builder.Module, kind: str, dtype: str, width: int, by: int, order: str) -> None:
    x, out = np.arange(100, 132).astype(dtype), np.zeros((4, 32), dtype)
    with builder.order(order):
        launch(probes, f"shuffles<{kind}, {width}>", 32, x, out, np.int32(by))
    lane = np.arange(32)
    begin = lane - lane % width
    up, down, xor = lane - by, lane + by, lane ^ by
    sources = [
        begin + by % width,
        np.where(up < begin, lane, up),
        np.where(down >= begin + width, lane, down),
        np.where(xor >= begin + width, lane, xor),
    ]
    assert_array_equal(out, [x[source] for source in sources])


def test_lanes_may_have_shuffled_different_numbers_of_times_before_they_meet(probes: builder.Module) -> None:
    out = np.zeros(32, np.int32)
    launch(probes, "uneven_shuffles", 32, out)
    lane = np.arange(32)
    assert_array_equal(out, np.where(lane < 16, lane ^ 1, lane)[::-1])


@pytest.mark.parametrize(("kind", "dtype"), [("int", "i4"), ("unsigned", "u4"), ("float", "f4")])
def test_atomics_add_and_exchange(probes: builder.Module, kind: str, dtype: str) -> None:
    total, exchanged = np.ones(1, dtype), np.ones(1, dtype)
    launch(probes, f"atomics<{kind}>", 64, total, exchanged, exchanged, blocks=2)
    assert (total[0], exchanged[0]) == (1 + 2 * 64 * 63 // 2, 3)


def test_integer_atomics(probes: builder.Module) -> None:
    i, u, w = np.array([5, 5, 5, 0], np.int32), np.array([5, 0, 2**32 - 1], np.uint32), np.zeros(3, np.uint64)
    launch(probes, "integer_atomics", 64, i, u, w)
    assert i.tolist() == [63, -63, 5 - 64, 2**30 - 1]
    assert u.tolist() == [63, 64 % 6, 0]
    assert w.tolist() == [2**40, 9, 0]


def test_a_loop_of_compare_and_swap_ends(probes: builder.Module) -> None:
    total = np.zeros(1)
    launch(probes, "cas_loop", 100, total)
    assert total[0] == 150


# Functions.


@pytest.mark.parametrize(("kind", "dtype"), [("float", "f4"), ("double", "f8")])
def test_mathematical_functions_are_those_of_their_type(probes: builder.Module, kind: str, dtype: str) -> None:
    x = np.linspace(-3, 3, 31).astype(dtype)
    out = np.zeros((12, 31), dtype)
    launch(probes, f"mathematics<{kind}>", 31, x, out, np.int32(31))
    z = x.astype(np.float64)
    magnitude = np.abs(z)
    erf, erfc = np.vectorize(math.erf), np.vectorize(math.erfc)
    expected = [
        *(np.exp(z), np.expm1(z), np.log1p(magnitude), np.tanh(z), erf(z), erfc(z)),
        *(1 / np.sqrt(magnitude + 1), z * z + 1, np.sqrt(magnitude), magnitude**1.5, np.copysign(2, z)),
        0.5 * erfc(-z / math.sqrt(2)),
    ]
    assert_allclose(out, expected, rtol=16 * np.finfo(dtype).eps, atol=1e-300)


def test_bit_functions(probes: builder.Module) -> None:
    a = np.array([0, 1, 0x80000000, 0xFFFFFFFF, 0x12345678], np.uint32)
    b = np.array([3, 0xFFFFFFFF, 2, 0xFFFFFFFF, 0x9ABCDEF0], np.uint32)
    out = np.zeros((7, 5), np.uint32)
    launch(probes, "bits", 5, a, b, out, np.int32(5))
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    expected = [
        [x * y >> 32 for x, y in pairs],
        [int(f"{x:032b}"[::-1], 2) for x, _ in pairs],
        [x.bit_count() for x, _ in pairs],
        [32 - x.bit_length() for x, _ in pairs],
        [(((y << 32 | x) << 7) >> 32) & 0xFFFFFFFF for x, y in pairs],
        [x & 0x3FFFFFFF for x, _ in pairs],
        [(x & -x).bit_length() for x, _ in pairs],
    ]
    assert_array_equal(out, expected)


def test_min_and_max_of_a_number_and_nan_are_the_number_as_on_a_gpu(probes: builder.Module) -> None:
    a, b = np.array([1, np.nan, 2, np.nan], np.float32), np.array([3, 4, np.nan, np.nan], np.float32)
    out = np.zeros((2, 4), np.float32)
    launch(probes, "extremes", 4, a, b, out, np.int32(4))
    assert_array_equal(out, [[1, 4, 2, np.nan], [3, 4, 2, np.nan]])
