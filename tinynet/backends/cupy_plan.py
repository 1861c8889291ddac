"""CuPyLoopPlan: any program on a GPU, kernel by kernel, on data that lie there or come from host memory in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.backends.base import Array, State
from tinynet.backends.cupy_streaming import Uploader
from tinynet.backends.loop import Batch, Cuts, LoopPlan
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet.backends.cupy import CuPyBackend

PREDICT_ROWS = 1 << 14
"""Rows that are predicted at a time: enough to fill the device with work."""


class CuPyLoopPlan(LoopPlan):
    """Run a program kernel by kernel, and bring to the device what is not there.

    The batches of data in host memory hold the same rows in the same order as those of data on the device, so that the
    results have the same bits. A quicker plan derives from this one, and leaves to it what is in host memory.
    """

    predict_rows = PREDICT_ROWS

    def __init__(self, program: Program, backend: CuPyBackend, reason: str) -> None:
        super().__init__(program, backend, reason)
        self._device = backend.device
        self._uploader = Uploader(backend)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        backend, device, quick = self.backend, self._device, super().predictor(state)
        ndarray = backend.namespace.ndarray

        def predict(x: Any) -> Array | None:
            if type(x) is not ndarray or x.device.id != device:
                return None
            with backend.active():
                return quick(x)

        return predict

    def _placed(self, order: Array | None, x: Array) -> Array | None:
        return order if isinstance(x, np.ndarray) else super()._placed(order, x)

    def _batches(
        self, x: Array, y: Array | None, weight: Array | None, index: Array | None, cuts: Cuts
    ) -> Iterator[Batch]:
        if not isinstance(x, np.ndarray):
            yield from super()._batches(x, y, weight, index, cuts)
            return
        sources = [x, *(array for array in (y, weight) if array is not None)]
        for chunk, arrays in self._uploader.chunks(sources, index, cuts):
            rest = iter(arrays)
            xc, yc, wc = next(rest), None if y is None else next(rest), None if weight is None else next(rest)
            first, last = chunk[0][0], chunk[-1][1]
            # Rows in an order of their own are gathered from the chunk as they would be from the whole: see ALIGNMENT.
            place = None if index is None else self.backend.namespace.arange(last - first)
            yield from super()._batches(xc, yc, wc, place, [(start - first, stop - first) for start, stop in chunk])

    def _put(self, prediction: Array, out: Array) -> None:
        if isinstance(out, np.ndarray):
            prediction.get(out=out)
        else:
            super()._put(prediction, out)
