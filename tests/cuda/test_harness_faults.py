"""Kernels on the CPU: what must not be done is reported, with its line."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_cpu import builder, toolchain
from cuda_on_cpu.builder import LaunchError
from harness_probes import CODE, EXPRESSIONS, launch

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))


@pytest.fixture(scope="module")
def probes() -> builder.Module:
    return builder.build(CODE, EXPRESSIONS)


def line_of(text: str, occurrence: int = 1) -> str:
    """Return the place of a line of the probes, as messages give it."""
    lines = [number for number, line in enumerate(CODE.splitlines(), 1) if text in line]
    return f"kernel.cu:{lines[occurrence - 1]}"


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
