"""Kernels on the CPU: arguments, threads in every order, and how sources are built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder, toolchain
from cuda_on_cpu.builder import LaunchError
from harness_probes import CODE, EXPRESSIONS, launch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))


@pytest.fixture(scope="module")
def probes() -> builder.Module:
    return builder.build(CODE, EXPRESSIONS)


# Arguments.

X, Y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
PAIR = np.array([(1, 2.0)], dtype=[("first", np.int32), ("second", np.float32)])


def test_arguments_of_the_right_types_arrive(probes: builder.Module) -> None:
    y = np.zeros(8, np.float32)
    launch(probes, "copy", 4, X, y, np.int32(8), np.float32(2), blocks=2)
    assert_array_equal(y, 2 * X)


def test_python_numbers_are_doubles_and_long_longs_and_structs_go_by_value(probes: builder.Module) -> None:
    out = np.zeros(1, np.uint8)
    halves = np.zeros(1, np.float16)
    launch(probes, "typed", 1, 4.0, 5, out, halves, PAIR, True, halves)
    assert out[0] == 4 + 5 + 1 + 2 + 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X, Y, np.int32(8)), "expects 4 arguments; got 3"),
        ((X, Y, np.int32(8), 2.0), r"argument 3, expects float32; got a Python float.*Pass numpy.float32"),
        ((X, Y, np.int32(8), np.float64(2)), "argument 3, expects float32; got float64"),
        ((X, Y, 8, np.float32(2)), "argument 2, expects int32; got a Python int"),
        ((X, Y, np.int64(8), np.float32(2)), "argument 2, expects int32; got int64"),
        ((X, Y, np.uint32(8), np.float32(2)), "argument 2, expects int32; got uint32"),
        ((X.astype(np.float64), Y, np.int32(8), np.float32(2)), r"argument 0, .*float32 \*.*dtype float64"),
        ((X.view(np.int32), Y, np.int32(8), np.float32(2)), "dtype int32"),
        ((np.float32(1), Y, np.int32(8), np.float32(2)), r"argument 0, expects an array"),
        ((X, Y, X, np.float32(2)), "argument 2, expects a scalar"),
        ((X, np.broadcast_to(Y[0], 8), np.int32(8), np.float32(2)), "argument 1, expects an array that can be written"),
    ],
)
def test_a_wrong_argument_is_refused(probes: builder.Module, args: Sequence[Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        launch(probes, "copy", 4, *args)


def test_an_array_of_scalars_serves_a_pointer_to_vectors_only_at_an_aligned_address(probes: builder.Module) -> None:
    x = np.zeros(12, np.float32)
    start = -x.ctypes.data // 4 % 4
    x[start : start + 4] = [1, 2, 3, 4]
    out = np.zeros(1, np.float32)
    launch(probes, "wants_float4", 1, x[start:], out)
    assert out[0] == 10
    with pytest.raises(TypeError, match="multiple of 16"):
        launch(probes, "wants_float4", 1, x[start + 1 :], out)


@pytest.mark.parametrize(("grid", "block"), [((1,), (1025,)), ((1,), (32, 33)), ((1, 65536), (1,)), ((1,), (1, 1, 65))])
def test_sizes_that_no_gpu_has_are_refused(
    probes: builder.Module, grid: tuple[int, ...], block: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="at most"):
        probes.get_function("last_block")(grid, block, (np.zeros(1, np.int32),))


def test_more_shared_memory_than_a_block_can_have_is_refused(probes: builder.Module) -> None:
    with pytest.raises(ValueError, match="at most 232448 bytes"):
        launch(probes, "write_dynamic", 1, np.int32(0), shared_mem=232449)


def test_an_unknown_kernel_is_a_key_error_that_lists_the_kernels(probes: builder.Module) -> None:
    with pytest.raises(KeyError, match=r"no kernel 'nothing'; it has copy, .*mathematics<double>"):
        probes.get_function("nothing")


# Threads and blocks.


@pytest.mark.parametrize("order", builder.orders())
def test_every_thread_of_every_block_runs_once(probes: builder.Module, order: tuple[str, int]) -> None:
    out = np.full(24 * 24, -1, np.int32)
    with builder.order(*order):
        probes.get_function("indices")((2, 3, 4), (4, 3, 2), (out,))
    assert_array_equal(out.reshape(24, 24), 1000 * np.arange(24)[:, None] + np.arange(24))


def in_all_orders(
    probes: builder.Module, name: str, threads: int, *args: Any, out: NDArray[Any], blocks: int = 1
) -> Any:
    found = []
    for order, seed in builder.orders():
        out[:] = 0
        with builder.order(order, seed):
            launch(probes, name, threads, *args, blocks=blocks)
        found.append(out.tolist())
    return found


def test_a_missing_barrier_shows_in_the_orders(probes: builder.Module) -> None:
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    right = in_all_orders(probes, "neighbour", 64, x, y, np.int32(1), out=y)
    wrong = in_all_orders(probes, "neighbour", 64, x, y, np.int32(0), out=y)
    assert all(result == np.roll(x, -1).tolist() for result in right)
    assert len({tuple(result) for result in wrong}) > 1


def test_forward_and_reverse_are_the_orders_that_they_say(probes: builder.Module) -> None:
    x, y, which = np.arange(64, dtype=np.int32), np.zeros(64, np.int32), np.zeros(1, np.int32)
    for order, last, expected in (("forward", 7, [-1] * 63 + [0]), ("reverse", 0, [*range(1, 64), -1])):
        with builder.order(order):
            launch(probes, "neighbour", 64, x, y, np.int32(0))
            launch(probes, "last_block", 1, which, blocks=8)
        assert (which[0], y.tolist()) == (last, expected)


def test_dependence_on_the_order_of_blocks_shows_in_the_orders(probes: builder.Module) -> None:
    which = np.zeros(1, np.int32)
    assert len({tuple(result) for result in in_all_orders(probes, "last_block", 1, which, out=which, blocks=64)}) > 2


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="forward, reverse, random"), builder.order("sideways"):
        pass


def test_threads_that_return_early_do_not_hold_the_others_up(probes: builder.Module) -> None:
    out = np.zeros(96, np.int32)
    launch(probes, "early_return", 96, out)
    assert_array_equal(out, np.where(np.arange(96) % 3 == 0, 0, 64))


def test_a_launch_after_one_that_failed_is_as_if_nothing_had_been(probes: builder.Module) -> None:
    with pytest.raises(LaunchError):
        launch(probes, "different_barriers", 64)
    test_threads_that_return_early_do_not_hold_the_others_up(probes)


# Building.


def test_a_source_that_does_not_compile_is_an_error_with_the_compilers_words() -> None:
    with pytest.raises(toolchain.CompileError, match=r"kernel.cu:2.*undeclared_thing"):
        builder.build('\nextern "C" __global__ void k() { undeclared_thing(); }')


def test_options_define_and_include(tmp_path: Path) -> None:
    header = tmp_path / "value.cuh"
    code = '#include "value.cuh"\nextern "C" __global__ void k(int* out) { *out = VALUE + OTHER; }'
    for value in (1, 2):  # A changed header is compiled anew.
        header.write_text(f"#define VALUE {value}\n")
        builder._build.cache_clear()
        module = builder.build(code, options=(f"-I{tmp_path}", "-DOTHER=10", "-std=c++17", "-ftz=true"))
        out = np.zeros(1, np.int32)
        launch(module, "k", 1, out)
        assert out[0] == 10 + value


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match="--use_fast_math"):
        builder.build("", options=("--use_fast_math",))


def test_what_was_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_CUDA_ON_CPU_CACHE", str(tmp_path))
    code = 'extern "C" __global__ void k() {}'
    builder._build.cache_clear()
    builder.build(code)
    built = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")}
    builder._build.cache_clear()
    builder.build(code)
    assert len(built) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")} == built


def test_portable_fibers_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor is not x86-64, the C library switches the stacks."""
    monkeypatch.setenv("TINYNET_CUDA_ON_CPU_FLAGS", "-DCUDA_ON_CPU_UCONTEXT")
    builder._build.cache_clear()
    module = builder.build(CODE, EXPRESSIONS)
    builder._build.cache_clear()
    test_threads_that_return_early_do_not_hold_the_others_up(module)
    test_a_launch_after_one_that_failed_is_as_if_nothing_had_been(module)
    test_a_missing_barrier_shows_in_the_orders(module)
