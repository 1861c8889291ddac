"""Arrays of the device: ``cupy.ndarray``, and the one way in which work on them is queued."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CUDARuntimeError
from .indexing import ARRAY, is_basic, opened, wrapped
from .machine import Allocation, current
from .memory import OnDevice
from .streams import get_current_stream

SCALARS = (bool, int, float, complex, np.number, np.bool_)


class ndarray(OnDevice):
    """An array on a device. It never becomes a NumPy array unasked."""

    __module__ = "cupy"
    __array_priority__ = 100

    def __init__(self, shape: Any, dtype: DTypeLike = float) -> None:
        made = new(shape, dtype)
        self._host, self._allocation = made._host, made._allocation

    @classmethod
    def _of(cls, host: NDArray[Any], allocation: Allocation) -> ndarray:
        array = cls.__new__(cls)
        array._host, array._allocation = host, allocation
        return array

    def _view(self, host: NDArray[Any]) -> ndarray:
        return ndarray._of(host, self._allocation)

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # Exchange with other libraries.

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": get_current_stream().ptr or 1,
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
            "data": (self.data.ptr if self.size else 0, False),
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self._allocation.device_id)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule; the consumer's stream is ordered after the current one."""
        if dl_device == (1, 0):
            if copy is False:
                raise ValueError("GPU memory cannot be exported to CPU without copy.")
            return self.get().__dlpack__()
        if dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("unsupported device requested.")
        if copy:
            raise BufferError("copy=True only supported for copy to CPU.")
        if stream is not None and stream < -1:
            raise ValueError(
                f"On CUDA, the valid stream for the DLPack protocol is -1, 1, 2, or any larger value, but {stream} "
                "was provided"
            )
        here = get_current_stream()
        consumer = 0 if stream in (None, 0, 1) else stream
        if consumer not in (-1, here.ptr):
            queue, number = here._queue, here._queue.submit(lambda: None)
            current().queue(consumer or 0).submit(lambda: queue.drain(number))
        capsule = self._host.__dlpack__()
        dlpack_device(capsule)[:] = self.__dlpack_device__()
        return capsule

    # Views and copies.

    @property
    def T(self) -> ndarray:
        return self._view(self._host.T)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return view_or_copy(lambda a: a.reshape(*shape, order=order), self)

    def ravel(self, order: str = "C") -> ndarray:
        return view_or_copy(lambda a: a.ravel(order), self)

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._host.transpose(*axes))

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._view(self._host.squeeze(axis))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._host.swapaxes(axis1, axis2))

    def view(self, dtype: DTypeLike | None = None) -> ndarray:
        return self._view(self._host.view() if dtype is None else self._host.view(dtype))

    def flatten(self, order: str = "C") -> ndarray:
        return apply(lambda a: a.flatten(order), self)

    def copy(self, order: str = "C") -> ndarray:
        """Copy, to the current device from whichever this array is on."""
        made = new(self.shape, self.dtype, order="F" if order in "FAK" and self.flags.fnc else "C")
        target, source = made._host, self._host
        get_current_stream()._queue.submit(lambda: np.copyto(target, source), [made._allocation, self._allocation])
        return made

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> ndarray:
        with self.device:
            return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_host, (self.get(order="A"),)

    def astype(
        self, dtype: DTypeLike, order: str = "K", casting: None = None, subok: None = None, copy: bool = True
    ) -> ndarray:
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if subok is not None:
            raise TypeError("subok is not supported yet")
        if not copy and self.dtype == dtype and (order == "K" or self.flags.c_contiguous):
            return self
        made = new(self.shape, dtype, order="F" if order in "FAK" and self.flags.fnc else "C")
        submit(_assign, made, self)
        return made

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            submit(_assign, self, value)
            return
        scalar = np.asarray(value, dtype=self.dtype)
        if scalar.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        submit(_assign, self, scalar[()])

    # Indexing.

    def __getitem__(self, key: Any) -> ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if all(is_basic(k) for k in keys):
            return self._view(self._host[opened(keys)])
        keys = tuple(index for k in keys for index in (_where(k) if _is_mask(k) else (k,)))
        pattern, arrays = _split(keys)
        return apply(lambda a, *indices: a[wrapped(a, pattern, indices)], self, *arrays)

    def __setitem__(self, key: Any, value: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        if isinstance(value, np.ndarray) and value.ndim and keys == (slice(None),):
            if self.dtype != value.dtype or self.shape != value.shape or not self.flags.forc:
                raise ValueError(
                    "copying a numpy.ndarray to a cupy.ndarray by empty slice assignment must ensure arrays have same "
                    "shape and dtype"
                )
            self.set(value)
        elif all(is_basic(k) for k in keys):
            target = self._view(self._host[opened(keys)])
            if not isinstance(value, ndarray):
                target.fill(value)
                return
            if np.broadcast_shapes(target.shape, value.shape[-target.ndim or value.ndim :]) != target.shape:
                raise ValueError(f"could not broadcast input array from shape {value.shape} into {target.shape}")
            submit(_assign, target, value)
        else:
            source = value if isinstance(value, ndarray) or np.isscalar(value) else from_host(value, self.dtype)
            pattern, arrays = _split(keys)

            def store(target: NDArray[Any], values: Any, *indices: NDArray[Any]) -> None:
                target[wrapped(target, pattern, indices)] = values

            submit(store, self, source, *arrays)

    __hash__ = None  # type: ignore[assignment]


def dlpack_device(capsule: Any) -> Any:
    """Return the two int32 of a DLPack capsule that say where its data is."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_int32 * 2).from_address(get_pointer(capsule, b"dltensor") + 8)


def new(shape: Any, dtype: DTypeLike = float, order: str = "C") -> ndarray:
    """Allocate an array on the current device; it is full of NaN, or of -1 for integers."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufcV":
        raise ValueError(f"Unsupported dtype {dtype}")
    shape = tuple(int(n) for n in shape) if np.iterable(shape) else (int(shape),)
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    allocation = current().allocate(nbytes, get_current_stream().is_capturing())
    host = allocation.block.memory.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    return ndarray._of(host, allocation)


def from_host(data: Any, dtype: DTypeLike | None = None, order: str = "C") -> ndarray:
    """Copy host data to the current device; the caller may change it at once."""
    host = np.array(data, dtype=dtype, order="F" if order == "F" else "C")
    made = new(host.shape, host.dtype, order)
    if host.ndim == 0:
        made.fill(host)
    else:
        made.set(host)
    return made


def submit(function: Callable[..., Any], *operands: Any) -> None:
    """Queue a function of NumPy arrays: of the memory of the operands, and of those that are scalars.

    The work does not keep the operands alive: a graph must not, either.
    """
    machine = current()
    arrays = [operand for operand in operands if isinstance(operand, ndarray)]
    for array in arrays:
        if array._allocation.device_id != machine.device_id:
            raise ValueError(
                f"Array device must be same as the current device: array device = {array._allocation.device_id} "
                f"while current = {machine.device_id}"
            )
    stream = get_current_stream()
    if stream.device_id not in (-1, machine.device_id):
        raise CUDARuntimeError(400)
    hosts = [operand._host if isinstance(operand, ndarray) else operand for operand in operands]
    machine.counts["launches"] += stream._queue.captured is None
    stream._queue.submit(lambda: function(*hosts), [array._allocation for array in arrays])


def _assign(target: NDArray[Any], source: Any) -> None:
    np.copyto(target, source, casting="unsafe")


def check_operands(operands: Sequence[Any]) -> None:
    """Raise CuPy's error for NumPy arrays, lists and the like."""
    for operand in operands:
        if not isinstance(operand, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(operand)}")


def apply(
    function: Callable[..., Any], *operands: Any, out: ndarray | None = None, dtype: DTypeLike | None = None
) -> ndarray:
    """Queue a NumPy function of arrays and scalars; return its result, which is not there yet."""
    check_operands(operands)
    with np.errstate(all="ignore"):
        pattern = np.asarray(function(*map(_pattern, operands)))
    result_type = np.dtype(dtype) if dtype is not None else pattern.dtype
    if out is None:
        out = new(pattern.shape, result_type)
    elif not isinstance(out, ndarray):
        raise TypeError(f"return arrays must be of ndarray type; got {type(out)}")
    elif out.shape != pattern.shape:
        raise ValueError(f"output array of shape {out.shape} does not match the shape {pattern.shape} of the result")
    elif not np.can_cast(result_type, out.dtype, "same_kind"):
        raise TypeError(f"output (typecode '{result_type.char}') could not be coerced to '{out.dtype.char}'")
    submit(lambda target, *hosts: _assign(target, function(*hosts)), out, *operands)
    return out


def view_or_copy(function: Callable[[Any], Any], array: ndarray) -> ndarray:
    """Return a view where NumPy would, else queue a copy."""
    host = function(array._host)
    if host.size == 0 or np.may_share_memory(host, array._host):
        return array._view(host)
    return apply(function, array)


def _pattern(operand: Any) -> Any:
    """Return something of the operand's shape and dtype whose values cost nothing."""
    if not isinstance(operand, ndarray):
        return operand
    one = np.zeros((), operand.dtype) if operand.dtype.kind in "iu" else np.ones((), operand.dtype)
    return np.broadcast_to(one, operand.shape)


def _is_mask(key: Any) -> bool:
    return isinstance(key, (ndarray, np.ndarray)) and key.dtype == bool


def _where(mask: Any) -> tuple[NDArray[Any], ...]:
    """Return the places where a mask holds; how many they are CuPy, too, must wait for."""
    return (mask.get() if isinstance(mask, ndarray) else mask).nonzero()


def _split(keys: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[ndarray]]:
    """Return the keys with a mark for each array, and the arrays; a NumPy array or a list goes to the device first."""
    pattern = tuple(key if is_basic(key) else ARRAY for key in keys)
    found = [key for key in keys if not is_basic(key)]
    return pattern, [key if isinstance(key, ndarray) else from_host(key) for key in found]


def _from_host(host: NDArray[Any]) -> ndarray:
    """What a pickle calls: the array on the current device, whichever it was on."""
    array = new(host.shape, host.dtype, order="F" if host.flags.fnc else "C")
    array.set(host)
    return array
