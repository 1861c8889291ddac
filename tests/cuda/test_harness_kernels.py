"""Kernels on the CPU: what works on a GPU works, and what must not be done is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder, toolchain
from cuda_on_cpu.builder import LaunchError
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))

CODE = Path(__file__).with_name("harness_probes.cu").read_text()
EXPRESSIONS = (
    *(f"shuffles<{kind}, {width}>" for kind, width in (("float", 32), ("double", 8), ("long long", 2))),
    *(f"atomics<{kind}>" for kind in ("int", "unsigned", "float")),
    *("mathematics<float>", "mathematics<double>"),
)


@pytest.fixture(scope="module")
def probes() -> builder.Module:
    return builder.build(CODE, EXPRESSIONS)


def line_of(text: str, occurrence: int = 1) -> str:
    """Return the place of a line of the probes, as messages give it."""
    lines = [number for number, line in enumerate(CODE.splitlines(), 1) if text in line]
    return f"kernel.cu:{lines[occurrence - 1]}"


def launch(module: builder.Module, name: str, threads: int, *args: Any, blocks: int = 1, shared_mem: int = 0) -> None:
    module.get_function(name)((blocks,), (threads,), args, shared_mem=shared_mem)


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


# Shared memory.


def test_shared_memory_is_nan_at_the_start_of_every_block(probes: builder.Module) -> None:
    statics, dynamics = np.zeros(3, np.float32), np.zeros(3, np.float32)
    launch(probes, "unwritten", 1, statics, dynamics, blocks=3, shared_mem=16)
    assert np.isnan([statics, dynamics]).all()


def test_all_dynamic_arrays_are_the_same_memory(probes: builder.Module) -> None:
    out = np.zeros(1, np.float32)
    launch(probes, "aliases", 1, out, shared_mem=8)
    assert out[0] == np.array([1.0]).view(np.float32)[1]


@pytest.mark.parametrize(("at", "block"), [(8, 0), (20, 0), (29055, 1)])
def test_a_write_past_the_dynamic_shared_memory_is_reported(probes: builder.Module, at: int, block: int) -> None:
    """One nearby is seen when the block ends, one far away when the launch does."""
    launch(probes, "write_dynamic", 1, np.int32(7), shared_mem=64)
    with pytest.raises(LaunchError, match=f"past the launch's 64 bytes .* at byte {8 * at} .block {block},"):
        launch(probes, "write_dynamic", 1, np.int32(at), blocks=2, shared_mem=64)


@pytest.mark.parametrize("at", [8, -1, 1000])
def test_an_index_outside_a_static_array_is_reported_with_its_line(probes: builder.Module, at: int) -> None:
    with pytest.raises(LaunchError, match=rf"index {at} out of bounds for 'int \[8\]' at {line_of('values[at] = 1')}"):
        launch(probes, "static_index", 1, np.int32(at))


# What is undefined.


def test_a_misaligned_vector_load_is_reported_with_its_line(probes: builder.Module) -> None:
    x, y = np.zeros(12, np.float32), np.zeros(12, np.float32)
    start = -x.ctypes.data // 4 % 4
    y = y[-y.ctypes.data // 4 % 4 :]
    launch(probes, "load4", 1, x[start:], y)
    with pytest.raises(
        LaunchError, match=f"misaligned address.*16 bytes' alignment.*{line_of('reinterpret_cast<const float4')}"
    ):
        launch(probes, "load4", 1, x[start + 1 :], y)


@pytest.mark.parametrize(("a", "b"), [(1, 0), (-(2**31), -1)])
def test_an_undefined_division_is_reported(probes: builder.Module, a: int, b: int) -> None:
    out = np.zeros(1, np.int32)
    with pytest.raises(LaunchError, match=f"division by zero, or overflow.*{line_of('*out = a / b')}"):
        launch(probes, "divide", 1, np.int32(a), np.int32(b), out)


def test_a_trap_and_an_assertion_are_reported(probes: builder.Module) -> None:
    with pytest.raises(LaunchError, match=rf"__trap\(\) at {line_of('__trap()')}"):
        launch(probes, "null_or_trap", 1, np.int32(1), None)
    with pytest.raises(
        LaunchError, match=r"assertion failed at kernel.cu:\d+: p != nullptr \(block 0,0,0 thread 0,0,0\)"
    ):
        launch(probes, "null_or_trap", 1, np.int32(0), None)


@pytest.mark.parametrize("order", builder.orders(1))
def test_meeting_at_different_barriers_is_reported_with_both_lines(
    probes: builder.Module, order: tuple[str, int]
) -> None:
    with builder.order(*order), pytest.raises(LaunchError, match="threads met at different barriers") as caught:
        launch(probes, "different_barriers", 64)
    number = int(line_of("if (threadIdx.x < 32)").rpartition(":")[2])
    assert f"kernel.cu:{number + 1}" in str(caught.value)
    assert f"kernel.cu:{number + 3}" in str(caught.value)


def test_a_deadlock_is_reported(probes: builder.Module) -> None:
    with pytest.raises(
        LaunchError, match=r"deadlock: threads wait at __syncthreads at kernel.cu:\d+, others at a warp"
    ):
        launch(probes, "barrier_and_warp", 32)


def test_a_shuffle_from_a_lane_that_has_returned_is_reported(probes: builder.Module) -> None:
    with pytest.raises(LaunchError, match=f"shuffle at {line_of('0xffffffffu, 1, 5')} reads lane 5, which does not"):
        launch(probes, "missing_lane", 32, np.zeros(32, np.int32))


def test_lanes_with_different_masks_do_not_meet(probes: builder.Module) -> None:
    with pytest.raises(LaunchError, match=f"deadlock: lanes wait at a warp call at {line_of('__syncwarp(3u)')}"):
        launch(probes, "different_masks", 2)


def test_lanes_that_meet_at_different_calls_are_reported_with_both_lines(probes: builder.Module) -> None:
    lines = f"{line_of('out[0] = __shfl_sync')} and at {line_of('out[1] = __shfl_sync')}"
    with pytest.raises(LaunchError, match=f"lanes met at different warp calls: at {lines}"):
        launch(probes, "different_warp_calls", 2, np.zeros(2, np.int32))


def test_a_warp_call_from_outside_its_mask_is_reported(probes: builder.Module) -> None:
    with pytest.raises(LaunchError, match="by a lane outside its own mask"):
        launch(probes, "outside_mask", 32)


def test_a_launch_after_one_that_failed_is_as_if_nothing_had_been(probes: builder.Module) -> None:
    with pytest.raises(LaunchError):
        launch(probes, "different_barriers", 64)
    test_threads_that_return_early_do_not_hold_the_others_up(probes)


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
