"""MembersPlan: the models of an ensemble one after the other, each by the plan of a single model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.helpers import Helpers

from tinynet.backends.base import (
    Array,
    Backend,
    FloatArray,
    Granularity,
    Members,
    Plan,
    State,
    on_backend,
    own_steps,
    own_weight,
)
from tinynet.base import config
from tinynet.base.kept import Kept
from tinynet.program import Program

KEPT_PLANS = 256
"""Plans that are kept, of all workers, for models whose settings differ; each has scratch of its own."""


class MembersPlan(Plan):
    """Run an ensemble model by model, on several threads where the plan of a model leaves Python for long.

    Parameters
    ----------
    program : Program
        Of an ensemble.
    backend : Backend
    granularity : {"epoch", "step"}
    why : str
        Why no quicker plan is used, if there is a reason of its own; becomes part of ``description``.
    """

    def __init__(self, program: Program, backend: Backend, granularity: Granularity, why: str = "") -> None:
        self.program, self.backend, self.granularity = program, backend, granularity
        self._plans: Kept[Plan] = Kept(KEPT_PLANS)
        one = self._plan(0, 0).description
        self.description = f"model by model{why and f' ({why})'}: {one}"

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
        chosen, to_numpy = state.chosen(members), self.backend.to_numpy
        losses = np.empty((len(learning_rates), len(chosen)))

        def train(worker: int, position: int) -> None:
            i = int(chosen[position])
            own_order, own_rates = own_steps(order, learning_rates, position)
            if own_order is not None:
                # Rows that lie in host memory are gathered there.
                here = isinstance(x, np.ndarray)
                own_order = np.ascontiguousarray(to_numpy(own_order)) if here else self.backend.asarray(own_order)
            one = self._state(state, i, trains=True)
            plan = self._plan(worker, int(state.numbers(i)))
            weight, rates = own_weight(sample_weight, i), np.ascontiguousarray(own_rates)
            found = plan.run(one, x, y, own_order, rates, weight)[:, 0]
            losses[: len(found), position], losses[len(found) :, position] = found, np.nan
            state.moments[:, i] = one.moments
            state.step[i], state.draws[i] = one.step, one.draws

        self._each(len(chosen), train)
        return losses

    @on_backend
    def stopped(self, state: State, members: Members) -> NDArray[np.bool_]:
        """Tell of which models the optimizer has stopped by itself."""
        found = np.zeros(len(members), bool)
        for position, i in enumerate(members.tolist()):
            one = self._state(state, i, trains=True)
            found[position] = bool(self._plan(0, int(state.numbers(i))).stop_reason(one))
        return found

    @on_backend
    def resume(self, state: State) -> None:
        """Let optimizers that have stopped by themselves begin again."""
        for i in range(len(state.parameters)):
            one = self._state(state, i, trains=True)
            self._plan(0, int(state.numbers(i))).resume(one)
            state.moments[:, i] = one.moments

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        chosen = state.chosen(members)
        finite = np.empty(len(chosen), bool)

        def predict(worker: int, position: int) -> None:
            i = int(chosen[position])
            plan = self._plan(worker, int(state.numbers(i)))
            finite[position] = plan.predict(self._state(state, i), x, out[position])

        self._each(len(chosen), predict)
        return bool(finite.all())

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict: there is none for many models; see ``Plan.predictor``."""
        return lambda x: None

    @on_backend
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """Return the loss of each model and fill ``state.gradients``; see ``Plan.gradient``."""
        return self._values("gradient", state, x, y, sample_weight, None)

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        return self._values("evaluate", state, x, y, sample_weight, members)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _values(
        self, name: str, state: State, x: Array, y: Array, weight: Array | None, members: Members | None
    ) -> NDArray[np.float64]:
        chosen = state.chosen(members)
        values = np.empty(len(chosen))

        def compute(worker: int, position: int) -> None:
            i = int(chosen[position])
            plan = self._plan(worker, int(state.numbers(i)))
            values[position] = getattr(plan, name)(self._state(state, i), x, y, own_weight(weight, i))

        self._each(len(chosen), compute)
        return values

    def _state(self, state: State, i: int, *, trains: bool = False) -> State:
        """Return the state of one model: views, but for the moments, which do not lie together."""
        moments = state.moments[:, i].copy() if trains else state.moments[:0]
        return State(
            parameters=state.parameters[i],
            gradients=state.gradients[i],
            moments=moments,
            buffers=state.buffers[i],
            step=int(state.step[i]),
            draws=int(state.draws[i]),
            dropout_seed=int(state.dropout_seed[i]),
        )

    def _plan(self, worker: int, i: int) -> Plan:
        """Return a worker's plan for a model; most often all models have the same."""
        program = self.program.member(i)
        return self._plans.made((worker, program), lambda: self.backend.plan(program, granularity=self.granularity))

    @cached_property
    def _threaded(self) -> bool:
        return self._plan(0, 0).description.startswith("fused")

    def _each(self, n: int, work: Callable[[int, int], None]) -> None:
        """Do some work for every model; what a model gets does not depend on the number of threads."""
        n_threads = min(config.threads(), n) if self._threaded else 1
        if n_threads <= 1:
            # Where models may share the threads, each has one for its products, also the last that is left.
            with self.backend.using_threads(1 if self._threaded else None):
                for position in range(n):
                    work(0, position)
            return
        shares = _Shares(n)

        following = self.backend.following()

        def take(worker: int) -> None:
            with config.use_threads(1):
                for position in shares:
                    work(worker, position)

        def follow(worker: int) -> None:
            with following():
                take(worker)

        with self.backend.using_threads(1), Helpers() as helpers:
            worker = 1
            while worker < n_threads and helpers.start(follow, worker):
                worker += 1
            take(0)


class _Shares:
    """Numbers that several threads take from, one at a time: ``next`` of a range is atomic."""

    def __init__(self, n: int) -> None:
        self._numbers = iter(range(n))

    def __iter__(self) -> Iterator[int]:
        return self._numbers
