"""BatchedPlan: the models of an ensemble all at once on a GPU, kernel by kernel, with batches of products by cuBLAS."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cuda.data import gather_own
from tinynet_kernels.cuda.models import MAX_MODELS
from tinynet_kernels.cuda.optimizers import numbers_of_models, step_of_models

from tinynet.backends.base import Array, FloatArray, Members, State, on_backend, own_steps
from tinynet.backends.chain import Bound, backward, forward
from tinynet.backends.cupy.cohort import Cohort, counters, of_members
from tinynet.backends.cupy.tiers import BATCHED, described
from tinynet.backends.members import KEPT_PLANS, MembersPlan
from tinynet.backends.stages import DropoutStage
from tinynet.backends.work import Pool, Work
from tinynet.base.kept import Kept
from tinynet.program import LinearOp, LossSpec, Program

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

WORK_SHARE = 0.5
"""Share of the free memory that what lies between the layers may take. Where it is too little for all models, they are
taken in turns."""

PREDICT_ROWS = 1 << 10
"""Rows that are predicted at a time: with many models, enough to fill the device with work."""

TABLE_NUMBERS = 1 << 20
"""Most numbers (learning rates and what goes with them) that are sent to the device at a time."""

Slices = list[slice]


class Batch(NamedTuple):
    """Rows of an update: with an axis of models, (n_models, n_rows, ...), where these see rows of their own."""

    x: Array
    y: Array
    weight: Array | None


class BatchedPlan(MembersPlan):
    """Train, evaluate and predict with all models of an ensemble at once.

    Each product of a network is one call of cuBLAS for all models, and each kernel between them one launch. Models that
    are left out cost nothing: those that are trained are brought together. Data in host memory train model by model.

    Parameters
    ----------
    program : Program
        Of an ensemble of built-in layers.
    backend : CuPyBackend
    """

    backend: Any

    def __init__(self, program: Program, backend: CuPyBackend) -> None:
        self.program, self.backend, self.granularity = program, backend, "epoch"
        self._plans = Kept(KEPT_PLANS)
        self.description = described(None, program.precision, BATCHED)
        self._works = Pool(lambda: Work(program, backend))
        self._most: dict[tuple[int, bool], int] = {}

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
        if isinstance(x, np.ndarray):
            return super().run(state, x, y, order, learning_rates, sample_weight, members)
        chosen, order = state.chosen(members), None if order is None else self.backend.asarray(order)
        losses = np.empty((len(learning_rates), len(chosen)))
        n_visits = len(x) if order is None else order.shape[-1]
        batch = min(self.program.batch_size or n_visits, n_visits)
        with self._works.one() as work:
            for part in self._parts(len(chosen), batch, training=True):
                cohort = self._cohort(work, state, chosen[part], sample_weight, trains=True)
                own_order, rates = own_steps(order, learning_rates, part)
                rates = rates if rates.ndim == 3 else rates[..., np.newaxis]
                losses[:, part] = self._train(cohort, x, y, own_order, rates, batch)
                cohort.put_back(state)
        n_updates = len(learning_rates) * -(-n_visits // batch)
        state.step[chosen] += n_updates
        state.draws[chosen] += n_updates
        return losses

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> Any:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        if isinstance(x, np.ndarray):
            return super().predict(state, x, out, members)
        finite: Any = True
        chosen = state.chosen(members)
        with self._works.one() as work:
            for part in self._parts(len(chosen), min(len(x), PREDICT_ROWS), training=False):
                cohort = self._cohort(work, state, chosen[part])
                bound = work.chain.bind(cohort.state)
                for rows in _cut(len(x), PREDICT_ROWS):
                    samples = self._samples(cohort, x, None, rows)
                    if part.start == 0:
                        # Not a bool yet: the device is waited for only when somebody asks.
                        finite = self.backend.namespace.isfinite(samples).all() & finite
                    out[part, rows] = forward(bound, samples, None)
        return finite

    @on_backend
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """Return the loss of each model and fill ``state.gradients``; see ``Plan.gradient``."""
        if isinstance(x, np.ndarray):
            return super().gradient(state, x, y, sample_weight)
        values, losses = self.backend.empty((len(state.parameters),), "float64"), np.empty(len(state.parameters))
        with self._works.one() as work:
            for part in self._parts(len(state.parameters), len(x), training=True):
                members = np.arange(part.start, part.stop)
                cohort = self._cohort(work, state, members, sample_weight)
                cohort.state.draws = counters(self.backend, state.draws[part])
                self._set_rates(cohort)
                batch = self._batch(cohort, x, y, None, slice(0, len(x)))
                self._forward_backward(work.training.bind(cohort.state), cohort, batch, values[part])
        losses[:] = self.backend.to_numpy(values)
        return losses

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        if isinstance(x, np.ndarray):
            return super().evaluate(state, x, y, sample_weight, members)
        chosen, cuts = state.chosen(members), _cut(len(x), PREDICT_ROWS)
        losses = np.empty(len(chosen))
        with self._works.one() as work:
            for part in self._parts(len(chosen), cuts[0].stop, training=False):
                cohort = self._cohort(work, state, chosen[part], sample_weight)
                bound = work.training.bind(cohort.state)
                values = self.backend.empty((len(cuts), len(cohort)), "float64")
                for rows, value in zip(cuts, values, strict=True):
                    batch = self._batch(cohort, x, y, None, rows)
                    self._loss(forward(bound, batch.x, None), cohort, batch, value)
                losses[part] = self._value(values, cuts)
        return losses

    # -- training ----------------------------------------------------------------------------------------------------

    def _train(
        self, cohort: Cohort, x: Array, y: Array, order: Array | None, rates: FloatArray, batch: int
    ) -> NDArray[np.float64]:
        """Train a cohort; ``rates`` are (n_epochs, n_rates, n), or n is 1."""
        n_visits = len(x) if order is None else order.shape[-1]
        cuts = _cut(n_visits, batch)
        losses = np.empty((len(rates), len(cohort)))
        step, draws = cohort.state.step, cohort.state.draws
        self._set_rates(cohort)
        bound = cohort.work.training.bind(cohort.state)
        for epoch, of_epoch in enumerate(rates):
            index = None if order is None else order[epoch]
            values = self.backend.empty((len(cuts), len(cohort)), "float64")
            passed = epoch * len(cuts)
            updates = self._updates(cohort.settings, step + passed, draws + passed, of_epoch, len(cuts))
            for rows, value, (numbers, draw) in zip(cuts, values, updates, strict=True):
                cohort.state.draws = draw
                self._forward_backward(bound, cohort, self._batch(cohort, x, y, index, rows), value)
                self._update(cohort, numbers)
            losses[epoch] = self._value(values, cuts)
        return losses

    def _updates(
        self, settings: list[Any], step: NDArray[np.int64], draws: NDArray[np.int64], rates: FloatArray, count: int
    ) -> Iterator[tuple[Array, Array]]:
        """Yield what the updates of an epoch take: the numbers of the optimizer, and the counters of the masks.

        ``step`` and ``draws`` are those before the epoch; ``rates`` are (n_rates, n), where either may be 1.
        """
        optimizer = self.program.optimizer
        assert optimizer is not None
        together = max(1, TABLE_NUMBERS // (8 * len(step)))
        for first in range(0, count, together):
            passed = np.arange(first, min(first + together, count))[:, np.newaxis]
            rate = np.broadcast_to(rates[np.minimum(passed[:, 0], len(rates) - 1)], (len(passed), len(step)))
            numbers = numbers_of_models(optimizer.kind, settings, step + 1 + passed, rate)
            places = self.backend.asarray(numbers, self.program.dtype), counters(self.backend, draws + passed)
            yield from zip(*places, strict=True)

    def _forward_backward(self, bound: Bound, cohort: Cohort, batch: Batch, value: Array) -> None:
        """Fill the gradients; write the losses to ``value``, an (n,) float64 array."""
        backward(bound, self._loss(forward(bound, batch.x, cohort.state), cohort, batch, value), need_dx=False)

    def _loss(self, prediction: Array, cohort: Cohort, batch: Batch, value: Array) -> Array:
        """Write the losses of a batch to ``value``; return their gradients by the predictions (or the logits)."""
        loss = self._spec
        d_prediction = cohort.work.scratch("d_prediction", prediction.shape, self.program.dtype)
        rows, columns = prediction.shape[-2:]
        self.backend.kernels.loss_forward_backward(
            *(loss.kind, prediction, batch.y, batch.weight, d_prediction),
            *(loss.scale(rows, columns), cohort.parameter, value),
        )
        return d_prediction

    def _update(self, cohort: Cohort, numbers: Array) -> None:
        optimizer, kernels, state = self.program.optimizer, self.backend.kernels, cohort.state
        assert optimizer is not None
        if optimizer.clip_value is not None:
            kernels.clip_by_value(state.gradients, cohort.clip_value)
        if optimizer.clip_norm is not None:
            norm = cohort.work.scratch("norm", (len(cohort),), "float64")
            kernels.clip_by_norm(state.gradients, cohort.clip_norm, norm)
        velocities = optimizer.kind == "rmsprop" and bool(np.any(dict(optimizer.settings)["momentum"]))
        step_of_models(optimizer.kind, state.parameters, state.gradients, state.moments, numbers, velocities)

    def _value(self, values: Array, cuts: Slices) -> NDArray[np.float64]:
        """Return the losses of all batches from those of each, (n_batches, n): the mean over samples, or the sum."""
        mean, total = self._spec.reduction == "mean", np.zeros(values.shape[1])
        # Row by row, in an order that does not depend on how many models there are.
        for rows, row in zip(cuts, self.backend.to_numpy(values), strict=True):
            total += row * (rows.stop - rows.start) if mean else row
        return total / cuts[-1].stop if mean else total

    # -- rows --------------------------------------------------------------------------------------------------------

    def _batch(self, cohort: Cohort, x: Array, y: Array, index: Array | None, rows: slice) -> Batch:
        """Return rows of the data; ``index`` is (n_visits,), or (n, n_visits) where each model has its own order."""
        weight = cohort.weight
        place = None if index is None else index[..., rows]
        target_dtype = "int64" if self._spec.index_target else self.program.dtype
        lead = (len(cohort),) if place is not None and place.ndim == 2 else ()
        return Batch(
            self._samples(cohort, x, place, rows),
            self._rows(cohort, ("y", target_dtype), y, place, rows, lead),
            None if weight is None else self._weights(cohort, weight, place, rows, lead),
        )

    def _samples(self, cohort: Cohort, x: Array, index: Array | None, rows: slice) -> Array:
        """Return samples; shared by all models where the first layer is one that can share them."""
        own = index is not None and index.ndim == 2
        shared = isinstance(self.program.ops[self.program.first], LinearOp) and not own
        return self._rows(cohort, ("x", self.program.reads), x, index, rows, () if shared else (len(cohort),))

    def _rows(
        self,
        cohort: Cohort,
        kind: tuple[str, str],
        source: Array,
        index: Array | None,
        rows: slice,
        lead: tuple[int, ...],
    ) -> Array:
        """Return rows of a kind, a name and the dtype: a view where that is possible, else with ``lead`` before."""
        name, dtype = kind
        if index is None and not lead and source.dtype == dtype:
            return source[rows]
        if index is None:
            index = self.backend.namespace.arange(rows.start, rows.stop)
        out = cohort.work.scratch(name, (*lead, rows.stop - rows.start, *source.shape[1:]), dtype)
        self.backend.kernels.gather_rows(source, index, out)
        return out

    def _weights(self, cohort: Cohort, weight: Array, index: Array | None, rows: slice, lead: tuple[int, ...]) -> Array:
        if weight.ndim == 1:
            return self._rows(cohort, ("weight", self.program.dtype), weight, index, rows, lead)
        if index is None:
            index = self.backend.namespace.arange(rows.start, rows.stop)
        out = cohort.work.scratch("weight", (len(weight), rows.stop - rows.start), self.program.dtype)
        gather_own(weight, index, out)
        return out

    # -- models ------------------------------------------------------------------------------------------------------

    def _cohort(
        self, work: Work, state: State, members: Members, weight: Array | None = None, *, trains: bool = False
    ) -> Cohort:
        return Cohort.of(self.backend, self.program, state, members, weight, work=work, trains=trains)

    def _set_rates(self, cohort: Cohort) -> None:
        """Give dropout the rates of the models of a cohort."""
        for stage in cohort.work.training.stages:
            if isinstance(stage, DropoutStage):
                rates = np.broadcast_to(of_members(stage.op.rate, cohort.numbers), len(cohort))
                stage.rate = self.backend.asarray(np.array(rates, np.float64))

    @property
    def _spec(self) -> LossSpec:
        loss = self.program.loss
        if loss is None:
            raise ValueError("this plan was made without a loss; make one from a program that has one.")
        return loss

    def _parts(self, n: int, rows: int, *, training: bool) -> Slices:
        """Cut ``n`` models into as few parts as the memory for what lies between the layers allows."""
        key = (rows, training)
        if key not in self._most:
            room = int(WORK_SHARE * self.backend.memory()[0])
            self._most[key] = max(1, min(MAX_MODELS, room // self._bytes_of_model(rows, training=training)))
        n_parts = -(-n // self._most[key])
        ends = [n * i // n_parts for i in range(n_parts + 1)]
        return [slice(low, high) for low, high in pairwise(ends)]

    def _bytes_of_model(self, rows: int, *, training: bool) -> int:
        """Return how much memory a model takes beside its state, at most."""
        ops, optimizer = self.program.ops, self.program.optimizer
        # Of each layer z, y and dz, or a mask, and what goes down from it; the data, and the gradient of the loss.
        widths = sum(op.n_in + 3 * op.n_out for op in ops) + ops[0].n_in + 2 * ops[-1].n_out + 1
        copies = 1 + (optimizer.n_moments if training and optimizer is not None else 0)
        numbers = rows * widths + copies * self.program.n_parameters + self.program.n_buffers
        return np.dtype(self.program.dtype).itemsize * numbers


def _cut(n: int, size: int) -> Slices:
    """Cut ``n`` rows into batches. The last may be smaller."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
