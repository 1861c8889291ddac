"""LoopPlan: any program on any backend, kernel by kernel. Every other plan is held against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.chain import Bound, backward, forward, zero_frozen
from tinynet.backends.norms import one_sample
from tinynet.backends.stages import LinearStage, Own
from tinynet.backends.updating import update
from tinynet.backends.work import Pool, Work
from tinynet.base.arrays import is_plain
from tinynet.base.turns import Turns
from tinynet.program import BatchNormOp, EmbeddingOp, LinearOp, LossSpec, OptimizerSpec, Program, ResidualOp, all_ops

PREDICT_ROWS = 4096
"""Rows taken at a time where no batch size is given: enough to fill the machine, little enough to stay in the cache."""

Cuts = list[tuple[int, int]]
Batch = tuple[Array, Array | None, Array | None]


class LoopPlan(Plan):
    """Run a program kernel by kernel; any number of threads may do so with one plan.

    Layers and losses that users have written keep in themselves what they need on the way back, so each of these works
    in one thread at a time: for an update, or for what is predicted in a call.

    Parameters
    ----------
    program : Program
    backend : Backend
    reason : str
        Why no quicker plan is used; becomes part of ``description``.
    """

    predict_rows = PREDICT_ROWS
    """Rows that are predicted at a time."""

    def __init__(self, program: Program, backend: Backend, reason: str) -> None:
        if program.n_models is not None:
            raise ValueError(f"a loop plan trains one model; got n_models={program.n_models}. Use a MembersPlan.")
        self.program = program
        self.backend = backend
        self.description = f"loop: {reason}"
        self._works: Pool[Any] = Pool(self._new_work)
        self._users = Turns(program.user_code)

    # -- the contract ------------------------------------------------------------------------------------------------

    @on_backend
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
        loss, _ = required(self.program)
        n_visits = len(x) if order is None else order.shape[1]
        cuts = _cut(n_visits, self.program.batch_size or n_visits)
        if min(stop - start for start, stop in cuts) == 1:
            self._require_more_than_one_sample()
        order = self._placed(order, x)
        losses = np.zeros((len(learning_rates), 1))
        with self._works.one() as work, self._products(min(self.program.batch_size or n_visits, n_visits)):
            bound = work.training.bind(state)
            n_squares = len(_linear(bound)) if loss.l2 else 0
            for epoch, rates in enumerate(learning_rates):
                # The losses of an epoch stay where they were computed until its end: a GPU is not waited for before.
                values = self.backend.empty((len(cuts),), "float64")
                squares = self.backend.empty((len(cuts), n_squares), "float64")
                strengths = np.zeros(len(cuts))
                index = None if order is None else order[epoch]
                for update, batch in enumerate(self._batches(work, x, y, sample_weight, index, cuts)):
                    if loss.l2:
                        strengths[update] = self._strength(len(batch[0]), batch[2])
                    value, rate = values[update : update + 1], float(rates[min(update, len(rates) - 1)])
                    with self._users:
                        self._learn(work, bound, state, batch, rate, value, (strengths[update], squares[update]))
                total = loss.report * self.backend.to_numpy(values)
                if loss.l2:
                    total = total + 0.5 * strengths * self.backend.to_numpy(squares).sum(axis=1)
                losses[epoch] = _total(loss, [stop - start for start, stop in cuts], n_visits, total)
        return losses

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        cuts = _cut(len(x), self.predict_rows)
        finite: Any = True
        with self._works.one() as work, self._users, self._products(min(len(x), self.predict_rows)):
            bound = work.chain.bind(state)
            for (start, stop), (xb, _, _) in zip(cuts, self._batches(work, x, None, None, None, cuts), strict=True):
                # Not a bool yet: a GPU is waited for only when somebody asks.
                finite = self.backend.namespace.isfinite(xb).all() & finite
                self._put(forward(bound, xb, None), out[start:stop])
        return finite  # type: ignore[no-any-return]

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        if any(isinstance(op, EmbeddingOp) for op in self.program.ops):
            return lambda x: None  # Somebody has to look whether there are levels where they should be.
        n_in, n_out, dtype = self.program.n_in, self.program.n_out, np.dtype(self.program.dtype)
        empty, ndarray = self.backend.namespace.empty, self.backend.namespace.ndarray
        run = partial(self.predict, state)

        def predict(x: Any) -> Array | None:
            if type(x) is not ndarray or x.dtype is not dtype or x.ndim != 2 or not x.flags.c_contiguous:
                return None
            rows, columns = x.shape
            if columns != n_in or rows == 0:
                return None
            out = empty((rows, n_out), dtype)
            return out if run(x, out) else None

        return predict

    @on_backend
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        loss, _ = required(self.program, optimizer=False)
        value = self.backend.empty((1,), "float64")
        with self._works.one() as work, self._users, self._products(len(x)):
            bound = work.training.bind(state)
            (batch,) = self._batches(work, x, y, sample_weight, None, [(0, len(x))])
            self._forward_backward(work, bound, state, *batch, value)
            zero_frozen(self.program, state.gradients)
            total = loss.report * float(self.backend.to_numpy(value)[0])
            if not loss.l2:
                return total
            squares = self.backend.empty((len(_linear(bound)),), "float64")
            strength = self._strength(len(x), sample_weight)
            self._penalize(bound, strength, squares)
            return total + 0.5 * strength * float(self.backend.to_numpy(squares).sum())

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        loss, _ = required(self.program, optimizer=False)
        size = max(1, self.predict_rows // self._blocks)
        cuts = _cut(len(x), size)
        with self._works.one() as work, self._users, self._products(min(len(x), size)):
            bound = work.training.bind(state)
            if loss.custom is not None:
                return self._evaluate_at_once(work, bound, x, y, sample_weight, cuts)
            values, masses = self.backend.empty((len(cuts),), "float64"), []
            for chunk, (xb, yb, wb) in enumerate(self._batches(work, x, y, sample_weight, None, cuts)):
                self._loss(work, forward(bound, xb, None), yb, wb, values[chunk : chunk + 1])
                masses.append(_mass(loss, len(xb), wb))
            return _total(loss, masses, sum(masses), loss.report * self.backend.to_numpy(values))

    def _evaluate_at_once(
        self, work: Work, bound: Bound, x: Array, y: Array, weight: Array | None, cuts: Cuts
    ) -> float:
        """Return the value of a custom loss: it need not be a sum over samples, so it sees all predictions at once."""
        prediction = self.backend.empty((len(x), self.program.n_out), self.program.dtype)
        for (start, stop), (xb, _, _) in zip(cuts, self._batches(work, x, None, None, None, cuts), strict=True):
            prediction[start:stop] = forward(bound, xb, None)
        asarray, dtype = self.backend.asarray, self.program.dtype
        value = self.backend.empty((1,), "float64")
        weight = None if weight is None else asarray(weight, dtype)
        self._loss(work, prediction, asarray(y, dtype if y.ndim == 2 else None), weight, value)
        return float(self.backend.to_numpy(value)[0])

    # -- for those who need more than a training ---------------------------------------------------------------------

    @on_backend
    def input_gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Array:
        """Return the gradient of the loss with respect to ``x``; fill ``state.gradients``."""
        value = self.backend.empty((1,), "float64")
        with self._works.one() as work, self._users, self._products(len(x)):
            bound = work.training.bind(state)
            d_prediction = self._loss(work, forward(bound, x, state), y, sample_weight, value)
            return backward(bound, d_prediction, need_dx=True).copy()

    @on_backend
    def update(self, state: State, learning_rate: float) -> None:
        """Make one update from ``state.gradients``."""
        with self._works.one() as work:
            self._update(work, state, required(self.program, loss=False)[1], learning_rate)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _require_more_than_one_sample(self) -> None:
        """Refuse batches of one sample where something is standardised over a batch, before anything is changed."""
        for op in all_ops(tuple(op for i, op in enumerate(self.program.ops) if i not in self.program.frozen)):
            if isinstance(op, BatchNormOp):
                raise ValueError(one_sample(op.n))

    def _products(self, rows: int) -> AbstractContextManager[None]:
        """Return a context for the products with so many rows; what users have written may need more threads."""
        size = rows * self._blocks * self._largest
        return nullcontext() if self.program.user_code else self.backend.for_products(size)

    @property
    def _blocks(self) -> int:
        """Rows that a sample takes on its way to the loss: one, and one for each input if it reads slopes."""
        return 1 + self.program.n_in if self.program.reads_slopes else 1

    @cached_property
    def _largest(self) -> int:
        """Weights of the largest layer."""
        weights = [op for op in all_ops(self.program.ops) if isinstance(op, LinearOp | ResidualOp)]
        return max((op.n_in * op.n_out for op in weights), default=0)

    def _placed(self, order: Array | None, x: Array) -> Array | None:
        """Return the sample order of a call where ``_batches`` reads it: one copy for all epochs."""
        return None if order is None else self.backend.asarray(order)

    def _new_work(self) -> Work:
        return Work(self.program, self.backend)

    def _batches(
        self, work: Work, x: Array, y: Array | None, weight: Array | None, index: Array | None, cuts: Cuts
    ) -> Iterator[Batch]:
        """Yield the samples, targets and weights of each batch, in the dtypes of the computation.

        ``cuts`` are positions in ``index``, or rows where there is none.
        """
        dtype, loss = self.program.dtype, self.program.loss
        target_dtype = "int64" if loss is not None and loss.index_target else dtype
        for start, stop in cuts:
            place = None if index is None else index[start:stop]
            yield (
                self._rows(work, "x", x, place, (start, stop), self.program.reads),
                None if y is None else self._rows(work, "y", y, place, (start, stop), target_dtype),
                None if weight is None else self._rows(work, "weight", weight, place, (start, stop), dtype),
            )

    def _put(self, prediction: Array, out: Array) -> None:
        """Copy what was predicted for some rows to where it was asked for."""
        out[...] = prediction

    def _rows(
        self, work: Work, name: str, source: Array, index: Array | None, cut: tuple[int, int], dtype: str
    ) -> Array:
        """Return the rows of a batch in the dtype of the computation: a view where that is possible."""
        if index is None and is_plain(source, dtype):
            return source[slice(*cut)]
        if index is None:
            index = self.backend.namespace.arange(*cut)
        out = work.scratch(name, (len(index), *source.shape[1:]), dtype)
        self.backend.kernels.gather_rows(source, index, out)
        return out

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
        """Make one update; write the loss of the batch to ``value`` and the squares of the weights to the penalty's."""
        loss, optimizer = required(self.program)
        self._forward_backward(work, bound, state, *batch, value)
        if loss.l2:
            self._penalize(bound, *penalty)
        self._update(work, state, optimizer, rate)

    def _forward_backward(
        self, work: Work, bound: Bound, state: State, x: Array, y: Array, weight: Array | None, value: Array
    ) -> None:
        """Fill ``state.gradients``; write the loss of a batch to ``value``, a float64 array of one element."""
        backward(bound, self._d_loss(work, bound, state, x, y, weight, value), need_dx=False)

    def _d_loss(
        self, work: Work, bound: Bound, state: State, x: Array, y: Array, weight: Array | None, value: Array
    ) -> Array:
        """Go forward in training; return the gradient of the loss by the prediction (or the logits)."""
        return self._loss(work, forward(bound, x, state), y, weight, value)

    def _strength(self, rows: int, weight: Array | None) -> float:
        """Return what the squares of the weights are multiplied by, doubled, for a batch."""
        loss, _ = required(self.program, optimizer=False)
        return loss.l2 / ((_mass(loss, rows, weight) or math.inf) if loss.reduction == "mean" else 1.0)

    def _penalize(self, bound: Bound, strength: float, squares: Array) -> None:
        """Add the gradient of the L2 penalty to those of the weights; write the squares of each to ``squares``."""
        for i, own in enumerate(_linear(bound)):
            assert own.gradients is not None
            weight, gradient = own.parameters[0], own.gradients[0]
            self.backend.kernels.l2_penalty(weight, gradient, strength, squares[i : i + 1])

    def _loss(self, work: Work, prediction: Array, y: Array, weight: Array | None, value: Array) -> Array:
        """Write the loss of a batch to ``value``; return its gradient by the prediction (or the logits)."""
        loss, _ = required(self.program, optimizer=False)
        if loss.custom is not None:
            arguments = (prediction, y) if weight is None else (prediction, y, weight)
            result = loss.custom.forward(*arguments)
            # What is one element of the backend's already may stay there, unread.
            value[...] = result if getattr(result, "ndim", None) == 0 else float(result)
            return loss.custom.backward(*arguments)
        d_prediction = work.scratch("d_prediction", prediction.shape, self.program.dtype)
        kernel, columns = self.backend.kernels.loss_forward_backward, prediction.shape[1]
        rows = len(prediction) // self._blocks
        mass = _mass(loss, rows, weight) or math.inf
        if loss.slopes is None:
            scale = loss.scale(mass, columns)
            kernel(loss.kind, prediction, y, weight, d_prediction, scale, loss.parameter, value)
            return d_prediction
        target = work.scratch("targets", prediction.shape, self.program.dtype)
        target.reshape(self._blocks, rows, columns)[...] = y.reshape(rows, self._blocks, columns).transpose(1, 0, 2)
        if weight is not None:
            weights = work.scratch("weights", (self._blocks, rows), self.program.dtype)
            weights[...] = weight
            weight = weights.reshape(-1)
        of_slopes = self.backend.empty((1,), "float64")
        for spec, part, share, total in (
            (loss, slice(0, rows), 1, value),
            (loss.slopes, slice(rows, None), self._blocks - 1, of_slopes),
        ):
            own, scale = None if weight is None else weight[part], spec.scale(mass, columns * share)
            kernel(spec.kind, prediction[part], target[part], own, d_prediction[part], scale, spec.parameter, total)
        value += of_slopes
        return d_prediction

    def _update(self, work: Work, state: State, optimizer: OptimizerSpec, learning_rate: float) -> None:
        """Make one update from ``state.gradients``."""
        state.step += 1
        state.draws += 1
        if self.program.trained:
            update(self.program, self.backend.kernels, work, state, optimizer, learning_rate)


def _linear(bound: Bound) -> list[Own]:
    """Return what belongs to the linear stages that are trained."""
    return [own for stage, own in bound if isinstance(stage, LinearStage) and own.gradients is not None]


def _mass(loss: LossSpec, rows: int, weight: Array | None) -> float:
    """Return what the mean over a batch divides by; where it is 0, nothing in the batch counts."""
    if weight is None or not loss.by_weight:
        return rows
    return float(weight.sum(dtype="float64"))


def _cut(n: int, size: int) -> Cuts:
    """Cut ``n`` rows into batches: where each starts and stops. The last may be smaller."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _total(loss: LossSpec, masses: list[float], whole: float, values: NDArray[np.float64]) -> float:
    """Return the loss of all batches from those of each: the mean, in which a batch has its mass, or the sum."""
    mean, total = loss.reduction == "mean", 0.0
    for mass, value in zip(masses, values.tolist(), strict=True):
        total += value * mass if mean else value
    return total / (whole or math.inf) if mean else total


def required(program: Program, *, loss: bool = True, optimizer: bool = True) -> tuple[LossSpec, OptimizerSpec]:
    """Return the program's loss and optimizer; a plan without them cannot train."""
    if (loss and program.loss is None) or (optimizer and program.optimizer is None):
        raise ValueError("this plan was made without a loss or an optimizer; make one from a program that has them.")
    return program.loss, program.optimizer  # type: ignore[return-value]
