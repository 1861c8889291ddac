"""The simulated machine: its devices, their memory, and the work that is queued on their streams.

One machine is current at a time; ``reset`` makes a new one. Tests set up on it what a real machine cannot be asked for:
the number of devices, the memory that there is, and errors of the driver.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CUDARuntimeError, FreedMemoryError, OutOfBoundsError, OutOfMemoryError

GUARD = 512
"""Bytes around each array that nobody may write; also what addresses are multiples of, as CuPy's are."""

_PATTERN = bytes([0xA5]) * GUARD
_POISON = 0xFF  # NaN in every floating type, -1 in every integer.


class Pool:
    """CuPy's memory pool, of one device: what is freed stays with the pool until ``free_all_blocks``."""

    def __init__(self, total: int) -> None:
        self.total = total
        """Bytes that the device has. A test may set it."""
        self.limit = 0
        self.used = 0
        self.cached = 0

    def take(self, size: int) -> None:
        """Account for an allocation."""
        if self.cached >= size:
            self.cached -= size
        else:
            most = min(self.total, self.limit or self.total)
            if self.used + self.cached + size > most:
                self.cached = 0  # As CuPy does before it gives up.
            if self.used + size > most:
                raise OutOfMemoryError(size, self.used + self.cached, self.limit)
        self.used += size

    def give(self, size: int) -> None:
        """Account for the end of an allocation."""
        self.used -= size
        self.cached += size


class Block:
    """Bytes between guards, poisoned: whoever reads before writing reads NaN."""

    def __init__(self, trespasses: list[str], nbytes: int) -> None:
        whole = np.empty(nbytes + 3 * GUARD, np.uint8)
        start = GUARD + -whole.ctypes.data % GUARD
        self.memory: NDArray[np.uint8] = whole[start : start + nbytes]
        self._before = whole[start - GUARD : start]
        self._after = whole[start + nbytes : start + nbytes + GUARD]
        self._trespasses = trespasses
        self.memory.fill(_POISON)
        self._set_guards()

    def _set_guards(self) -> None:
        self._before[:] = self._after[:] = np.frombuffer(_PATTERN, np.uint8)

    def check(self) -> None:
        """Note where a guard was overwritten, and mend it: each trespass is told once."""
        if self._before.tobytes() != _PATTERN:
            offset = int(np.flatnonzero(self._before != _PATTERN[0])[-1]) - GUARD
        elif self._after.tobytes() != _PATTERN:
            offset = self.memory.size + int(np.flatnonzero(self._after != _PATTERN[0])[0])
        else:
            return
        self._trespasses.append(f"something wrote at byte {offset} of an array of {self.memory.size} bytes")
        self._set_guards()

    def __del__(self) -> None:
        self.check()


class Allocation:
    """A piece of a device's memory. Freed, its block lives on for the work that is still queued."""

    def __init__(self, machine: Machine, device_id: int, nbytes: int) -> None:
        self.device_id = device_id
        self._size = -(-nbytes // GUARD) * GUARD
        self._pool = machine.pools[device_id]
        self._taken = False
        self._lock = machine.lock
        with self._lock:
            self._pool.take(self._size)
            self._taken = True
            self.block = Block(machine.trespasses, nbytes)
            machine.allocations.add(self)
            machine.blocks.add(self.block)

    def __del__(self) -> None:
        if self._taken:
            with self._lock:
                self._pool.give(self._size)


@dataclass
class Work:
    """Something to be done on a device, and the memory it touches."""

    sequence: int
    run: Callable[[], None]
    allocations: tuple[weakref.ref[Allocation], ...]
    blocks: tuple[Block, ...]


class Queue:
    """The work of one stream. It is done when somebody waits for it, and not before.

    A stream that is not ``non_blocking`` is ordered with the null stream of its device, in both directions.
    """

    def __init__(self, machine: Machine, device_id: int, pointer: int, *, blocking: bool) -> None:
        self.machine, self.device_id, self.pointer, self.blocking = machine, device_id, pointer, blocking
        self.work: deque[Work] = deque()
        self.captured: list[Work] | None = None
        self.capture_failed = False

    @property
    def is_null(self) -> bool:
        return self.pointer == 0

    def submit(self, run: Callable[[], None], allocations: Sequence[Allocation] = ()) -> int:
        """Queue work, or record it while the stream is capturing; return its number."""
        machine = self.machine
        machine.check_driver()
        if self.is_null and any(q.captured is not None and q.blocking for q in machine.queues_of(self.device_id)):
            raise CUDARuntimeError(906)
        allocations = [a for a in allocations if a.block.memory.size]  # An empty array has no memory, in CuPy.
        references, blocks = tuple(map(weakref.ref, allocations)), tuple(a.block for a in allocations)
        work = Work(next(machine.numbers), run, references, blocks)
        (self.work if self.captured is None else self.captured).append(work)
        return work.sequence

    def drain(self, until: int | None = None) -> None:
        """Do the queued work, all or up to a number."""
        with self.machine.lock:
            while self.work and (until is None or self.work[0].sequence <= until):
                work = self.work.popleft()
                self._drain_others(work.sequence)
                try:
                    with np.errstate(all="ignore"):
                        work.run()
                except BaseException:
                    self.machine.abandon()  # As on a GPU, where an error of a kernel ends everything.
                    raise

    def _drain_others(self, until: int) -> None:
        """Do what a stream that is not ``non_blocking`` comes after."""
        if self.blocking:
            for other in self.machine.queues_of(self.device_id):
                if other is not self and other.blocking and (self.is_null or other.is_null):
                    other.drain(until)

    def synchronize(self) -> None:
        """Do all that is queued, and look at the guards of all arrays."""
        if self.captured is not None:
            self.capture_failed = True
            raise CUDARuntimeError(900)
        with self.machine.lock:
            self.machine.check_driver()
            self.drain()
            self.machine.check_guards()


class Machine:
    """A computer with some GPUs.

    Parameters
    ----------
    n_devices : int
    memory : int
        Bytes of each device.
    """

    def __init__(self, n_devices: int = 1, memory: int = 80 << 30) -> None:
        self.lock = threading.RLock()
        self.numbers = itertools.count()
        self.pointers = itertools.count(0x5000, 0x10)
        self.driver_error: int | None = None
        """What every call of the runtime fails with; None: nothing."""
        self.driver_version, self.runtime_version = 13000, 13000
        self.compute_capability = "90"
        """Of all devices. A test may set it."""
        self.shared_opt_in = 227 * 1024
        """Most shared memory of a block, static and dynamic together. A test may set it, to no more."""
        self.compute_types: dict[str, int] = {}
        """What ``cupy.matmul`` computes products in, by dtype."""
        self.statistics: Counter[str] = Counter()
        """What happened unasked: "copies of operands", "copies of results", "allocations during capture"."""
        self.counts: Counter[str] = Counter()
        """What was asked of the devices: "launches" but those into a graph, "captures", "graphs" launched, "uploads",
        "waits"."""
        self.sources: set[Any] = set()
        """What has been compiled: a source and its name expressions count once, as in CuPy's cache."""
        self.allocations: weakref.WeakSet[Allocation] = weakref.WeakSet()
        self.blocks: weakref.WeakSet[Block] = weakref.WeakSet()
        self.trespasses: list[str] = []
        self.pinned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.pools: list[Pool] = []
        self._queues: dict[tuple[int, int], Queue] = {}
        self._thread = threading.local()
        self.set_devices(n_devices, memory)

    def set_devices(self, n_devices: int, memory: int = 80 << 30) -> None:
        """Change the number of devices."""
        self.pools = [Pool(memory) for _ in range(n_devices)]
        for device_id in range(n_devices):
            self._queues.setdefault((device_id, 0), Queue(self, device_id, 0, blocking=True))

    @property
    def n_devices(self) -> int:
        return len(self.pools)

    def check_driver(self) -> None:
        """Raise the error that the driver was set to have."""
        if self.driver_error is not None:
            raise CUDARuntimeError(self.driver_error)
        if not self.pools:
            raise CUDARuntimeError(100)

    # Devices and streams: each thread has its own current ones.

    @property
    def device_id(self) -> int:
        return getattr(self._thread, "device_id", 0)

    @device_id.setter
    def device_id(self, device_id: int) -> None:
        self.check_driver()
        if not 0 <= device_id < self.n_devices:
            raise CUDARuntimeError(101)
        self._thread.device_id = device_id

    @property
    def streams(self) -> dict[int, Any]:
        """This thread's current stream on each device; where there is none, it is the null stream."""
        streams: dict[int, Any] = self._thread.__dict__.setdefault("streams", {})
        return streams

    def stream_stack(self, device_id: int) -> list[Any]:
        """Return the stack of the ``with`` blocks that this thread is in, by device; or a stack of another kind."""
        stacks = self._thread.__dict__.setdefault("stacks", {})
        stack: list[Any] = stacks.setdefault(device_id, [])
        return stack

    def new_queue(self, *, blocking: bool) -> Queue:
        self.check_driver()
        queue = Queue(self, self.device_id, next(self.pointers), blocking=blocking)
        self._queues[queue.device_id, queue.pointer] = queue
        return queue

    def queue(self, pointer: int) -> Queue:
        """Return the queue of a stream's handle; 0 is the null stream of the current device."""
        for (device_id, other), queue in list(self._queues.items()):
            if other == pointer and (pointer or device_id == self.device_id):
                return queue
        raise CUDARuntimeError(400)

    def queues_of(self, device_id: int) -> list[Queue]:
        return [queue for (owner, _), queue in list(self._queues.items()) if owner == device_id]

    def synchronize_device(self, device_id: int) -> None:
        """Do all work of a device."""
        queues = self.queues_of(device_id)
        for queue in queues:
            if queue.captured is not None:
                queue.capture_failed = True
                raise CUDARuntimeError(900)
        for queue in queues:
            queue.synchronize()

    def abandon(self) -> None:
        """Forget all queued work."""
        for queue in self._queues.values():
            queue.work.clear()

    # Memory.

    def allocate(self, nbytes: int, capturing: bool) -> Allocation:
        self.check_driver()
        if capturing:
            self.statistics["allocations during capture"] += 1
        return Allocation(self, self.device_id, nbytes)

    def check_guards(self) -> None:
        """Raise if anything wrote outside an array."""
        with self.lock:
            blocks = list(self.blocks)
        for block in blocks:
            block.check()
        if self.trespasses:
            found = "; ".join(dict.fromkeys(self.trespasses))
            self.trespasses.clear()
            raise OutOfBoundsError(found)

    def is_pinned(self, address: int) -> bool:
        return any(start <= address < start + ctypes.sizeof(m) for start, m in list(self.pinned.items()))

    def allocation_at(self, address: int) -> Allocation | None:
        """Return the allocation that an address lies in."""
        with self.lock:
            allocations = list(self.allocations)
        for allocation in allocations:
            memory = allocation.block.memory
            if memory.ctypes.data <= address < memory.ctypes.data + max(1, memory.size):
                return allocation
        return None

    def finish(self) -> None:
        """Do all that is queued anywhere: for the end of a test, so that no error goes unseen."""
        for queue in list(self._queues.values()):
            queue.captured = None
            queue.synchronize()

    @staticmethod
    def now() -> float:
        return time.perf_counter()


def check_alive(work: Work) -> None:
    """Raise if memory that work touches has been freed."""
    if any(reference() is None for reference in work.allocations):
        raise FreedMemoryError(
            "a graph is launched whose capture used an array that has been freed since. Keep captured arrays alive."
        )


_current = Machine()


def current() -> Machine:
    """Return the machine that is simulated now."""
    return _current


def reset(n_devices: int = 1, memory: int = 80 << 30) -> Machine:
    """Simulate a new machine; nothing of the one before is left."""
    global _current
    _current = Machine(n_devices, memory)
    return _current
