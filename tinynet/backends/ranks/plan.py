"""RanksPlan: updates from gradients that are summed over ranks, each of which has samples of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.loop import LoopPlan
from tinynet.backends.ranks.divided import Divided
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
    team : Divided
    inner : Plan
        It computes what this rank has to.
    """

    def __init__(self, program: Program, backend: Backend, team: Divided, inner: Plan) -> None:
        assert program.loss is not None
        assert not program.loss.by_weight, "only the estimators' loss has that, and they train alone"
        self.program, self.backend, self.team, self.inner = program, backend, team, inner
        self.loss: LossSpec = program.loss
        self.description = f"{team.description}: {inner.description}"

    def share(self, rows: int, all_rows: int) -> float:
        """Return what the loss of some samples counts for in that of all: their share of a mean, or all of a sum."""
        return rows / all_rows if self.loss.reduction == "mean" else 1.0

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over the samples of all ranks; see ``Plan.evaluate``."""
        self.team.agree()
        cuts = list(pairwise(self.team.cuts_of(len(x))))
        found = np.zeros((len(cuts), 3))

        def work() -> None:
            for row, (start, stop) in zip(found, cuts, strict=True):
                weight = None if sample_weight is None else sample_weight[start:stop]
                value = float(self.inner.evaluate(state, x[start:stop], y[start:stop], weight))
                row[:2] = value * (stop - start) if self.loss.reduction == "mean" else value, stop - start

        total = self.team.round(found, work)
        return float(total[0] / total[1]) if self.loss.reduction == "mean" else float(total[0])

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the network's output for the samples of this rank; see ``Plan.predict``."""
        return self.inner.predict(state, x, out, members)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        return self.inner.predictor(state)

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss of the samples of this rank and its gradient; see ``Plan.gradient``."""
        return self.inner.gradient(state, x, y, sample_weight)


class Part(NamedTuple):
    """What a part of the samples has of an epoch.

    Attributes
    ----------
    samples : int array
        Its samples, by their numbers among those of its rank, in the order of their use.
    places : int array
        Where they stand among the visits of the epoch.
    cuts : (n_updates + 1,) int array
        Where those of each batch begin.
    """

    samples: NDArray[np.int64]
    places: NDArray[np.int64]
    cuts: NDArray[np.int64]


class Epoch(NamedTuple):
    """What a rank has of an epoch.

    Attributes
    ----------
    parts : list of Part
        Those of the rank.
    starts, rows : (n_updates,) int arrays
        Of the batches, with the samples of all ranks: where they begin, and how large they are.
    """

    parts: list[Part]
    starts: NDArray[np.int64]
    rows: NDArray[np.int64]


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

    The order in which ``run`` is told to take the samples counts those of all ranks, and is the same on each. A part
    that has none in a batch adds zeros. The gradients are summed in the model's dtype, once for each update, and all
    ranks make the same update from them. Those of GPUs that NCCL can join stay there.
    """

    def __init__(self, program: Program, backend: Backend, team: Divided) -> None:
        self._host = get_backend("numpy") if backend.namespace is np else backend
        alone = replace(program, optimizer=None, batch_size=None)
        # The generated code draws masks by the place of a sample in what it is given, which is a part of the batch.
        self._drops = any(isinstance(op, DropoutOp) for op in all_ops(program.ops))
        inner = LoopPlan(alone, backend, "dropout on a part of a batch") if self._drops else backend.plan(alone)
        super().__init__(program, backend, team, inner)
        hindered = team.meet(backend)
        self._joined = not hindered
        if backend.namespace is not np:
            how = f"through host memory ({hindered})" if hindered else "on the GPUs by NCCL"
            self.description = f"{team.description}, gradients {how}: {inner.description}"
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
        data = x, y, sample_weight
        # All that may fail on one rank alone comes before the roll call, or within a round.
        epochs = [self._divided(visits) for visits in order]
        shape, dtype = (len(self.team.cuts) - 1, self.program.n_parameters + 1), self.program.dtype
        gradients = state.gradients if self._joined else np.zeros(shape, dtype)
        self.team.agree()
        self._take_over(state)
        losses = [
            self._epoch(state, data, one, gradients, rates) for one, rates in zip(epochs, learning_rates, strict=True)
        ]
        return np.array(losses)[:, np.newaxis]

    def _divided(self, visits: NDArray[np.int64]) -> Epoch:
        """Return what this rank has of an epoch."""
        size, own = self.program.batch_size or len(visits), visits - self.team.first
        starts, parts = np.arange(0, len(visits), size), []
        for low, high in pairwise(self.team.cuts):
            places = np.flatnonzero((own >= low) & (own < high))
            cuts = np.append(np.searchsorted(places, starts), len(places))
            parts.append(Part(own[places], places, cuts))
        return Epoch(parts, starts, np.minimum(size, len(visits) - starts))

    def _take_over(self, state: State) -> None:
        """Let the parameters be those of the first rank: other processors may have rounded otherwise."""
        host = np.array(self.backend.to_numpy(state.parameters))
        self.team.share([host])
        state.parameters[...] = self.backend.asarray(host)

    def _epoch(
        self,
        state: State,
        data: tuple[Array, Array, Array | None],
        epoch: Epoch,
        gradients: Array,
        rates: FloatArray,
    ) -> float:
        """Run an epoch; return its loss. ``gradients`` has a row for each part."""
        values = np.zeros((len(epoch.parts), len(epoch.rows) + 1))
        following: Callable[[], None] = _nothing
        for update in range(len(epoch.rows)):
            # What follows a sum, and may fail on one rank alone, belongs to the work of the next one.
            work = partial(self._work, following, state, data, epoch, update, gradients, values)
            total = self.team.round(gradients, work)
            following = partial(self._update, state, total, float(rates[min(update, len(rates) - 1)]))
        found = self.team.round(values, following)[:-1]
        if self.loss.reduction == "sum":
            return float(found.sum())
        return float(sum((found * epoch.rows).tolist())) / int(epoch.rows.sum())

    def _work(
        self,
        following: Callable[[], None],
        state: State,
        data: tuple[Array, Array, Array | None],
        epoch: Epoch,
        update: int,
        gradients: Array,
        values: NDArray[np.float64],
    ) -> None:
        """Make the update of the last batch; write what the parts of this rank give to the next loss and gradient."""
        following()
        for i, part in enumerate(epoch.parts):
            row = gradients if self._joined else gradients[i]
            own = slice(*part.cuts[update : update + 2])
            if own.start == own.stop:
                row[...] = 0.0
                continue
            places = part.places[own] - epoch.starts[update]
            value, n_rows = self._gradient(state, data, part.samples[own], places)
            if not self._joined:
                row[:-1] = self.backend.to_numpy(state.gradients)
            share = self.share(n_rows, epoch.rows[update])
            if share != 1.0:
                row *= share
            values[i, update] = value * share

    def _gradient(
        self,
        state: State,
        data: tuple[Array, Array, Array | None],
        rows: NDArray[np.int64],
        places: NDArray[np.int64],
    ) -> tuple[float, int]:
        """Return the loss of some rows, and over how many it is a mean, idle ones included; fill in the gradient."""
        if self._drops:
            state = replace(state, rows=self.backend.asarray(places))
        batch: tuple[Any, ...]
        if self._held is None:
            batch = tuple(None if array is None else self._rows(array, rows) for array in data)
        else:
            batch = self._held.take(self._host.kernels, data, rows)
        return float(self.inner.gradient(state, *batch)), len(batch[0])

    def _rows(self, part: Array, rows: NDArray[np.int64]) -> Array:
        return self.backend.asarray(part[rows if isinstance(part, np.ndarray) else self.backend.asarray(rows)])

    def _update(self, state: State, total: Array, rate: float) -> None:
        if not self._joined:
            state.gradients[...] = self.backend.asarray(total[:-1])
        self._updates.update(state, rate)


def _nothing() -> None:
    """Do what comes before the first batch."""
