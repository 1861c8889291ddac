"""Work that is launched again and again, from a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy


class Repeated:
    """Work that is repeated: from a CUDA graph of ``size`` repetitions where there are enough of them.

    Parameters
    ----------
    work : callable
        Launches kernels for a number of repetitions; none of its arguments may change from one to the next.
    size : int
    """

    def __init__(self, work: Callable[[int], None], size: int) -> None:
        self._work, self._size = work, size
        self._graph: Any = None

    def __call__(self, count: int) -> None:
        """Repeat the work ``count`` times, on the current stream."""
        # At least one is done directly: CUDA loads a kernel when it is first launched, and cannot while it captures.
        n_graphs = (count - 1) // self._size
        # A graph takes about as long to make as it saves in two of its launches.
        if n_graphs < 2 and self._graph is None:
            self._work(count)
            return
        self._work(count - n_graphs * self._size)
        if self._graph is None:
            self._graph = captured(lambda: self._work(self._size))
        for _ in range(n_graphs):
            self._graph.launch()


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
