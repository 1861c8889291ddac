"""MembersPlan: the models of an ensemble one after the other, each by the plan of a single model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet import config
from tinynet.backends.base import Array, Backend, FloatArray, Granularity, Plan, State
from tinynet.program import Program

KEPT_PLANS = 64
"""Plans that a worker keeps for models whose settings differ; each has scratch of its own."""


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
        self._plans: list[dict[Program, Plan]] = []
        one = self._plan(0, 0).description
        self.description = f"model by model{why and f' ({why})'}: {one}"

    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
    ) -> NDArray[np.float64]:
        """Train; see ``Plan.run``."""
        losses = np.empty((len(learning_rates), self._n_models))

        def train(worker: int, i: int) -> None:
            own_order = order[:, i] if order is not None and order.ndim == 3 else order
            own_rates = learning_rates[..., i] if learning_rates.ndim == 3 else learning_rates
            own_weight = sample_weight[i] if sample_weight is not None and sample_weight.ndim == 2 else sample_weight
            if own_order is not None:
                own_order = self.backend.asarray(own_order)
            one = self._state(state, i)
            plan = self._plan(worker, i)
            losses[:, i] = plan.run(one, x, y, own_order, np.ascontiguousarray(own_rates), own_weight)[:, 0]
            state.moments[:, i] = one.moments
            state.step[i], state.draws[i] = one.step, one.draws

        self._each(train)
        return losses

    def predict(self, state: State, x: Array, out: Array) -> bool:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        finite = np.empty(self._n_models, bool)

        def predict(worker: int, i: int) -> None:
            finite[i] = self._plan(worker, i).predict(self._state(state, i), x, out[i])

        self._each(predict)
        return bool(finite.all())

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict: there is none for many models; see ``Plan.predictor``."""
        return lambda x: None

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """Return the loss of each model and fill ``state.gradients``; see ``Plan.gradient``."""
        return self._values("gradient", state, x, y, sample_weight)

    def evaluate(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        return self._values("evaluate", state, x, y, sample_weight)

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def _n_models(self) -> int:
        assert self.program.n_models is not None
        return self.program.n_models

    def _values(self, name: str, state: State, x: Array, y: Array, weight: Array | None) -> NDArray[np.float64]:
        values = np.empty(self._n_models)

        def compute(worker: int, i: int) -> None:
            own_weight = weight[i] if weight is not None and weight.ndim == 2 else weight
            values[i] = getattr(self._plan(worker, i), name)(self._state(state, i), x, y, own_weight)

        self._each(compute)
        return values

    def _state(self, state: State, i: int) -> State:
        """Return the state of one model: views, but for the moments, which do not lie together."""
        return State(
            parameters=state.parameters[i],
            gradients=state.gradients[i],
            moments=state.moments[:, i].copy(),
            buffers=state.buffers[i],
            step=int(state.step[i]),
            draws=int(state.draws[i]),
            dropout_seed=int(state.dropout_seed[i]),
        )

    def _plan(self, worker: int, i: int) -> Plan:
        """Return a worker's plan for a model; most often all models have the same."""
        while len(self._plans) <= worker:
            self._plans.append({})
        plans, program = self._plans[worker], self.program.member(i)
        if program not in plans:
            if len(plans) >= KEPT_PLANS:
                plans.clear()
            plans[program] = self.backend.plan(program, granularity=self.granularity)
        return plans[program]

    @cached_property
    def _threaded(self) -> bool:
        return self._plan(0, 0).description.startswith("fused")

    def _each(self, work: Callable[[int, int], None]) -> None:
        """Do some work for every model; what a model gets does not depend on the number of threads."""
        n_threads = min(config.threads(), self._n_models) if self._threaded else 1
        if n_threads == 1:
            for i in range(self._n_models):
                work(0, i)
            return
        # Plans are made before the threads start: making one is not safe in two at once.
        self._plan(n_threads - 1, 0)
        with self.backend.using_threads(1), ThreadPoolExecutor(n_threads) as pool:
            shares = _Shares(self._n_models)

            def follow(worker: int) -> None:
                with config.use_threads(1):
                    for i in shares:
                        work(worker, i)

            for future in [pool.submit(follow, worker) for worker in range(n_threads)]:
                future.result()


class _Shares:
    """Numbers that several threads take from, one at a time: ``next`` of a range is atomic."""

    def __init__(self, n: int) -> None:
        self._numbers = iter(range(n))

    def __iter__(self) -> Iterator[int]:
        return self._numbers
