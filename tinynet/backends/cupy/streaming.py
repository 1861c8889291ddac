"""Rows of host memory on their way to a GPU: while a chunk is worked on, the next one is gathered and copied."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.backends.cupy.memory import pinned, storable_dtype
from tinynet.backends.loop import Cuts

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

Layout = list[tuple[int, np.dtype[Any]]]

CHUNK_BYTES = 1 << 26
"""Size of a chunk: large enough that a copy runs at the full rate of the bus, small enough to be pinned twice."""

CHUNK_SHARE = 8
"""A chunk takes at most one part in so many of the free memory of the device."""

ALIGNMENT = 512
"""What CuPy's addresses are multiples of. cuBLAS may choose an algorithm, and with it the last bits, by the address of
a batch: rows of a chunk lie as far from such a multiple as they would in the whole array."""


class Slot:
    """Pinned memory and device memory for a chunk, and where the two streams stand with them.

    Parameters
    ----------
    cuda : module
    backend : CuPyBackend
    layout : list of (row size, dtype)
        Of each source.
    rows : int
        Most rows of a chunk.
    """

    def __init__(self, cuda: Any, backend: CuPyBackend, layout: Layout, rows: int) -> None:
        self.pinned = [pinned(cuda, rows * width, dtype) for width, dtype in layout]
        self.arrays = [backend.empty((rows * width + ALIGNMENT // dtype.itemsize,), dtype) for width, dtype in layout]
        self.sent, self.read = cuda.Event(disable_timing=True), cuda.Event(disable_timing=True)


class Uploader:
    """Brings rows of host arrays to the device, through two slots that take turns.

    A thread gathers the rows of the next chunk into pinned memory and copies them on a stream of its own, while the
    caller's stream works on the chunk before. Chunks hold whole batches.
    """

    def __init__(self, backend: CuPyBackend) -> None:
        self._backend = backend
        self._cuda: Any = backend.namespace.cuda
        self._stream: Any = None
        self._slots: list[Slot] = []
        self._layout: Layout = []
        self._rows = 0

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
        layout = [(_row_size(source), storable_dtype(source.dtype)) for source in sources]
        most = min(CHUNK_BYTES, self._backend.memory()[0] // CHUNK_SHARE)
        groups = _grouped(cuts, most // max(1, sum(width * dtype.itemsize for width, dtype in layout)))
        if len(groups) == 1:
            # Nothing to do meanwhile: a thread and pinned memory would only cost time.
            yield groups[0], [self._backend.asarray(_taken(source, index, groups[0])) for source in sources]
            return
        self._reserve(layout, max(group[-1][1] - group[0][0] for group in groups))
        current = self._cuda.get_current_stream()
        for slot in self._slots:
            slot.read.record(current)
        try:
            with ThreadPoolExecutor(1) as pool:
                coming = pool.submit(self._send, self._slots[0], sources, index, groups[0])
                for position, group in enumerate(groups):
                    slot, arrays = self._slots[position % 2], coming.result()
                    if position + 1 < len(groups):
                        following = self._slots[(position + 1) % 2]
                        coming = pool.submit(self._send, following, sources, index, groups[position + 1])
                    current.wait_event(slot.sent)
                    yield group, arrays
                    slot.read.record(current)
        finally:
            # Where the caller has stopped early, a copy may be on its way into memory that nobody else may have yet.
            self._stream.synchronize()

    def _reserve(self, layout: Layout, rows: int) -> None:
        """Allocate the slots, once, unless a chunk grows or other data come."""
        if self._stream is None:
            self._stream = self._cuda.Stream(non_blocking=True)
        if layout != self._layout or rows > self._rows:
            self._slots, self._layout = [], []
            self._slots = [Slot(self._cuda, self._backend, layout, rows) for _ in range(2)]
            self._layout, self._rows = layout, rows

    def _send(self, slot: Slot, sources: list[NDArray[Any]], index: NDArray[Any] | None, group: Cuts) -> list[Array]:
        """Gather the rows of a chunk, and start their way to the device; return where they will be."""
        start, stop = group[0][0], group[-1][1]
        arrays = []
        with self._backend.active():
            slot.sent.synchronize()
            self._stream.wait_event(slot.read)
            for source, buffer, memory in zip(sources, slot.pinned, slot.arrays, strict=True):
                width, shape = _row_size(source), (stop - start, *source.shape[1:])
                rows = buffer[: (stop - start) * width].reshape(shape)
                if index is not None and source.dtype == rows.dtype:
                    np.take(source, index[start:stop], axis=0, out=rows, mode="clip")  # "raise" would buffer `out`.
                else:
                    rows[...] = _taken(source, index, group)
                shift = 0 if index is not None else start * width % (ALIGNMENT // rows.itemsize)
                array = memory[shift : shift + rows.size].reshape(shape)
                array.set(rows, stream=self._stream)
                arrays.append(array)
            slot.sent.record(self._stream)
        return arrays


def _grouped(cuts: Cuts, most: int) -> list[Cuts]:
    """Group batches that follow one another into chunks of at most ``most`` rows, or of one batch."""
    groups: list[Cuts] = []
    for cut in cuts:
        if groups and cut[1] - groups[-1][0][0] <= most:
            groups[-1].append(cut)
        else:
            groups.append([cut])
    return groups


def _taken(source: NDArray[Any], index: NDArray[Any] | None, group: Cuts) -> NDArray[Any]:
    start, stop = group[0][0], group[-1][1]
    return source[start:stop] if index is None else source[index[start:stop]]


def _row_size(source: NDArray[Any]) -> int:
    return int(np.prod(source.shape[1:], dtype=np.int64))
