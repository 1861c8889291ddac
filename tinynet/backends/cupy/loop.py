"""CuPyLoopPlan: any program on a GPU, kernel by kernel, on data that lie there or come from host memory in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.backends.base import Array, State
from tinynet.backends.chain import Bound
from tinynet.backends.cupy.streaming import Uploader
from tinynet.backends.cupy.tiers import described
from tinynet.backends.loop import Batch, Cuts, LoopPlan
from tinynet.backends.stages import LinearStage
from tinynet.backends.work import Work
from tinynet.program import CustomOp, Program

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

PREDICT_ROWS = 1 << 14
"""Rows that are predicted at a time: enough to fill the device with work."""


def is_descent(program: Program) -> bool:
    """Tell whether an update is nothing but the gradient times the learning rate, of built-in layers only."""
    loss, optimizer = program.loss, program.optimizer
    if loss is None or loss.l2 or loss.slopes is not None or optimizer is None or optimizer.kind != "sgd":
        return False
    plain = not any(value for _, value in optimizer.settings)
    custom = any(isinstance(op, CustomOp) for op in program.ops)
    return plain and optimizer.clip_norm is None and optimizer.clip_value is None and not custom and not program.frozen


class CuPyWork(Work):
    """What one call works with, and what brings it rows from host memory."""

    def __init__(self, program: Program, backend: CuPyBackend) -> None:
        super().__init__(program, backend)
        self.uploader = Uploader(backend)


class CuPyLoopPlan(LoopPlan):
    """Run a program kernel by kernel, and bring to the device what is not there.

    The batches of data in host memory hold the same rows in the same order as those of data on the device, so that the
    results have the same bits. A quicker plan derives from this one, and leaves to it what is in host memory.

    Parameters
    ----------
    program : Program
    backend : CuPyBackend
    reason : str or None
        Why the program runs kernel by kernel; None: because it is large, and cuBLAS is the quickest there is.
    folded : bool
        Whether products may update the weights themselves where the optimizer is plain gradient descent: the gradients
        are not written then.
    """

    predict_rows = PREDICT_ROWS

    def __init__(self, program: Program, backend: CuPyBackend, reason: str | None, folded: bool = False) -> None:
        super().__init__(program, backend, "")
        self.description = described(reason, program.precision)
        self._folded = folded and is_descent(program)
        self._device = backend.device

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

    def _new_work(self) -> CuPyWork:
        return CuPyWork(self.program, self.backend)  # type: ignore[arg-type]

    def _learn(
        self,
        work: Work,
        bound: Bound,
        state: State,
        batch: Batch,
        rate: float,
        value: Array,
        penalty: tuple[float, Array],
    ) -> None:
        if not self._folded:
            super()._learn(work, bound, state, batch, rate, value, penalty)
            return
        kernels = self.backend.kernels
        dy = self._d_loss(work, bound, state, *batch, value)
        state.step += 1
        state.draws += 1
        for position in range(len(bound) - 1, -1, -1):
            stage, own = bound[position]
            if not isinstance(stage, LinearStage):
                dy = stage.backward(dy, own, position > 0)
                continue
            assert own.gradients is not None
            dy = stage.descend(dy, own, position > 0, rate)
            for bias, gradient in zip(own.parameters[1:], own.gradients[1:], strict=True):
                kernels.sgd_step(bias, gradient, state.moments, state.step, rate, 0.0, False, 0.0)

    def _placed(self, order: Array | None, x: Array) -> Array | None:
        return order if isinstance(x, np.ndarray) else super()._placed(order, x)

    def _batches(
        self, work: Work, x: Array, y: Array | None, weight: Array | None, index: Array | None, cuts: Cuts
    ) -> Iterator[Batch]:
        if not isinstance(x, np.ndarray):
            yield from super()._batches(work, x, y, weight, index, cuts)
            return
        assert isinstance(work, CuPyWork)
        sources = [x, *(array for array in (y, weight) if array is not None)]
        for chunk, arrays in work.uploader.chunks(sources, index, cuts):
            rest = iter(arrays)
            xc, yc, wc = next(rest), None if y is None else next(rest), None if weight is None else next(rest)
            first, last = chunk[0][0], chunk[-1][1]
            # Rows in an order of their own are gathered from the chunk as they would be from the whole: see ALIGNMENT.
            place = None if index is None else self.backend.namespace.arange(last - first)
            yield from super()._batches(work, xc, yc, wc, place, [(a - first, b - first) for a, b in chunk])

    def _put(self, prediction: Array, out: Array) -> None:
        if isinstance(out, np.ndarray):
            prediction.get(out=out)
        else:
            super()._put(prediction, out)
