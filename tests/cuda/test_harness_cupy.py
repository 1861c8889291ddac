"""The stand-in for CuPy keeps CuPy's promises: these tests run with the real one as well, where there is a GPU."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

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
"""
NAMES = ("fill<float, 2>", "fill<double, 3>", "last<float>")


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


# Arrays.


def test_device_arrays_do_not_become_numpy_arrays_unasked(cp: ModuleType) -> None:
    a = cp.ones(3, np.float32)
    for convert in (np.asarray, np.array, lambda x: np.concatenate([x, np.ones(3)])):
        with pytest.raises(TypeError):
            convert(a)
    assert_array_equal(a.get(), cp.asnumpy(a))


@pytest.mark.parametrize("operation", [operator.add, operator.mul, operator.truediv, operator.lt, operator.eq])
def test_device_arrays_do_not_mix_with_numpy_arrays(cp: ModuleType, operation: Callable[[Any, Any], Any]) -> None:
    device, host = cp.ones(3), np.ones(3)
    with pytest.raises(TypeError, match="Unsupported type"):
        operation(device, host)
    with pytest.raises(TypeError, match="Unsupported type"):
        operation(host, device)


@pytest.mark.parametrize("name", ["exp", "sum", "maximum", "concatenate"])
def test_functions_take_no_numpy_arrays(cp: ModuleType, name: str) -> None:
    host = np.ones(3)
    with pytest.raises(TypeError):
        getattr(cp, name)(*{"maximum": (host, cp.ones(3)), "concatenate": ([host],)}.get(name, (host,)))


UNARY = ("exp", "expm1", "tanh", "sqrt", "abs", "sign", "isfinite", "negative", "square", "floor", "log1p")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "greater_equal", "not_equal")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_elementwise_functions_have_numpys_shapes_dtypes_and_values(cp: ModuleType, name: str, dtype: str) -> None:
    x, y = np.arange(1, 7).reshape(2, 3).astype(dtype), np.array([3, 2, 1], dtype)
    operands = (x,) if name in UNARY else (x, y)
    found = getattr(cp, name)(*map(cp.asarray, operands))
    expected = getattr(np, name)(*operands)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert_allclose(found.get(), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "argmax", "argmin", "any", "all", "prod", "std", "var"])
def test_reductions(cp: ModuleType, name: str, axis: int | None) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    for found in (getattr(cp, name)(cp.asarray(x), axis=axis), getattr(cp.asarray(x), name)(axis=axis)):
        expected = getattr(np, name)(x, axis=axis)
        assert isinstance(found, cp.ndarray)
        assert found.dtype == np.asarray(expected).dtype
        assert_allclose(found.get(), expected, rtol=1e-5)


def test_scalars_promote_as_in_numpy_2(cp: ModuleType) -> None:
    a = cp.ones(3, np.float32)
    assert (2.0 * a).dtype == (a + np.float32(1)).dtype == np.float32
    assert (np.float64(2) * a).dtype == np.float64


def test_operators_in_place_and_out(cp: ModuleType) -> None:
    a, out = cp.arange(4, dtype=np.float32), cp.empty(4, np.float32)
    same = a
    same += 1
    same *= cp.asarray(np.array([1, 2, 3, 4], np.float32))
    assert cp.sqrt(a, out=out) is out
    assert_array_equal(a.get(), [1, 4, 9, 16])
    assert_array_equal(out.get(), [1, 2, 3, 4])


def test_views_share_memory_and_copies_do_not(cp: ModuleType) -> None:
    a = cp.zeros((2, 3))
    a[0], a[:, 1], a.T[2], a.reshape(-1)[3] = 1.0, cp.asarray([5.0, 6.0]), 7.0, 8.0
    a.copy().fill(9)
    a.T.ravel()[0] = 9
    assert_array_equal(a.get(), [[1, 5, 7], [8, 6, 7]])
    assert (a.T.flags.c_contiguous, a.T.flags.f_contiguous, a[0].strides) == (False, True, (8,))


def test_indexing_by_arrays(cp: ModuleType) -> None:
    a = cp.asarray(np.arange(12.0).reshape(4, 3))
    assert_array_equal(a[cp.asarray([2, 0])].get(), [[6, 7, 8], [0, 1, 2]])
    assert_array_equal(a[a > 8].get(), [9, 10, 11])
    assert_array_equal(cp.take(a, cp.asarray([1, 1]), axis=1).get()[0], [1, 1])
    a[a > 8] = 0
    a[cp.asarray([0, 1])] = cp.ones((2, 3))
    assert_array_equal(a.get().sum(axis=1), [3, 3, 21, 0])


def test_where_clip_and_joins(cp: ModuleType) -> None:
    a = cp.asarray(np.array([-2.0, 0.5, 3.0]))
    assert_array_equal(cp.where(a > 0, a, 0.0).get(), [0, 0.5, 3])
    assert_array_equal(cp.clip(a, -1, None).get(), [-1, 0.5, 3])
    assert_array_equal(cp.concatenate([a, a[:1]]).get(), [-2, 0.5, 3, -2])
    assert cp.stack([a, a]).shape == (2, 3)


def test_numpys_functions_serve_device_arrays(cp: ModuleType) -> None:
    assert isinstance(np.exp(cp.ones(3)), cp.ndarray)
    assert isinstance(np.sum(cp.ones(3)), cp.ndarray)


def test_one_element_becomes_a_number_and_more_do_not(cp: ModuleType) -> None:
    assert float(cp.full(1, 2.5)) == 2.5
    assert int(cp.full((), 2)) == 2
    assert not cp.zeros(1)
    assert cp.full((1, 1), 3.0).item() == 3.0
    with pytest.raises(ValueError, match="ambiguous"):
        bool(cp.ones(2))


def test_assigning_a_numpy_array_is_refused_but_to_all_of_an_equal_array(cp: ModuleType) -> None:
    a, host = cp.zeros(3), np.arange(3.0)
    a[:] = host
    assert_array_equal(a.get(), host)
    for key in (slice(0, 3), Ellipsis):
        with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray"):
            a[key] = host
    with pytest.raises(ValueError, match="same shape and dtype"):
        a[:] = host.astype(np.float32)


def test_set_takes_numpy_arrays_of_the_same_shape_and_dtype_only(cp: ModuleType) -> None:
    a = cp.zeros(3, np.float32)
    a.set(np.arange(3, dtype=np.float32))
    assert_array_equal(a.get(), [0, 1, 2])
    with pytest.raises(TypeError, match=r"Only numpy\.ndarray"):
        a.set([1, 2, 3])
    with pytest.raises(TypeError, match="float64 array cannot be set to float32"):
        a.set(np.zeros(3))
    with pytest.raises(ValueError, match="Shape mismatch"):
        a.set(np.zeros(4, np.float32))


def test_get_fills_out(cp: ModuleType) -> None:
    out = np.zeros(3)
    assert cp.ones(3).get(out=out) is out
    assert_array_equal(out, 1)
    with pytest.raises(TypeError, match="float32 array cannot be obtained"):
        cp.ones(3).get(out=np.zeros(3, np.float32))


def test_the_array_module_of_an_array(cp: ModuleType) -> None:
    assert cp.get_array_module(np.ones(1), cp.ones(1)) is cp
    assert cp.get_array_module(np.ones(1)) is np
    assert type(cp.ones(1)).__module__ == "cupy"


def test_asarray_copies_from_the_host_and_not_on_the_device(cp: ModuleType) -> None:
    host = np.arange(3.0)
    device = cp.asarray(host)
    host[:] = -1
    assert_array_equal(device.get(), [0, 1, 2])
    assert cp.asarray(device) is device
    assert cp.asarray(device, np.float32).dtype == np.float32
    assert cp.array(device) is not device


# Products.


def test_products(cp: ModuleType) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 5))
    device_a, device_b = cp.asarray(a), cp.asarray(b)
    out = cp.empty((3, 5))
    assert cp.matmul(device_a, device_b, out=out) is out
    assert_allclose(out.get(), a @ b)
    assert_allclose((device_b.T @ device_a.T).get(), (a @ b).T)
    assert_allclose(cp.dot(device_a, device_b).get(), a @ b)
    assert_allclose(cp.outer(device_a[0], device_b[0]).get(), np.outer(a[0], b[0]))
    assert_allclose((device_a[0] @ device_b).get(), a[0] @ b)


def test_products_into_what_cublas_cannot_write_are_right_as_well(cp: ModuleType) -> None:
    a = np.random.default_rng(0).normal(size=(3, 3))
    device = cp.asarray(a)
    transposed = cp.empty((3, 3)).T
    cp.matmul(device, device, out=transposed)
    assert_allclose(transposed.get(), a @ a)
    cp.matmul(device, device, out=device)
    assert_allclose(device.get(), a @ a)


def test_products_of_shapes_that_do_not_fit_are_refused(cp: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"."):
        cp.matmul(cp.ones((2, 3)), cp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"."):
        cp.matmul(cp.ones((2, 3)), cp.ones((3, 2)), out=cp.empty((3, 3)))


def test_gemm_scales_and_adds(cp: ModuleType) -> None:
    from cupy import cublas

    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(4, 3)), rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    out = cp.asarray(c)
    cublas.gemm("T", "N", cp.asarray(a), cp.asarray(b), out=out, alpha=2.0, beta=0.5)
    assert_allclose(out.get(), 2 * a.T @ b + 0.5 * c)


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
