"""CuPy's functions: those that are NumPy's, by the tables of their names, and the few that differ.

What is computed is NumPy's; what is checked here is how it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .array import apply, check_operands, from_host, ndarray, new, submit, view_or_copy
from .exchange import from_interface
from .machine import current
from .names import COMPARISONS, CONSTANTS, JOINS, REDUCTIONS, SCANS, TYPES, UFUNCS, VIEWS
from .streams import Stream


class ufunc:
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self._function: np.ufunc = getattr(np, name)
        self.__name__, self.nin, self.nout = name, self._function.nin, self._function.nout

    def __call__(self, *args: Any, out: ndarray | None = None, dtype: DTypeLike | None = None) -> ndarray:
        if len(args) == self.nin + 1 and out is None:
            args, out = args[:-1], args[-1]
        if len(args) != self.nin:
            raise TypeError(f"Wrong number of arguments for {self.__name__!r}: {len(args)}")
        return apply(self._function, *args, out=out, dtype=dtype)


def _reduction(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def reduction(
        a: ndarray, axis: Any = None, dtype: DTypeLike | None = None, out: ndarray | None = None, keepdims: bool = False
    ) -> ndarray:
        keywords: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
        if dtype is not None:
            keywords["dtype"] = dtype
        _only_arrays(a)
        return apply(lambda x: function(x, **keywords), a, out=out)

    reduction.__name__ = name
    return reduction


def _like_numpy(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def call(a: ndarray, *args: Any, **keywords: Any) -> ndarray:
        _only_arrays(a)
        return apply(lambda x: function(x, *args, **keywords), a)

    call.__name__ = name
    return call


def _viewing(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def view(a: ndarray, *args: Any, **keywords: Any) -> ndarray:
        _only_arrays(a)
        return view_or_copy(lambda x: function(x, *args, **keywords), a)

    view.__name__ = name
    return view


def _joining(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def join(arrays: Sequence[ndarray], *args: Any, out: ndarray | None = None, **keywords: Any) -> ndarray:
        arrays = list(arrays)
        _only_arrays(*arrays)
        return apply(lambda *a: function(a, *args, **keywords), *arrays, out=out)

    join.__name__ = name
    return join


def _comparing(name: str) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def compare(a: Any, b: Any, **keywords: Any) -> ndarray:
        return apply(lambda x, y: np.asarray(function(x, y, **keywords)), a, b)

    compare.__name__ = name
    return compare


def _only_arrays(*arrays: Any) -> None:
    for array in arrays:
        if not isinstance(array, ndarray):
            raise TypeError(f"Unsupported type {type(array)}")


# Creation.


def empty(shape: Any, dtype: DTypeLike = float, order: str = "C") -> ndarray:
    return new(shape, dtype, order)


def full(shape: Any, fill_value: Any, dtype: DTypeLike | None = None, order: str = "C") -> ndarray:
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.array(fill_value).dtype
    made = new(shape, dtype, order)
    made.fill(fill_value)
    return made


def zeros(shape: Any, dtype: DTypeLike = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def ones(shape: Any, dtype: DTypeLike = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype, order)


def empty_like(prototype: ndarray, dtype: DTypeLike | None = None, *, shape: Any = None) -> ndarray:
    return new(prototype.shape if shape is None else shape, dtype or prototype.dtype)


def full_like(a: ndarray, fill_value: Any, dtype: DTypeLike | None = None, *, shape: Any = None) -> ndarray:
    return full(a.shape if shape is None else shape, fill_value, dtype or a.dtype)


def zeros_like(a: ndarray, dtype: DTypeLike | None = None, *, shape: Any = None) -> ndarray:
    return full_like(a, 0, dtype, shape=shape)


def ones_like(a: ndarray, dtype: DTypeLike | None = None, *, shape: Any = None) -> ndarray:
    return full_like(a, 1, dtype, shape=shape)


def _computed(host: NDArray[Any]) -> ndarray:
    """Return an array that a kernel fills, without a copy from the host."""
    made = new(host.shape, host.dtype)
    submit(lambda target: np.copyto(target, host), made)
    return made


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: DTypeLike | None = None) -> ndarray:
    return _computed(np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype))


def linspace(start: float, stop: float, num: int = 50, dtype: DTypeLike | None = None) -> ndarray:
    return _computed(np.linspace(start, stop, num, dtype=dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike = float) -> ndarray:
    return _computed(np.eye(N, M, k, dtype=dtype))


# From the host and back.


def array(
    obj: Any, dtype: DTypeLike | None = None, copy: bool = True, order: str = "K", *, blocking: bool = False
) -> ndarray:
    """Return an array on the current device; one of another device is copied to this one."""
    if hasattr(obj, "__cuda_array_interface__") and not isinstance(obj, ndarray):
        obj = from_interface(obj)
    if isinstance(obj, ndarray):
        elsewhere = obj._allocation.device_id != current().device_id
        here = obj.copy(order) if elsewhere else obj
        return here.astype(dtype or obj.dtype, order=order, copy=copy and not elsewhere)
    return from_host(obj, dtype, "F" if order == "F" else "C")


def asarray(a: Any, dtype: DTypeLike | None = None, order: str | None = None, *, blocking: bool = False) -> ndarray:
    return array(a, dtype, copy=False, order=order or "K", blocking=blocking)


def ascontiguousarray(a: Any, dtype: DTypeLike | None = None) -> ndarray:
    here = asarray(a)
    if here.flags.c_contiguous and (dtype is None or here.dtype == dtype):
        return here if here.ndim else here.reshape(1)
    return here.astype(dtype or here.dtype, order="C")


def copy(a: Any, order: str = "K") -> ndarray:
    return array(a, order=order)


def asnumpy(
    a: Any, stream: Stream | None = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> NDArray[Any]:
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    return np.asarray(a, order=order)  # type: ignore[call-overload, no-any-return]


def copyto(dst: ndarray, src: Any) -> None:
    check_operands([dst, src])
    dst[...] = src


# Those that differ from NumPy's.


def where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return nonzero(condition)
    return apply(lambda c, a, b: np.where(c, a, b), condition, x, y)


def nonzero(a: ndarray) -> tuple[ndarray, ...]:
    """Wait for the device: the shape of the result depends on the values."""
    return tuple(from_host(index) for index in a.get().nonzero())


def clip(a: ndarray, a_min: Any = None, a_max: Any = None, out: ndarray | None = None) -> ndarray:
    bounds = {"a_min": a_min, "a_max": a_max}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    _only_arrays(a)
    return apply(
        lambda x, *b: np.clip(x, **{**bounds, **dict(zip(given, b, strict=True))}), a, *given.values(), out=out
    )


def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    index = indices if isinstance(indices, (ndarray, int)) else from_host(indices)
    return apply(lambda x, i: np.take(x, i, axis=axis, mode="wrap"), a, index, out=out)


def reshape(a: ndarray, newshape: Any, order: str = "C") -> ndarray:
    _only_arrays(a)
    return a.reshape(newshape, order=order)


def ravel(a: ndarray, order: str = "C") -> ndarray:
    _only_arrays(a)
    return a.ravel(order)


def isscalar(element: Any) -> bool:
    return np.isscalar(element)


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(*(a.dtype if isinstance(a, ndarray) else a for a in arrays_and_dtypes))


def public() -> dict[str, Any]:
    """Return all functions by their names in CuPy."""
    names: dict[str, Any] = {name: ufunc(name) for name in UFUNCS}
    names |= {"abs": names["absolute"], "mod": names["remainder"], "bitwise_not": names["invert"]}
    names |= {name: _reduction(name) for name in REDUCTIONS}
    names |= {name: _like_numpy(name) for name in SCANS}
    names |= {name: _viewing(name) for name in VIEWS}
    names |= {name: _joining(name) for name in JOINS}
    names |= {name: _comparing(name) for name in COMPARISONS}
    names |= {name: getattr(np, name) for name in (*CONSTANTS, *TYPES)}
    own = (
        *(empty, full, zeros, ones, empty_like, full_like, zeros_like, ones_like, arange, linspace, eye),
        *(array, asarray, ascontiguousarray, copy, asnumpy, copyto, where, nonzero, clip, take, reshape, ravel),
        *(isscalar, result_type),
    )
    return names | {function.__name__: function for function in own}
