"""Tasks: a table with the addresses of its kernels, and memory to run it in, once for each thread that does."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet_kernels.cpu.generated import library
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.data import source_of
from tinynet_kernels.cpu.generated.frame import CONTEXT, PLACES
from tinynet_kernels.cpu.generated.layout import PIECES
from tinynet_kernels.cpu.generated.table import Table
from tinynet_kernels.cpu.generated.team import shared_words
from tinynet_kernels.helpers import Helpers

PAGE = 4096
KEPT = 8
"""Most memories that lie ready for the runs to come."""
_NATIVE = "<" if sys.byteorder == "little" else ">"


def reads(*arrays: NDArray[Any] | None) -> bool:
    """Tell whether there is code that reads the numbers of all these arrays: of any dtype but long double.

    Examples
    --------
    >>> reads(np.zeros(3, ">f2"), np.zeros(3, "bool"), None), reads(np.zeros(3, "longdouble"))
    (True, False)
    """
    return all(array is None or source_of(dtype_code(array.dtype)) is not None for array in arrays)


@cache
def dtype_code(dtype: DTypeLike) -> str:
    """Return what names the code that reads a dtype; "<" stands for the order of this machine.

    Examples
    --------
    >>> dtype_code("float32"), dtype_code("bool")
    ('<f4', '|b1')
    """
    found = np.dtype(dtype)
    order = "|" if found.itemsize == 1 else "<" if found.isnative else ">"
    return f"{order}{found.kind}{found.itemsize}"


class Data(NamedTuple):
    """An array that rows are gathered from.

    Attributes
    ----------
    array : array
        Held as long as its address is in use.
    code : str
        See ``dtype_code``.
    """

    array: NDArray[Any]
    code: str

    @classmethod
    def of(cls, array: NDArray[Any]) -> Data:
        """Return an array as it lies."""
        return cls(array, dtype_code(array.dtype))

    @property
    def dense(self) -> bool:
        """Whether the columns of a row lie side by side."""
        return self.array.ndim == 1 or self.array.strides[1] == self.array.itemsize

    def words(self, name: str) -> dict[str, int]:
        """Return what the context says of it."""
        strides = self.array.strides
        return {name: address(self.array), f"{name}_row": strides[0], f"{name}_column": strides[-1]}


class Space:
    """The memory of a run: an arena, and for each thread a context.

    Attributes
    ----------
    arena : uint8 array
    words : memoryview
        The context of the first thread.
    first, n_threads : int
        Its address, and how many threads there are.
    sharing : int
        How many of them go through the network together.
    """

    def __init__(self, table: Table, n_threads: int = 1) -> None:
        # Zeros: most of what lies beyond the last column of something is never written.
        self._memory = np.zeros(table.size(n_threads) + PAGE, np.uint8)
        self._contexts = np.zeros((n_threads, len(CONTEXT)), np.int64)
        self._reals = self._contexts.view(np.float64)
        self._shared = np.zeros(shared_words(n_threads), np.int64)
        self._nothing = np.zeros(1)
        self.words = memoryview(self._contexts[0])
        self.addresses = [context.ctypes.data for context in self._contexts]
        self.first, self.n_threads = self.addresses[0], n_threads
        first = -self._memory.ctypes.data % PAGE
        self.arena = self._memory[first : first + table.size(n_threads)]
        nothing = self._nothing.ctypes.data
        self.put({"arena": self.arena.ctypes.data, "block": table.block, "rates": nothing, "losses": nothing})
        self.put({"n_rates": 1, "n_epochs": 1, "n_threads": 1, "ranges": 1})
        self.sharing = 1
        self.put({"gradient": table.gradient, "range_step": table.range_step})
        self.put({"team": self._shared.ctypes.data, "yield": _offers_core()})
        self.divide(1.0)

    def put(self, values: dict[str, int]) -> None:
        """Change words of the context."""
        for name, value in values.items():
            self.words[PLACES[name]] = value

    def divide(self, divisor: float) -> None:
        """Let the loss be divided by a number."""
        self._reals[0, PLACES["divisor"]] = divisor

    def share(self) -> None:
        """Give every thread the context of the first one."""
        self._shared[:] = 0
        threads = np.arange(self.n_threads)
        self.put({"n_threads": self.n_threads, "meetings": 0})
        self._contexts[1:] = self._contexts[0]
        self._contexts[:, PLACES["thread"]] = threads
        self._contexts[:, PLACES["first_range"]] = threads if self.sharing == 1 else 0

    def all_finite(self) -> bool:
        """Whether no thread has gathered anything that is not finite."""
        return bool(self._contexts[:, _FINITE].all())


class Task:
    """A table that can be run, by several threads at once.

    Parameters
    ----------
    table : Table

    Attributes
    ----------
    block : int
        Rows that go through at a time.
    ranges : int
        That a batch is cut into: the most threads that can share a run.
    counts : bool
        Whether a kernel counts the epochs itself, as ``laps``.
    driver : int
        The address of the driver, for what runs many models to call.
    """

    def __init__(self, table: Table) -> None:
        self._addresses = library.addresses(table.dtype, table.units | {table.entry[0]}, table.target)
        self._drive = library.runner(self._addresses[table.entry])
        self.driver = self._addresses[table.entry[0], "drive"]
        self._table = table
        self.block, self.ranges, self.counts = table.block, table.ranges, not table.parts["rows"]
        self._tables: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._free: dict[int, list[Space]] = {}
        self._first = self._place(0, 1)

    def _place(self, thread: int, sharing: int) -> int:
        """Return the address of a thread's table."""
        key = thread, sharing
        found = self._tables.get(key)
        if found is None:
            # Several runs may make it at once. It is the same table, and one of them stays for all.
            found = self._tables.setdefault(key, self._table.words(self._addresses, thread, sharing=sharing))
        return found.ctypes.data

    def run(self, space: Space) -> bool:
        """Run the table; return whether all that was gathered is finite. Other threads of Python run meanwhile."""
        if space.n_threads > 1:
            return self._run_together(space)
        words = space.words
        words[_FINITE] = 1
        self._drive(space.first, self._first)
        return words[_FINITE] == 1

    def runner(self, space: Space) -> Callable[[], bool]:
        """Return ``run`` for one memory and one thread, without its steps of Python."""
        words, drive, context, table = space.words, self._drive, space.first, self._first

        # `held` keeps what the addresses are of.
        def run(held: tuple[Task, Space] = (self, space)) -> bool:
            words[_FINITE] = 1
            drive(context, table)
            return words[_FINITE] == 1

        return run

    def ready(self, words: dict[str, int], divisor: float = 1.0, n_threads: int = 1) -> Space:
        """Return memory with these words in the context, which nobody else uses until it is released.

        The number of threads changes nothing in the result; what it depends on is whether the words cut batches into
        ``ranges``. If not, threads share the steps that have pieces.
        """
        ranges = words.get("ranges", 1)
        words["range_shift"] = ranges.bit_length() - 1
        most = PIECES if ranges == 1 and self._table.stages else ranges
        n_threads = max(1, min(n_threads, most))
        try:
            space = self._free.setdefault(n_threads, []).pop()
        except IndexError:
            space = Space(self._table, n_threads)
        space.put(words)
        space.sharing = n_threads if ranges == 1 else 1
        space.divide(divisor)
        return space

    def release(self, space: Space) -> None:
        """Let another run have the memory."""
        free = self._free[space.n_threads]
        if len(free) < KEPT:
            free.append(space)

    def __call__(self, words: dict[str, int], divisor: float = 1.0, n_threads: int = 1) -> bool:
        """Run the table once with these words in the context; see ``ready``."""
        space = self.ready(words, divisor, n_threads)
        finite = self.run(space)
        self.release(space)
        return finite

    def _run_together(self, space: Space) -> bool:
        """Run the table in several threads, which live as long as the call: nothing is left that a fork could break."""
        n_threads = space.n_threads
        places = [self._place(thread, space.sharing) for thread in range(n_threads)]
        space.words[_FINITE] = 1
        space.share()
        # In the generated code threads wait for one another, so none may enter before it is sure that all can.
        ready, complete = threading.Event(), False

        def follow(thread: int) -> None:
            ready.wait()
            if complete:
                self._drive(space.addresses[thread], places[thread])

        with Helpers() as helpers:
            try:
                complete = all(helpers.start(follow, thread) for thread in range(1, n_threads))
            finally:
                ready.set()
            if not complete:
                space.put({"n_threads": 1})
            self._drive(space.addresses[0], places[0] if complete else self._first)
        return space.all_finite()


@cache
def _offers_core() -> int:
    """Return the address of the system's function by which a thread that waits lets others have its core."""
    if sys.platform == "win32":
        offers = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        offers = ctypes.CDLL(None).sched_yield
    address = ctypes.cast(offers, ctypes.c_void_p).value
    assert address is not None
    return address


_FINITE = PLACES["finite"]
