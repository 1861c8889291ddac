"""CuPy's kernels, streams, graphs, devices and memory, on the stand-in and, where there is a GPU, on the real one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

ADD = r"""
extern "C" __global__ void add(float* y, const float* x, float by, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += x[i] * by;
}
template <typename T, int N> __global__ void fill(T* y, T value) { y[threadIdx.x] = value * N; }
template <typename T> __global__ void last(T* out, int at) {
    extern __shared__ unsigned char memory[];
    T* values = reinterpret_cast<T*>(memory);
    values[at] = 5;
    *out = values[at];
}
template <typename T> __device__ void turned(const T* x, T* y) {
    __shared__ T values[1000];
    values[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
template <typename T> __global__ void reverse(const T* x, T* y) {
    extern __shared__ unsigned char memory[];
    __shared__ int first;
    first = 0;
    memory[threadIdx.x] = 1;
    turned(x + first, y);
}
"""
NAMES = ("fill<float, 2>", "fill<double, 3>", "last<float>", "reverse<float>", "reverse<double>")


@pytest.fixture
def module(cp: ModuleType) -> Any:
    return cp.RawModule(code=ADD, options=("-std=c++17",), name_expressions=NAMES)


def capture(cp: ModuleType, stream: Any, work: Callable[[], Any]) -> Any:
    """Return the graph of what ``work`` queues."""
    with stream:
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    return graph


# Kernels.


def test_kernels_run_on_device_arrays(cp: ModuleType, module: Any) -> None:
    x, y = cp.arange(10, dtype=np.float32), cp.ones(10, np.float32)
    module.get_function("add")((2,), (8,), (y, x, np.float32(2), np.int32(10)))
    assert_array_equal(y.get(), 1 + 2 * np.arange(10))


def test_kernels_of_name_expressions(cp: ModuleType, module: Any) -> None:
    y = cp.empty(4)
    module.get_function("fill<double, 3>")((1,), (4,), (y, np.float64(1.5)))
    assert_array_equal(y.get(), 4.5)


def test_kernels_take_no_numpy_arrays(cp: ModuleType, module: Any) -> None:
    with pytest.raises(TypeError, match=r"numpy\.ndarray of shape"):
        module.get_function("add")(
            (1,), (8,), (np.ones(8, np.float32), cp.ones(8, np.float32), np.float32(1), np.int32(8))
        )


def test_options_must_be_a_tuple(cp: ModuleType) -> None:
    with pytest.raises(TypeError, match="tuple"):
        cp.RawModule(code=ADD, options=["-std=c++17"])


def test_a_kernel_that_does_not_exist_is_an_error_of_the_driver(cp: ModuleType, module: Any) -> None:
    from cupy.cuda.driver import CUDADriverError

    with pytest.raises(CUDADriverError, match="CUDA_ERROR_NOT_FOUND: named symbol not found"):
        module.get_function("nothing")


def test_a_source_that_does_not_compile_is_a_compile_exception(cp: ModuleType) -> None:
    from cupy.cuda.compiler import CompileException

    with pytest.raises(CompileException, match="undeclared_thing"):
        cp.RawModule(code='extern "C" __global__ void k() { undeclared_thing(); }').get_function("k")


def test_shared_memory_above_48_kib_must_be_asked_for(cp: ModuleType, module: Any) -> None:
    out = cp.zeros(1, np.float32)
    kernel = module.get_function("last<float>")
    size = 64 * 1024
    args = (out, np.int32(size // 4 - 1))
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel((1,), (1,), args, shared_mem=size)
    kernel.max_dynamic_shared_size_bytes = size
    kernel((1,), (1,), args, shared_mem=size)
    assert out.item() == 5
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = 256 * 1024


def test_static_shared_memory_counts_against_the_same_limits(cp: ModuleType, module: Any) -> None:
    x, kernel = cp.asarray(np.arange(8.0)), module.get_function("reverse<double>")
    y, static = cp.zeros_like(x), kernel.shared_size_bytes
    assert 8004 <= static <= 8016
    assert module.get_function("fill<float, 2>").shared_size_bytes == 0
    default = 48 * 1024 - static
    kernel((1,), (8,), (x, y), shared_mem=default)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel((1,), (8,), (x, y), shared_mem=default + 16)
    most = cp.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = most - static + 16
    kernel.max_dynamic_shared_size_bytes = most // 16 * 16 - 8192
    kernel((1,), (8,), (x, y), shared_mem=most // 16 * 16 - 8192)
    assert_array_equal(y.get(), np.arange(8.0)[::-1])


def test_the_attribute_counts_static_memory_also_where_nothing_is_dynamic(cp: ModuleType, module: Any) -> None:
    kernel = module.get_function("reverse<float>")
    assert 4004 <= kernel.shared_size_bytes <= 4016
    most = cp.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = most


def test_grids_are_bounded(cp: ModuleType, module: Any) -> None:
    y, kernel = cp.zeros(1, np.float32), module.get_function("fill<float, 2>")
    for grid in ((1, 65_536), (1, 1, 65_536), (1 << 31,)):
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
            kernel(grid, (1,), (y, np.float32(1)))


def test_too_many_threads_are_refused(cp: ModuleType, module: Any) -> None:
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        module.get_function("fill<float, 2>")((1,), (2048,), (cp.empty(2048, np.float32), np.float32(1)))


# Streams, events and graphs.


def test_an_event_orders_two_streams(cp: ModuleType) -> None:
    one, two = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
    a = cp.zeros(4)
    cp.cuda.Device().synchronize()
    with one:
        a += 1
        event = one.record()
    with two:
        two.wait_event(event)
        b = a * 2
        assert_array_equal(b.get(), 2)


def test_a_blocking_stream_is_ordered_with_the_null_stream(cp: ModuleType) -> None:
    stream = cp.cuda.Stream()
    a = cp.zeros(4)
    with stream:
        a += 1
    b = a + 1
    assert_array_equal(b.get(), 2)


def test_events_measure_time_once_they_have_passed(cp: ModuleType) -> None:
    start, end = cp.cuda.Event(), cp.cuda.Event()
    start.record()
    (cp.ones(1000) * 2).sum()
    end.record()
    end.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0
    assert end.done


def test_streams_become_current_in_two_ways(cp: ModuleType) -> None:
    null, current = cp.cuda.Stream.null, cp.cuda.get_current_stream
    one, other = cp.cuda.Stream(), cp.cuda.Stream()
    assert one.use() is one
    with other:
        assert current() == other
        one.use()
        assert current() == one
    # What was set by use() before the block is forgotten: the block knows of other blocks only.
    assert current() == null
    with one:
        with other:
            null.use()
        assert current() == one
    assert current() == null


def test_current_devices_and_streams_are_those_of_a_thread(cp: ModuleType) -> None:
    stream = cp.cuda.Stream().use()
    try:
        with ThreadPoolExecutor(1) as pool:
            there = pool.submit(lambda: (cp.cuda.Device().id, cp.cuda.get_current_stream())).result()
        assert there == (0, cp.cuda.Stream.null)
        assert cp.cuda.get_current_stream() == stream
    finally:
        cp.cuda.Stream.null.use()


def test_an_address_tells_its_device(cp: ModuleType) -> None:
    array = cp.zeros(3)
    found = cp.cuda.runtime.pointerGetAttributes(array.data.ptr)
    assert (found.device, found.type) == (0, 2)


def test_a_graph_replays_kernels_with_their_arguments(cp: ModuleType, module: Any) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    x, y = cp.ones(8, np.float32), cp.zeros(8, np.float32)
    kernel = module.get_function("add")
    cp.cuda.Device().synchronize()
    graph = capture(cp, stream, lambda: kernel((1,), (8,), (y, x, np.float32(3), np.int32(8))))
    with stream:
        assert_array_equal(y.get(), 0)
        for _ in range(3):
            graph.launch()
        x.fill(10)
        graph.launch(stream)
        assert_array_equal(y.get(), 3 * 3 + 30)


def test_capture_refuses_cublas(cp: ModuleType) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    a, out = cp.ones((3, 3)), cp.empty((3, 3))
    with stream:
        cp.matmul(a, a, out=out)
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
            cp.matmul(a, a, out=out)
        stream.end_capture()


@pytest.mark.parametrize("transfer", ["asarray", "set", "get", "item"])
def test_capture_refuses_transfers(cp: ModuleType, transfer: str) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    a, host = cp.ones(1), np.ones(1)
    act = {"asarray": lambda: cp.asarray(host), "set": lambda: a.set(host), "get": a.get, "item": a.item}[transfer]
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match=r"is capturing, so (H2D|D2H) transfers are disallowed"):
            act()
        stream.end_capture()


def test_capture_refuses_to_wait_and_is_lost(cp: ModuleType) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            stream.synchronize()
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
    assert not stream.is_capturing()


def test_the_null_stream_cannot_be_captured(cp: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()


def test_pinned_memory_is_a_buffer(cp: ModuleType) -> None:
    memory = cp.cuda.alloc_pinned_memory(100)
    host = np.frombuffer(memory, np.float32, 10)
    host[:] = np.arange(10)
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        a = cp.empty(10, np.float32)
        a.set(host, stream)
        back = a.get(out=np.frombuffer(cp.cuda.alloc_pinned_memory(40), np.float32, 10), blocking=False)
        stream.synchronize()
    assert_array_equal(back, np.arange(10))


def test_bytes_are_copied_in_a_streams_order(cp: ModuleType) -> None:
    runtime = cp.cuda.runtime
    a, b = cp.arange(6, dtype=np.float64), cp.zeros(6)
    stream = cp.cuda.get_current_stream()
    runtime.memcpyAsync(b.data.ptr + 8, a.data.ptr, 16, runtime.memcpyDeviceToDevice, stream.ptr)
    runtime.memsetAsync(a.data.ptr, 0, 48, stream.ptr)
    assert_array_equal(b.get(), [0, 0, 1, 0, 0, 0])
    assert_array_equal(a.get(), 0)


# Devices, memory, other libraries.


def test_device_facts(cp: ModuleType) -> None:
    device = cp.cuda.Device(0)
    free, total = device.mem_info
    properties = cp.cuda.runtime.getDeviceProperties(0)
    assert 0 < free <= total
    assert device.id == 0
    assert device.compute_capability == f"{properties['major']}{properties['minor']}"
    assert device.attributes["MultiProcessorCount"] == properties["multiProcessorCount"]
    assert isinstance(properties["name"], bytes)
    assert cp.cuda.runtime.getDeviceCount() >= 1
    assert cp.cuda.runtime.driverGetVersion() >= cp.cuda.runtime.runtimeGetVersion() // 1000 * 1000
    assert cp.is_available()


def test_a_device_that_is_not_there_is_an_error(cp: ModuleType) -> None:
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorInvalidDevice: invalid device ordinal"):
        cp.cuda.Device(99).use()


def test_the_pool_keeps_what_is_freed(cp: ModuleType) -> None:
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes(), pool.total_bytes()
    a = cp.empty(1 << 20, np.uint8)
    assert pool.used_bytes() == before[0] + (1 << 20)
    del a
    assert pool.used_bytes() == before[0]
    assert pool.total_bytes() > before[1]
    pool.free_all_blocks()
    assert pool.total_bytes() == before[1]


def test_no_memory_is_a_memory_error(cp: ModuleType) -> None:
    with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="Out of memory allocating") as caught:
        cp.empty(1 << 50, np.uint8)
    assert isinstance(caught.value, MemoryError)


def test_arrays_are_exchanged_without_a_copy(cp: ModuleType) -> None:
    class Foreign:
        def __init__(self, array: Any) -> None:
            self.__cuda_array_interface__ = array.__cuda_array_interface__
            self.keeps = array

    a = cp.zeros((2, 3))
    assert a.__dlpack_device__() == (2, 0)
    for other in (cp.from_dlpack(a), cp.asarray(Foreign(a)), cp.asarray(Foreign(a.T)).T):
        other += 1
    assert_array_equal(a.get(), 3)


def test_numpy_does_not_take_device_arrays(cp: ModuleType) -> None:
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(cp.ones(3))
    with pytest.raises(TypeError, match=r"CPU|numpy|device"):
        cp.from_dlpack(np.ones(3))


def test_pinned_memory_is_left_alone_until_it_has_been_copied(cp: ModuleType) -> None:
    pinned = np.frombuffer(cp.cuda.alloc_pinned_memory(64), np.float32, 16)
    there, sent, stream = cp.empty(16, np.float32), cp.cuda.Event(disable_timing=True), cp.cuda.Stream.null
    for value in range(3):
        sent.synchronize()
        pinned[...] = value
        there.set(pinned)
        sent.record()
    assert_array_equal(there.get(), 2)
    if hasattr(cp, "__file__"):
        return  # On a device it may go well.
    there.set(pinned)
    pinned[...] = 7
    with pytest.raises(RuntimeError, match="pinned memory was written to before the copy"):
        stream.synchronize()
