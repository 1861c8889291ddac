"""CuPy's arrays and functions, on the stand-in and, where there is a GPU, on the real one."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

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


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_and_pickles_are_arrays_of_the_device_with_memory_of_their_own(
    cp: ModuleType, again: Callable[[Any], Any]
) -> None:
    for array in (cp.arange(6.0).reshape(2, 3), cp.arange(6.0).reshape(2, 3).T, cp.float32(3) * cp.ones(())):
        before, copied = array.get(), again(array)
        array += 1
        assert type(copied) is cp.ndarray
        assert (copied.dtype, copied.device) == (array.dtype, array.device)
        assert_array_equal(copied.get(), before)


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
