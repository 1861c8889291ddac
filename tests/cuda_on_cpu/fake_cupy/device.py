"""Devices: ``cupy.cuda.Device``."""

from __future__ import annotations

from .machine import current

SHARED_DEFAULT = 48 * 1024
"""Shared memory that a block has unasked, static and dynamic together."""


class Device:
    """A GPU; as a context, the current one."""

    def __init__(self, device: int | Device | None = None) -> None:
        machine = current()
        machine.check_driver()
        self.id = machine.device_id if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        machine = current()
        before = machine.device_id
        machine.device_id = self.id
        machine.stream_stack(-2).append(before)
        return self

    def __exit__(self, *error: object) -> None:
        machine = current()
        machine.device_id = machine.stream_stack(-2).pop()

    def use(self) -> Device:
        """Make the device current for good."""
        current().device_id = self.id
        return self

    def synchronize(self) -> None:
        """Wait for all work of the device."""
        current().counts["waits"] += 1
        current().synchronize_device(self.id)

    @property
    def compute_capability(self) -> str:
        return current().compute_capability

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes; what the pool keeps is not free."""
        pool = current().pools[self.id]
        return pool.total - pool.used - pool.cached, pool.total

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id + 1:02X}:00.0"

    @property
    def attributes(self) -> dict[str, int]:
        """Those of an H100, where the machine was not set up as another GPU."""
        capability = current().compute_capability
        return {
            "AsyncEngineCount": 3,
            "ClockRate": 1980000,
            "ComputeCapabilityMajor": int(capability[:-1]),
            "ComputeCapabilityMinor": int(capability[-1]),
            "ConcurrentKernels": 1,
            "CooperativeLaunch": 1,
            "L2CacheSize": 52428800,
            "MaxBlocksPerMultiprocessor": 32,
            "MaxRegistersPerBlock": 65536,
            "MaxRegistersPerMultiprocessor": 65536,
            "MaxSharedMemoryPerBlock": SHARED_DEFAULT,
            "MaxSharedMemoryPerBlockOptin": current().shared_opt_in,
            "MaxSharedMemoryPerMultiprocessor": current().shared_opt_in + 1024,
            "MaxThreadsPerBlock": 1024,
            "MaxThreadsPerMultiProcessor": 2048,
            "MultiProcessorCount": 132,
            "ReservedSharedMemoryPerBlock": 1024,
            "TotalConstantMemory": 65536,
            "WarpSize": 32,
        }
