"""Arrays of other libraries: DLPack, and the CUDA array interface."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array import dlpack_device, ndarray
from .machine import Allocation, current
from .streams import get_current_stream


class _Capsule:
    """Gives NumPy a capsule whose device has been set to the CPU."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def from_dlpack(array: Any) -> ndarray:
    """Return an array that shares a device array's memory; the current stream is ordered after the producer's work."""
    kind, device_id = array.__dlpack_device__()
    if kind != 2:
        raise TypeError(
            f"CPU arrays cannot be directly imported to CuPy; got a device of type {int(kind)}. Use "
            "numpy.from_dlpack(array)."
        )
    capsule = array.__dlpack__(stream=get_current_stream().ptr or 1)
    dlpack_device(capsule)[:] = (1, 0)
    given: NDArray[Any] = np.from_dlpack(_Capsule(capsule))
    # NumPy takes what does not say otherwise for read-only; CuPy does not.
    return _adopt(_at(given.ctypes.data, given.shape, given.dtype, given.strides, given), device_id)


def from_interface(array: Any) -> ndarray:
    """Return an array that shares the memory of one with ``__cuda_array_interface__``."""
    interface = array.__cuda_array_interface__
    address, _ = interface["data"]
    dtype, shape = np.dtype(interface["typestr"]), interface["shape"]
    host = _at(address, shape, dtype, interface.get("strides"), array)
    stream = interface.get("stream")
    if stream is not None:
        queue = current().queue(0 if stream in (1, 2) else stream)
        number = queue.submit(lambda: None)
        if queue is not get_current_stream()._queue:
            get_current_stream()._queue.submit(lambda: queue.drain(number))
    return _adopt(host, current().device_id)


def _at(address: int, shape: Any, dtype: np.dtype[Any], strides: Any, keeps: Any) -> NDArray[Any]:
    """Return the array at an address; ``keeps`` is kept alive by it."""
    contiguous = (int(np.prod(shape)) - 1) * dtype.itemsize
    extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if strides else contiguous
    memory = (ctypes.c_char * max(0, extent + dtype.itemsize)).from_address(address)
    memory._keeps = keeps  # type: ignore[attr-defined]
    return np.ndarray(shape, dtype, memory, strides=strides)  # type: ignore[arg-type]  # It is a buffer.


def _adopt(host: NDArray[Any], device_id: int) -> ndarray:
    owner = current().allocation_at(host.ctypes.data)
    if owner is None:
        owner = Allocation(current(), device_id, 0)
    return ndarray._of(host, owner)
