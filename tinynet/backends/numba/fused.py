"""FusedPlan: whole epochs in one compiled function, for the programs that need no Python inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu import fused
from tinynet_kernels.cpu.compiling import Kernel

from tinynet.backends.base import Array, Backend, FloatArray, Members, State
from tinynet.backends.loop import LoopPlan
from tinynet.backends.lowering import layers_of, lower
from tinynet.backends.work import Work
from tinynet.base.arrays import is_plain
from tinynet.base.kept import Kept
from tinynet.program import Op, Program

PREDICT_BLOCK = 256
"""Most rows that are predicted at a time, so that what lies between the layers stays in the cache."""


class FusedForward(LoopPlan):
    """Predicts, and evaluates, in calls of a compiled function."""

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "")
        self.description = "fused: predictions in one compiled function"
        self._predictions: Kept[fused.Fused] = Kept(most=2)

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not is_plain(x):
            # Rows are converted a batch at a time.
            return super().predict(state, x, out)
        return self._predict_with(state)(x, out)

    def _predict_with(self, state: State) -> Callable[[Array, Array], bool]:
        return self._bound(state, self._ops)

    def _prediction_of(self, state: State, work: Work) -> Callable[[Array], Array]:
        predict = self._bound(state, self._ops_before_loss())

        def forward(x: Array) -> Array:
            out = work.scratch("prediction", (len(x), self.program.n_out), self.program.dtype)
            predict(x, out)
            return out

        return forward

    def function_for(self, method: str, arguments: tuple[Any, ...]) -> Kernel:
        """Return the compiled function behind a call of "predict" or "evaluate"."""
        return self._prediction(self._ops if method == "predict" else self._ops_before_loss()).run

    def _ops_before_loss(self) -> tuple[Op, ...]:
        """Return the ops that lead to what the loss reads."""
        assert self.program.loss is not None
        ops = self.program.ops[:-1] if self.program.loss.on_logits else self.program.ops
        return ops[self.program.first :]

    @property
    def _ops(self) -> tuple[Op, ...]:
        return self.program.ops[self.program.first :]

    def _buffers(self, state: State) -> Array:
        return state.buffers[self.program.own_buffers]

    def _bound(self, state: State, ops: tuple[Op, ...]) -> Callable[[Array, Array], bool]:
        """Return the compiled function from samples to the output of ``ops``; it compiles when it is first called."""
        made = self._prediction(ops)
        run = partial(made.run, state.parameters, self._buffers(state), made.places, made.numbers)

        def predict(x: Array, out: Array) -> bool:
            with self._products(min(len(x), PREDICT_BLOCK)):
                finite: bool = run(x, out)
            return finite

        return predict

    def _prediction(self, ops: tuple[Op, ...]) -> fused.Fused:
        layers = tuple(layer for layer in layers_of(ops) if layer.kind != "dropout")
        return self._predictions.made(ops, lambda: fused.prediction(layers, PREDICT_BLOCK))


class FusedPlan(FusedForward):
    """Trains in one call of a function that is compiled for the program.

    Data that do not lie as Numba reads them, which are on disk, go kernel by kernel.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend)
        self.description = "fused: whole epochs in one compiled function, products by BLAS, all else in between"
        self._made: dict[tuple[bool, bool, int], fused.Fused] = {}
        self._work: dict[int, tuple[Array, ...]] = {}

    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
        members: Members | None = None,
    ) -> NDArray[np.float64]:
        """Train; see ``Plan.run``."""
        if not all(array is None or is_plain(array) for array in (x, y, sample_weight)):
            return super().run(state, x, y, order, learning_rates, sample_weight)
        n_epochs, dtype = len(learning_rates), self.program.dtype
        if order is None and (x.dtype != dtype or (y.ndim == 2 and y.dtype != dtype)):
            # Rows are converted where they are gathered.
            order = np.broadcast_to(np.arange(len(x)), (n_epochs, len(x))).copy()
        n_visits = len(x) if order is None else order.shape[1]
        batch_size = self.program.batch_size or n_visits
        made = self._function(sample_weight is not None, order is not None, batch_size)
        weight = np.empty(0, dtype) if sample_weight is None else sample_weight
        losses = np.zeros((n_epochs, 1))
        vectors = (state.parameters, state.gradients, state.moments, self._buffers(state))
        data = (x, y, weight, order, learning_rates, losses)
        settings = (made.places, made.numbers, state.step, state.draws, state.dropout_seed)
        with self._products(min(batch_size, n_visits)):
            made.run(*vectors, *data, *self._scratch(made), *settings)
        n_updates = n_epochs * -(-n_visits // batch_size)
        state.step += n_updates
        state.draws += n_updates
        return losses

    def function_for(self, method: str, arguments: tuple[Any, ...]) -> Kernel:
        """Return the compiled function behind a call; ``arguments`` are those of ``run`` after the state."""
        if method != "run":
            return super().function_for(method, arguments)
        x, _, order, _, weight = arguments
        batch_size = self.program.batch_size or (len(x) if order is None else order.shape[1])
        return self._function(weight is not None, order is not None, batch_size).run

    def _function(self, weighted: bool, ordered: bool, batch_size: int) -> fused.Fused:
        """Return the function for such data."""
        key = (weighted, ordered, batch_size)
        if key not in self._made:
            network = lower(self.program, weighted=weighted, ordered=ordered)
            self._made[key] = fused.epochs(network, batch_size)
        return self._made[key]

    def _scratch(self, made: fused.Fused) -> tuple[Array, ...]:
        """Return what the function works on: scratch, and a block of samples, targets and weights."""
        block = made.block
        if block not in self._work:
            program = self.program
            assert program.loss is not None
            empty, labels = self.backend.empty, program.loss.index_target
            self._work[block] = (
                empty((made.n_scratch,), program.dtype),
                empty((block, program.n_in), program.dtype),
                empty((block,), "int64") if labels else empty((block, program.n_out), program.dtype),
                empty((block,), program.dtype),
            )
        return self._work[block]
