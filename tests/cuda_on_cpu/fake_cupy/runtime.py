"""``cupy.cuda.runtime``, pinned memory and the pools."""

from __future__ import annotations

import ctypes
from typing import Any

from .device import SHARED_DEFAULT, Device
from .errors import CUDARuntimeError
from .machine import Queue, current

PUBLIC = (
    *("deviceCanAccessPeer", "deviceSynchronize", "driverGetVersion", "getDevice", "getDeviceCount"),
    *("getDeviceProperties", "is_hip", "memGetInfo", "memcpyAsync", "memcpyDefault", "memcpyDeviceToDevice"),
    *("memcpyDeviceToHost", "memcpyHostToDevice", "memcpyHostToHost", "memsetAsync", "pointerGetAttributes"),
    *("runtimeGetVersion", "setDevice"),
    *("CUDA_R_32F", "CUDA_R_64F"),
    *("streamCaptureModeGlobal", "streamCaptureModeRelaxed", "streamCaptureModeThreadLocal", "streamSynchronize"),
)
"""What ``cupy.cuda.runtime`` has here."""

memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice, memcpyDefault = range(5)
streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = range(3)
CUDA_R_32F, CUDA_R_64F = 0, 1
is_hip = False


def getDeviceCount() -> int:
    machine = current()
    machine.check_driver()
    return machine.n_devices


def driverGetVersion() -> int:
    """Return the CUDA version of the driver; 0 where there is no driver."""
    return 0 if current().driver_error == 35 else current().driver_version


def runtimeGetVersion() -> int:
    return current().runtime_version


def getDevice() -> int:
    current().check_driver()
    return current().device_id


def setDevice(device: int) -> None:
    current().device_id = device


def deviceSynchronize() -> None:
    Device().synchronize()


def deviceCanAccessPeer(device: int, peer: int) -> int:
    current().check_driver()
    return int(device != peer)


class PointerAttributes:
    """What CUDA knows of an address: the device, and where it or the host finds it; a type of 2 is device memory."""

    def __init__(self, device: int, devicePointer: int, hostPointer: int, type: int) -> None:
        self.device, self.devicePointer, self.hostPointer, self.type = device, devicePointer, hostPointer, type


def pointerGetAttributes(ptr: int) -> PointerAttributes:
    current().check_driver()
    allocation = current().allocation_at(ptr)
    if allocation is None:
        return PointerAttributes(-2, 0, ptr, 0)
    return PointerAttributes(allocation.device_id, ptr, 0, 2)


def memGetInfo() -> tuple[int, int]:
    return Device().mem_info


def getDeviceProperties(device: int) -> dict[str, Any]:
    """Return some of the properties of an H100."""
    machine = current()
    machine.check_driver()
    if not 0 <= device < machine.n_devices:
        raise CUDARuntimeError(101)
    attributes = Device(device).attributes
    return {
        "name": b"Simulated H100",
        "totalGlobalMem": machine.pools[device].total,
        "sharedMemPerBlock": SHARED_DEFAULT,
        "sharedMemPerBlockOptin": machine.shared_opt_in,
        "sharedMemPerMultiprocessor": attributes["MaxSharedMemoryPerMultiprocessor"],
        "regsPerBlock": attributes["MaxRegistersPerBlock"],
        "regsPerMultiprocessor": attributes["MaxRegistersPerMultiprocessor"],
        "warpSize": 32,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiProcessor": attributes["MaxThreadsPerMultiProcessor"],
        "multiProcessorCount": attributes["MultiProcessorCount"],
        "l2CacheSize": attributes["L2CacheSize"],
        "major": attributes["ComputeCapabilityMajor"],
        "minor": attributes["ComputeCapabilityMinor"],
        "pciBusID": device + 1,
        "uuid": device.to_bytes(16, "big"),
    }


def streamSynchronize(stream: int) -> None:
    current().queue(stream).synchronize()


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    """Copy bytes in a stream's order. Pageable host memory is read, or written, before the call returns."""
    queue = current().queue(stream)
    device = [current().allocation_at(address) for address in (dst, src)]
    _check_kind(kind, device[0] is not None, device[1] is not None)
    for address, allocation in zip((dst, src), device, strict=True):
        if allocation is not None:
            memory = allocation.block.memory
            if address + size > memory.ctypes.data + memory.size:
                raise CUDARuntimeError(1)
    pageable = [a is None and not current().is_pinned(x) for a, x in zip(device, (dst, src), strict=True)]
    if any(pageable) and queue.captured is not None:
        queue.capture_failed = True
        raise CUDARuntimeError(900)
    source: Any = ctypes.string_at(src, size) if pageable[1] else src
    number = queue.submit(lambda: _move(dst, source, size), [a for a in device if a is not None])
    if pageable[0]:
        queue.drain(number)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    """Set bytes in a stream's order."""
    allocation = current().allocation_at(ptr)
    if allocation is None:
        raise CUDARuntimeError(1)
    queue: Queue = current().queue(stream)
    queue.submit(lambda: _set(ptr, value, size), [allocation])


def _move(dst: int, src: Any, size: int) -> None:
    ctypes.memmove(dst, src, size)


def _set(ptr: int, value: int, size: int) -> None:
    ctypes.memset(ptr, value, size)


def _check_kind(kind: int, to_device: bool, from_device: bool) -> None:
    wanted = {
        memcpyHostToHost: (False, False),
        memcpyHostToDevice: (True, False),
        memcpyDeviceToHost: (False, True),
        memcpyDeviceToDevice: (True, True),
    }
    if kind != memcpyDefault and wanted.get(kind) != (to_device, from_device):
        raise CUDARuntimeError(1)


def alloc_pinned_memory(size: int) -> Any:
    """Return a buffer of at least ``size`` bytes that the device can copy while the host goes on."""
    machine = current()
    machine.check_driver()
    rounded = max(512, 1 << max(0, size - 1).bit_length())  # CuPy's pool hands out powers of two.

    class PinnedMemoryPointer(ctypes.c_char * rounded):  # type: ignore[misc]
        """Buffer in pinned memory."""

        @property
        def ptr(self) -> int:
            return ctypes.addressof(self)

        @property
        def mem(self) -> Any:
            return self

        def size(self) -> int:
            return ctypes.sizeof(self)

    memory = PinnedMemoryPointer()
    ctypes.memset(memory, 0xFF, rounded)
    machine.pinned[ctypes.addressof(memory)] = memory
    return memory


class MemoryPool:
    """The pool of device memory; each call is about the current device."""

    def used_bytes(self) -> int:
        return current().pools[current().device_id].used

    def free_bytes(self) -> int:
        return current().pools[current().device_id].cached

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        current().pools[current().device_id].cached = 0

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        pool = current().pools[current().device_id]
        pool.limit = int(fraction * pool.total) if fraction is not None else size or 0

    def get_limit(self) -> int:
        return current().pools[current().device_id].limit


class PinnedMemoryPool:
    """The pool of pinned memory."""

    def free_all_blocks(self) -> None:
        current().check_driver()
