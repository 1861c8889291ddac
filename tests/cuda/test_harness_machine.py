"""The stand-in for CuPy sees what a GPU would let pass, and simulates what a GPU cannot be asked for."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder, fake_cupy, toolchain
from cuda_on_cpu.fake_cupy import Machine
from cuda_on_cpu.fake_cupy.errors import CUDARuntimeError, FreedMemoryError, OutOfBoundsError, OutOfMemoryError
from numpy.testing import assert_array_equal

pytestmark = pytest.mark.skipif(toolchain.missing() is not None, reason=str(toolchain.missing()))

CODE = r"""
extern "C" __global__ void write(float* y, long long at) { y[at] = 1.0f; }
extern "C" __global__ void scale(float* y, float by) { y[threadIdx.x] *= by; }
extern "C" __global__ void which(int* y) { y[0] = blockIdx.x; }
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A simulated machine of its own for each test; nothing here is for the real CuPy."""
    fake_cupy.install(monkeypatch)
    return fake_cupy.current()


@pytest.fixture
def cupy(machine: Machine) -> ModuleType:
    return importlib.import_module("cupy")


def kernel(cupy: ModuleType, name: str) -> Any:
    return cupy.RawModule(code=CODE).get_function(name)


# Work and its order.


def test_what_is_queued_is_not_done_before_somebody_waits(machine: Machine, cupy: ModuleType) -> None:
    a = cupy.zeros(3)
    assert machine.queue(0).work
    assert np.isnan(a._host).all()
    cupy.cuda.Stream.null.synchronize()
    assert not machine.queue(0).work
    assert_array_equal(a._host, 0)


def test_a_new_array_is_full_of_nan_or_of_minus_one(cupy: ModuleType) -> None:
    assert np.isnan(cupy.empty(3, np.float32).get()).all()
    assert np.isnan(cupy.empty_like(cupy.ones(2)).get()).all()
    assert_array_equal(cupy.empty(2, np.int32).get(), -1)


def test_a_stream_that_nobody_orders_has_done_nothing(cupy: ModuleType) -> None:
    other = cupy.cuda.Stream(non_blocking=True)
    with other:
        a = cupy.ones(3)
    assert np.isnan((a + 1).get()).all()
    other.synchronize()
    assert_array_equal((a + 1).get(), 2)


def test_pinned_memory_is_written_when_the_stream_comes_to_it(cupy: ModuleType) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    back = np.frombuffer(cupy.cuda.alloc_pinned_memory(24), np.float64, 3)
    with stream:
        cupy.ones(3).get(out=back, blocking=False)
        assert np.isnan(back).all()
        stream.synchronize()
    assert_array_equal(back, 1)


def test_pageable_memory_may_be_changed_at_once(cupy: ModuleType) -> None:
    a, host = cupy.empty(3), np.ones(3)
    a.set(host)
    host[:] = 2
    assert_array_equal(a.get(), 1)


def test_an_event_that_has_not_passed_has_no_time(cupy: ModuleType) -> None:
    start, end, silent = cupy.cuda.Event(), cupy.cuda.Event(), cupy.cuda.Event(disable_timing=True)
    for event in (start, end, silent):
        event.record()
    with pytest.raises(CUDARuntimeError, match="cudaErrorNotReady"):
        cupy.cuda.get_elapsed_time(start, end)
    assert not end.done
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(start, silent)


def test_an_error_of_a_kernel_is_raised_by_whoever_waits(machine: Machine, cupy: ModuleType) -> None:
    y = cupy.zeros(1, np.float32)
    code = 'extern "C" __global__ void fails() { __trap(); }'
    cupy.RawModule(code=code).get_function("fails")((1,), (1,), ())
    with pytest.raises(builder.LaunchError, match=r"__trap\(\) at kernel.cu:1"):
        y.get()
    assert not machine.queue(0).work


def test_launches_take_the_order_in_force_when_they_are_done(cupy: ModuleType) -> None:
    y = cupy.zeros(1, np.int32)
    found = set()
    for order, seed in builder.orders():
        kernel(cupy, "which")((64,), (1,), (y,))
        with builder.order(order, seed):
            found.add(y.item())
    assert len(found) > 2


# Memory.


@pytest.mark.parametrize("at", [-1, 10, 100])
def test_a_write_outside_an_array_is_seen_when_somebody_waits(cupy: ModuleType, at: int) -> None:
    y = cupy.zeros(10, np.float32)
    kernel(cupy, "write")((1,), (1,), (y, np.int64(at)))
    with pytest.raises(OutOfBoundsError, match=f"at byte {4 * at + 3 if at < 0 else 4 * at} of an array of 40 bytes"):
        cupy.cuda.Stream.null.synchronize()
    assert_array_equal(y.get(), 0)  # Told once.


def test_a_write_outside_an_array_that_is_freed_at_once_is_seen(cupy: ModuleType) -> None:
    kernel(cupy, "write")((1,), (1,), (cupy.zeros(10, np.float32), np.int64(10)))
    with pytest.raises(OutOfBoundsError):
        cupy.cuda.Device().synchronize()


def test_memory_runs_out_at_what_the_device_has(machine: Machine, cupy: ModuleType) -> None:
    machine.pools[0].total = 1 << 20
    a = cupy.empty(1 << 19, np.uint8)
    with pytest.raises(OutOfMemoryError, match="allocating 1,048,576 bytes"):
        cupy.empty(1 << 20, np.uint8)
    pool = cupy.get_default_memory_pool()
    del a
    assert pool.total_bytes() == 1 << 19
    cupy.empty(1 << 20, np.uint8)  # What the pool keeps gives way.
    assert pool.total_bytes() == 1 << 20
    pool.free_all_blocks()
    pool.set_limit(1000)
    with pytest.raises(MemoryError, match="limit set to: 1,000 bytes"):
        cupy.empty(1024, np.uint8)


def test_allocations_during_capture_are_counted(machine: Machine, cupy: ModuleType) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.ones(3)
        stream.begin_capture()
        b = a + 1
        stream.end_capture()
    assert machine.statistics["allocations during capture"] == 1
    assert b.shape == (3,)


def test_a_graph_of_freed_arrays_is_not_launched(cupy: ModuleType) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.ones(3)
        stream.begin_capture()
        a += 1
        graph = stream.end_capture()
        graph.launch()
        del a
        with pytest.raises(FreedMemoryError, match="Keep captured arrays alive"):
            graph.launch()


def test_copies_that_a_product_needs_are_counted(machine: Machine, cupy: ModuleType) -> None:
    a, out = cupy.ones((4, 4)), cupy.empty((4, 4))
    cupy.matmul(a, a.T, out=out)
    assert not machine.statistics
    cupy.matmul(a[:, ::2], a[:2], out=out)
    assert machine.statistics["copies of operands"] == 1
    for result in (out.T, cupy.empty((4, 8))[:, ::2], a):
        cupy.matmul(a, a, out=result)
    assert machine.statistics["copies of results"] == 3


# Capture.


def test_the_null_stream_may_not_depend_on_a_capture(cupy: ModuleType) -> None:
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureImplicit"):
        cupy.zeros(3)
    stream.end_capture()


def test_a_capture_may_not_wait_for_work_outside(cupy: ModuleType) -> None:
    outside, stream = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    event = outside.record()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureIsolation"):
        stream.wait_event(event)
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


def test_a_device_cannot_be_waited_for_during_a_capture(cupy: ModuleType) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        cupy.cuda.Device().synchronize()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


def test_only_pinned_memory_is_copied_during_a_capture(cupy: ModuleType) -> None:
    runtime, stream = cupy.cuda.runtime, cupy.cuda.Stream(non_blocking=True)
    a = cupy.zeros(1)
    pinned, pageable = np.frombuffer(cupy.cuda.alloc_pinned_memory(8), np.float64, 1), np.ones(1)
    cupy.cuda.Device().synchronize()
    stream.begin_capture()
    runtime.memcpyAsync(a.data.ptr, pinned.ctypes.data, 8, runtime.memcpyHostToDevice, stream.ptr)
    graph = stream.end_capture()
    for value in (3.0, 4.0):
        pinned[0] = value
        graph.launch(stream)
        stream.synchronize()
        assert a.item() == value
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        runtime.memcpyAsync(a.data.ptr, pageable.ctypes.data, 8, runtime.memcpyHostToDevice, stream.ptr)


def test_copies_of_the_wrong_kind_or_size_are_refused(cupy: ModuleType) -> None:
    runtime, a, host = cupy.cuda.runtime, cupy.zeros(1), np.ones(2)
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidValue"):
        runtime.memcpyAsync(a.data.ptr, host.ctypes.data, 8, runtime.memcpyDeviceToHost, 0)
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidValue"):
        runtime.memcpyAsync(a.data.ptr, host.ctypes.data, 16, runtime.memcpyHostToDevice, 0)


# Devices and drivers.


def test_arrays_know_their_device(machine: Machine, cupy: ModuleType) -> None:
    machine.set_devices(2)
    assert cupy.cuda.runtime.getDeviceCount() == 2
    with cupy.cuda.Device(1):
        a = cupy.ones(3)
        assert cupy.cuda.Device().id == 1
    assert (a.device.id, a.__dlpack_device__(), cupy.ones(1).device.id) == (1, (2, 1), 0)
    assert_array_equal(a.get(), 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda cupy, a: a + 1,
        lambda cupy, a: a.sum(),
        lambda cupy, a: cupy.matmul(a.reshape(1, 3), a.reshape(3, 1)),
        lambda cupy, a: kernel(cupy, "scale")((1,), (3,), (a, np.float32(2))),
        lambda cupy, a: a.fill(0),
    ],
    ids=["ufunc", "reduction", "product", "kernel", "fill"],
)
def test_an_array_of_another_device_is_refused(
    machine: Machine, cupy: ModuleType, use: Callable[[ModuleType, Any], Any]
) -> None:
    machine.set_devices(2)
    with cupy.cuda.Device(1):
        a = cupy.ones(3, np.float32)
        use(cupy, a)
    with pytest.raises((ValueError, RuntimeError), match=r"device 0 with an array of device 1|array device = 1"):
        use(cupy, a)


def test_asarray_and_copy_bring_an_array_to_the_current_device(machine: Machine, cupy: ModuleType) -> None:
    machine.set_devices(2)
    with cupy.cuda.Device(1):
        a = cupy.full(3, 7.0)
        cupy.cuda.Device().synchronize()
    for here in (cupy.asarray(a), a.copy()):
        assert here.device.id == 0
        assert_array_equal(here.get(), 7)


def test_a_stream_belongs_to_its_device(machine: Machine, cupy: ModuleType) -> None:
    machine.set_devices(2)
    stream = cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.Device(1), pytest.raises(RuntimeError, match="does not match with the current device"), stream:
        pass


def test_more_shared_memory_is_asked_for_on_each_device(machine: Machine, cupy: ModuleType) -> None:
    machine.set_devices(2)
    scale = kernel(cupy, "scale")
    scale.max_dynamic_shared_size_bytes = 100_000
    with cupy.cuda.Device(1):
        assert scale.max_dynamic_shared_size_bytes == 48 * 1024


@pytest.mark.parametrize(
    ("status", "message"), [(35, "driver version is insufficient"), (100, "no CUDA-capable"), (46, "busy")]
)
def test_errors_of_the_driver(machine: Machine, cupy: ModuleType, status: int, message: str) -> None:
    machine.driver_error = status
    with pytest.raises(CUDARuntimeError, match=message) as caught:
        cupy.cuda.runtime.getDeviceCount()
    assert caught.value.status == status
    assert not cupy.is_available()
    with pytest.raises(CUDARuntimeError, match=message):
        cupy.zeros(3)


def test_a_machine_without_devices(machine: Machine, cupy: ModuleType) -> None:
    machine.set_devices(0)
    assert not cupy.is_available()
    with pytest.raises(CUDARuntimeError, match="cudaErrorNoDevice"):
        cupy.empty(1)


# The stand-in itself.


@pytest.mark.parametrize("name", ["fuse", "ElementwiseKernel", "random", "cuda.nvtx", "cuda.runtime.launchKernel"])
def test_what_is_not_listed_is_an_attribute_error(cupy: ModuleType, name: str) -> None:
    *path, last = name.split(".")
    owner: Any = cupy
    for part in path:
        owner = getattr(owner, part)
    with pytest.raises(AttributeError, match=re.escape(last)):
        getattr(owner, last)


def test_arrays_have_no_attributes_of_their_own_making(cupy: ModuleType) -> None:
    for name in ("ctypes", "base", "__array_interface__", "sort_values"):
        assert not hasattr(cupy.ones(1), name)


@pytest.mark.parametrize("name", ["cupy.cuda", "cupy.cuda.runtime", "cupy.cuda.memory", "cupy.cublas"])
def test_its_modules_are_imported_as_cupys(cupy: ModuleType, name: str) -> None:
    assert importlib.import_module(name).__name__ == name


def test_it_is_gone_when_the_test_is() -> None:
    before = {name for name in sys.modules if name.split(".")[0] == "cupy"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        installed = fake_cupy.install(monkeypatch)
        assert sys.modules["cupy"] is installed
    assert {name for name in sys.modules if name.split(".")[0] == "cupy"} == before
