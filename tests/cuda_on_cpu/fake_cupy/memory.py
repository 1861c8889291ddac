"""Numbers in the memory of a device: what is known of them, and their way to the host and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .device import Device
from .errors import PendingCopyError
from .machine import Allocation, current
from .streams import Stream, get_current_stream, refuse_capture


class Flags:
    """``ndarray.flags``, which knows less than NumPy's."""

    def __init__(self, c_contiguous: bool, f_contiguous: bool, owndata: bool) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = c_contiguous, f_contiguous, owndata
        self.fnc = f_contiguous and not c_contiguous
        self.forc = f_contiguous or c_contiguous

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


class MemoryPointer:
    """``ndarray.data``: where an array begins."""

    def __init__(self, ptr: int, allocation: Allocation) -> None:
        self.ptr, self._allocation = ptr, allocation
        self.device_id = allocation.device_id

    def __int__(self) -> int:
        return self.ptr

    @property
    def device(self) -> Device:
        return Device(self.device_id)


class OnDevice:
    """An array that the host may ask about, and copy."""

    _host: NDArray[Any]
    _allocation: Allocation

    # What is known without asking the device.

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._host.dtype

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def itemsize(self) -> int:
        return self._host.itemsize

    @property
    def nbytes(self) -> int:
        return self._host.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._host.strides

    @property
    def flags(self) -> Flags:
        flags = self._host.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self._host.size == self._allocation.block.memory.size)

    @property
    def device(self) -> Device:
        return Device(self._allocation.device_id)

    @property
    def data(self) -> MemoryPointer:
        return MemoryPointer(self._host.ctypes.data, self._allocation)

    def __len__(self) -> int:
        return len(self._host)

    # To the host, only when asked.

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: NDArray[Any] | None = None,
        blocking: bool = True,
    ) -> NDArray[Any]:
        """Copy to the host; into pinned memory and with ``blocking=False``, whenever the stream comes to it."""
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
            if out.dtype != self.dtype:
                raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
            if out.shape != self.shape:
                raise ValueError(f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}")
            if not (out.flags.c_contiguous or out.flags.f_contiguous):
                raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        target = np.empty(self.shape, self.dtype, order="F" if order == "F" else "C") if out is None else out
        stream = stream or get_current_stream(self._allocation.device_id)
        refuse_capture("D2H transfers", stream)
        with self.device:
            source = self._host
            number = stream._queue.submit(lambda: np.copyto(target, source), [self._allocation])
            if blocking:
                stream.synchronize()
            elif not current().is_pinned(target.ctypes.data):
                stream._queue.drain(number)  # A copy into pageable memory returns when it is done.
        return target

    def set(self, arr: NDArray[Any], stream: Stream | None = None) -> None:
        """Copy from the host; from pinned memory, whenever the stream comes to it."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        stream = stream or get_current_stream(self._allocation.device_id)
        refuse_capture("H2D transfers", stream)
        pinned = current().is_pinned(arr.ctypes.data) and arr.flags.c_contiguous
        source = arr if pinned else arr.copy()  # A copy from pageable memory returns when it has been read.
        current().counts["uploads"] += 1
        with self.device:
            target, sent = self._host, source.tobytes() if pinned else None

            def copy() -> None:
                if sent is not None and source.tobytes() != sent:
                    raise PendingCopyError(
                        "pinned memory was written to before the copy from it that had been queued. Wait for an event "
                        "that is recorded after the copy."
                    )
                np.copyto(target, source)

            stream._queue.submit(copy, [self._allocation])

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get(order=order).tobytes("A")

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(self.get().item())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec) if self.ndim else format(self.item(), spec)
