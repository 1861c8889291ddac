"""RanksPlan: updates from gradients that are summed over ranks, each of which has samples of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.loop import LoopPlan
from tinynet.backends.ranks.team import Team
from tinynet.program import DropoutOp, LossSpec, Program, all_ops


def filled(n: int) -> int:
    """Return to how many rows the part of a batch is filled up.

    Parts of shuffled batches differ by some roots of their sizes; in steps of a root there are few sizes, and little is
    computed for nothing.

    Examples
    --------
    >>> [filled(n) for n in (1, 8, 9, 100, 500, 5000)]
    [8, 8, 16, 112, 512, 5120]
    """
    step = max(8, 1 << math.ceil(math.log2(n) / 2))
    return -(-n // step) * step


class Summed(Plan):
    """What the plans of ranks share: they predict alone, and evaluate together.

    Parameters
    ----------
    program : Program
        With a loss.
    backend : Backend
    team : Team
    inner : Plan
        It computes what this rank has to.
    """

    def __init__(self, program: Program, backend: Backend, team: Team, inner: Plan) -> None:
        assert program.loss is not None
        self.program, self.backend, self.team, self.inner = program, backend, team, inner
        self.loss: LossSpec = program.loss
        self.description = f"{team.description}: {inner.description}"

    def mass(self, rows: int, weight: Array | None) -> float:
        """Return what samples count for in a mean: their number, or the sum of their weights."""
        if weight is None or not self.loss.by_weight:
            return float(rows)
        return float(weight.sum(dtype="float64"))

    def share(self, mass: float, whole: float) -> float:
        """Return what the loss of some samples counts for in that of all: their share of a mean, or all of a sum."""
        return mass / (whole or math.inf) if self.loss.reduction == "mean" else 1.0

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over the samples of all ranks; see ``Plan.evaluate``."""
        found = np.zeros(3)

        def work() -> None:
            mass = self.mass(len(x), sample_weight)
            value = float(self.inner.evaluate(state, x, y, sample_weight))
            found[:2] = value * mass if self.loss.reduction == "mean" else value, mass

        self.team.agree()
        self.team.round(found, work)
        return float(found[0] / (found[1] or math.inf)) if self.loss.reduction == "mean" else float(found[0])

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the network's output for the samples of this rank; see ``Plan.predict``."""
        return self.inner.predict(state, x, out, members)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        return self.inner.predictor(state)

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss of the samples of this rank and its gradient; see ``Plan.gradient``."""
        return self.inner.gradient(state, x, y, sample_weight)


class Held:
    """Arrays for a rank's part of a batch, which has another size each time: rows without weight fill it up.

    So there are few sizes, of the same arrays, and what a plan prepares for them it prepares once.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._arrays: list[NDArray[Any]] = []

    def take(
        self, kernels: Any, data: tuple[Array, Array, Array | None], rows: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return samples, targets and weights: those of some rows, and then idle ones."""
        (x, y, weight), n = data, len(rows)
        whole = filled(n)
        if not self._arrays or len(self._arrays[0]) < whole:
            self._arrays = self._new(x, y, max(whole, self._program.batch_size or 0))
        own, targets, weights = (array[:whole] for array in self._arrays)
        kernels.gather_rows(x, rows, own[:n])
        kernels.gather_rows(y, rows, targets[:n])
        weights[:n], weights[n:] = (1.0 if weight is None else weight[rows]), 0.0
        return own, targets, weights

    def _new(self, x: Array, y: Array, n: int) -> list[NDArray[Any]]:
        program, n = self._program, filled(n)
        assert program.loss is not None
        target = "int64" if program.loss.index_target else program.dtype
        shapes = ((n, *x.shape[1:]), program.reads), ((n, *y.shape[1:]), target), ((n,), program.dtype)
        return [np.zeros(shape, dtype) for shape, dtype in shapes]


class RanksPlan(Summed):
    """A batch is one of all samples, those of the ranks one after the other; a rank takes from it what is its own.

    The order in which ``run`` is told to take the samples counts those of all ranks, and is the same on each. A rank
    that has none in a batch adds zeros. The gradients are summed in the model's dtype, one message for each update, and
    all ranks make the same update from them.
    """

    def __init__(self, program: Program, backend: Backend, team: Team) -> None:
        self._host = get_backend("numpy") if backend.namespace is np else backend
        alone = replace(program, optimizer=None, batch_size=None)
        # The generated code draws masks by the place of a sample in what it is given, which is a part of the batch.
        self._drops = any(isinstance(op, DropoutOp) for op in all_ops(program.ops))
        inner = LoopPlan(alone, backend, "dropout on a part of a batch") if self._drops else backend.plan(alone)
        super().__init__(program, backend, team, inner)
        self._updates = LoopPlan(program, self._host, "updates")
        self._held = Held(program) if inner.gradient_is_fused and backend.namespace is np else None

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
        """Train; see ``Plan.run``. ``order`` counts the samples of all ranks."""
        assert order is not None
        self.team.agree()
        self._take_over(state)
        data = x, y, sample_weight
        losses = [self._epoch(state, data, visits, rates) for visits, rates in zip(order, learning_rates, strict=True)]
        return np.array(losses)[:, np.newaxis]

    def _take_over(self, state: State) -> None:
        """Let the parameters be those of the first rank: other processors may have rounded otherwise."""
        host = np.array(self.backend.to_numpy(state.parameters))
        self.team.share([host])
        state.parameters[...] = self.backend.asarray(host)

    def _epoch(
        self, state: State, data: tuple[Array, Array, Array | None], visits: NDArray[np.int64], rates: FloatArray
    ) -> float:
        """Run an epoch; return its loss."""
        size = self.program.batch_size or len(visits)
        n_updates = -(-len(visits) // size)
        places = np.flatnonzero((visits >= self.team.first) & (visits < self.team.first + len(data[0])))
        cuts = np.searchsorted(places, np.arange(n_updates + 1) * size)
        shares = self._shares(data, visits, places, cuts, size)
        values = np.zeros(n_updates + 1)
        buffer = np.zeros(self.program.n_parameters + 1, self.program.dtype)
        for update in range(n_updates):
            # What follows a sum, and may fail on one rank alone, belongs to the work of the next one.
            before = None if update == 0 else float(rates[min(update - 1, len(rates) - 1)])
            own = places[cuts[update] : cuts[update + 1]]
            work = partial(self._work, state, data, visits, own, update * size, shares[update], buffer, before)
            self.team.round(buffer, partial(self._note, values, update, work))
        self.team.round(values, partial(self._update, state, buffer, float(rates[min(n_updates, len(rates)) - 1])))
        if self.loss.reduction == "sum":
            return float(values[:-1].sum())
        rows = [min(size, len(visits) - start) for start in range(0, len(visits), size)]
        return float(sum(value * n for value, n in zip(values[:-1].tolist(), rows, strict=True))) / len(visits)

    def _shares(
        self,
        data: tuple[Array, Array, Array | None],
        visits: NDArray[np.int64],
        places: NDArray[np.int64],
        cuts: NDArray[np.int64],
        size: int,
    ) -> list[float]:
        """Return what the loss of this rank's samples counts for in that of each batch."""
        n_updates, weight = len(cuts) - 1, data[2]
        whole = np.minimum(size, len(visits) - np.arange(n_updates) * size).astype(np.float64)
        own = np.diff(cuts).astype(np.float64)
        if self.loss.reduction == "mean" and self.loss.by_weight and weight is not None:
            heavy = self.backend.to_numpy(weight)[visits[places] - self.team.first]
            own = np.array([heavy[a:b].sum(dtype="float64") for a, b in pairwise(cuts)])
        if self.loss.reduction == "mean" and self.loss.by_weight:
            summed = np.append(own, 0.0)
            self.team.round(summed, lambda: None)
            whole = summed[:-1]
        return [self.share(*pair) for pair in zip(own.tolist(), whole.tolist(), strict=True)]

    def _note(self, values: NDArray[np.float64], update: int, work: Callable[[], float]) -> None:
        values[update] = work()

    def _work(
        self,
        state: State,
        data: tuple[Array, Array, Array | None],
        visits: NDArray[np.int64],
        own: NDArray[np.int64],
        start: int,
        share: float,
        buffer: FloatArray,
        rate: float | None,
    ) -> float:
        """Make the update of the last batch; write this rank's part of the next gradient; return that of the loss.

        Parameters
        ----------
        own : int array
            The places of this rank's samples among the visits of the epoch, of which the batch begins at ``start``.
        """
        if rate is not None:
            self._update(state, buffer, rate)
        if not len(own):
            buffer[...] = 0.0
            return 0.0
        rows = visits[own] - self.team.first
        part = replace(state, rows=self.backend.asarray(own - start)) if self._drops else state
        if self._held is None:
            batch = tuple(None if array is None else self._rows(array, rows) for array in data)
        else:
            batch = self._held.take(self._host.kernels, data, rows)
            if self.loss.reduction == "mean" and not self.loss.by_weight:
                share *= len(batch[0]) / len(rows)  # It is a mean over the idle rows, too.
        value = float(self.inner.gradient(part, *batch))
        buffer[:-1] = self.backend.to_numpy(state.gradients)
        if share != 1.0:
            buffer *= share
        return value * share

    def _rows(self, part: Array, rows: NDArray[np.int64]) -> Array:
        return self.backend.asarray(part[rows if isinstance(part, np.ndarray) else self.backend.asarray(rows)])

    def _update(self, state: State, buffer: FloatArray, rate: float) -> None:
        state.gradients[...] = self.backend.asarray(buffer[:-1])
        self._updates.update(state, rate)
