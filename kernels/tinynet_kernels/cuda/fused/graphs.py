"""Work that is launched again and again, from a CUDA graph that is kept from call to call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import cupy

MOST = 32
"""Most repetitions in one graph. Launching it takes as long as launching three kernels, some ten microseconds."""

FEWEST = 4
"""Fewest repetitions for which a graph is made. To make it takes about as long as to launch the same work once."""


class Repeated:
    """Repeats work that ends by itself: it counts on the device how often it was done, and does no more than it should.

    So a graph of some repetitions can be launched as often as it takes, though the last ones be too many. It is made in
    the first call for some memory, and serves all later ones for the same.
    """

    def __init__(self) -> None:
        self._graph: Any = None
        self._size = 0
        self._memory: Hashable = None

    def __call__(self, work: Callable[[int], None], memory: Hashable, count: int) -> None:
        """Repeat work ``count`` times, on the current stream.

        Parameters
        ----------
        work : callable
            Launches kernels for a number of repetitions; none of its arguments may change from one to the next.
        memory : hashable
            Where in memory the work is done, and with which numbers (``places_of``). A graph holds addresses, not
            arrays: the caller has these at hand, so that what the addresses stand for is there.
        count : int
        """
        longer = self._size < MOST // 2 and count >= 2 * MOST
        if self._graph is None or memory != self._memory or longer:
            self._graph = None
            if count < FEWEST:
                work(count)
                return
            # Directly: CUDA loads a kernel when it is first launched, and cannot while it captures.
            work(1)
            self._size = -(-count // -(-count // MOST))
            self._graph, self._memory = captured(lambda: work(self._size)), memory
            count -= 1
        whole, rest = divmod(count, self._size)
        in_graph = 4 * rest >= self._size
        for _ in range(whole + in_graph):
            self._graph.launch()
        if rest and not in_graph:
            work(rest)


def places_of(arguments: Sequence[Any]) -> tuple[int, ...]:
    """Return the addresses of arrays among the arguments of kernels, of empty ones 0, and the numbers among them."""
    return tuple(
        (argument.data.ptr if argument.size else 0) if isinstance(argument, cupy.ndarray) else int(argument)
        for argument in arguments
    )


def captured(work: Callable[[], None]) -> Any:
    """Return a CUDA graph of what a function launches; nothing of it is done."""
    stream, before = cupy.cuda.Stream(non_blocking=True), cupy.cuda.get_current_stream()
    # Not `with stream`: at its end, CuPy makes current what an outer `with` had set, and forgets the user's `use()`.
    stream.use()
    try:
        stream.begin_capture()
        work()
        return stream.end_capture()
    finally:
        before.use()
