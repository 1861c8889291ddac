"""Rows of host memory on their way to a GPU: while a chunk is worked on, the next one is gathered and copied."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend
from tinynet.backends.loop import Cuts

CHUNK_BYTES = 1 << 26
"""Size of a chunk: large enough that a copy runs at the full rate of the bus, small enough to be pinned twice."""


class Slot:
    """A pinned buffer and a device array for each source, and where the two streams stand with them."""

    def __init__(self, cuda: Any, backend: Backend, shapes: list[tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
        self.pinned = [_pinned(cuda, shape, dtype) for shape, dtype in shapes]
        self.arrays = [backend.empty(shape, dtype) for shape, dtype in shapes]
        self.sent, self.read = cuda.Event(disable_timing=True), cuda.Event(disable_timing=True)


class Uploader:
    """Brings rows of host arrays to the device, through two slots that take turns.

    A thread gathers the rows of the next chunk into pinned memory and copies them on a stream of its own, while the
    caller's stream works on the chunk before. Chunks hold whole batches.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cuda: Any = backend.namespace.cuda
        self._stream: Any = None
        self._slots: list[Slot] = []
        self._shapes: list[tuple[tuple[int, ...], np.dtype[Any]]] = []

    def chunks(
        self, sources: list[NDArray[Any]], index: NDArray[Any] | None, cuts: Cuts
    ) -> Iterator[tuple[Cuts, list[Array]]]:
        """Yield the batches of each chunk and the rows of the sources that they are made of, on the device.

        Parameters
        ----------
        sources : list of (n_rows, ...) arrays
        index : (n_visits,) int array or None
            The rows in the order of their use; None: that of the sources.
        cuts : list of (start, stop)
            Batches, as positions in ``index``.

        The arrays are good until the next chunk is asked for.
        """
        groups = _grouped(cuts, sum(_row_bytes(source) for source in sources))
        self._reserve(sources, max(group[-1][1] - group[0][0] for group in groups))
        current = self._cuda.get_current_stream()
        for slot in self._slots:
            slot.read.record(current)
        try:
            with ThreadPoolExecutor(1) as pool:
                coming = pool.submit(self._send, self._slots[0], sources, index, groups[0])
                for position, group in enumerate(groups):
                    slot, rows = self._slots[position % 2], group[-1][1] - group[0][0]
                    coming.result()
                    if position + 1 < len(groups):
                        following = self._slots[(position + 1) % 2]
                        coming = pool.submit(self._send, following, sources, index, groups[position + 1])
                    current.wait_event(slot.sent)
                    yield group, [array[:rows] for array in slot.arrays]
                    slot.read.record(current)
        finally:
            # Where the caller has stopped early, a copy may be on its way into memory that nobody else may have yet.
            self._stream.synchronize()

    def _reserve(self, sources: list[NDArray[Any]], rows: int) -> None:
        """Allocate the slots, once, unless a chunk grows or other data come."""
        rows = max([rows, *(shape[0] for shape, _ in self._shapes)])
        shapes = [((rows, *source.shape[1:]), _storable(source.dtype)) for source in sources]
        if self._stream is None:
            self._stream = self._cuda.Stream(non_blocking=True)
        if shapes != self._shapes:
            self._stream.synchronize()
            self._slots, self._shapes = [], []
            self._slots = [Slot(self._cuda, self._backend, shapes) for _ in range(2)]
            self._shapes = shapes

    def _send(self, slot: Slot, sources: list[NDArray[Any]], index: NDArray[Any] | None, group: Cuts) -> None:
        """Gather the rows of a chunk, and start their way to the device."""
        start, stop = group[0][0], group[-1][1]
        with self._backend.active():
            slot.sent.synchronize()
            self._stream.wait_event(slot.read)
            for source, pinned, array in zip(sources, slot.pinned, slot.arrays, strict=True):
                rows = pinned[: stop - start]
                if index is None:
                    rows[...] = source[start:stop]
                elif source.dtype == rows.dtype:
                    np.take(source, index[start:stop], axis=0, out=rows, mode="clip")  # "raise" would buffer `out`.
                else:
                    rows[...] = source[index[start:stop]]
                array[: stop - start].set(rows, stream=self._stream)
            slot.sent.record(self._stream)


def _grouped(cuts: Cuts, row_bytes: int) -> list[Cuts]:
    """Group batches that follow one another into chunks of at most ``CHUNK_BYTES``, or of one batch."""
    most = max(1, CHUNK_BYTES // max(1, row_bytes))
    groups: list[Cuts] = []
    for cut in cuts:
        if groups and cut[1] - groups[-1][0][0] <= most:
            groups[-1].append(cut)
        else:
            groups.append([cut])
    return groups


def _row_bytes(source: NDArray[Any]) -> int:
    return int(np.prod(source.shape[1:], dtype=np.int64)) * _storable(source.dtype).itemsize


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    from tinynet.backends.cupy import storable

    return storable(np.empty(0, dtype)).dtype


def _pinned(cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array in memory that the device copies by itself."""
    count = int(np.prod(shape, dtype=np.int64))
    memory = cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)
