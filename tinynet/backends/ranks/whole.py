"""WholeRanksPlan: optimizers whose steps take all samples. The first rank decides, and all of them compute for it.

Two processors may round a solution differently, and then one takes a step that the other takes back: so there is one
who solves, searches and compares, and what it asks of all samples it asks of all ranks, by name.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, FloatArray, Members, State, on_backend
from tinynet.backends.ranks.divided import Divided
from tinynet.backends.ranks.plan import Summed
from tinynet.backends.second_order.equations import Data, Equations, Float64, HostMatrices, Models
from tinynet.backends.second_order.levenberg import LevenbergMarquardtPlan
from tinynet.backends.second_order.whole import WholePlan
from tinynet.program import Program

DONE, FAILED = "done", "failed"
"""What the first rank says when it asks for nothing more."""


@dataclass
class Part:
    """A part of the samples, what it counts for among all, and the equations that read it."""

    data: tuple[Array, Array, Array | None]
    share: float
    equations: Equations | None
    prepared: Data | None = None


@dataclass
class Held:
    """What a rank computes on during a call of ``run``: its parts of so many samples."""

    state: State
    parts: list[Part]
    n_samples: int


class WholeRanksPlan(Summed):
    """Levenberg-Marquardt, Bayesian regularisation and L-BFGS on sums over the samples of all ranks."""

    def __init__(self, program: Program, backend: Backend, team: Divided) -> None:
        whole = backend.plan(program)
        assert isinstance(whole, WholePlan)
        super().__init__(program, backend, team, whole)
        self.whole, self.figure_names = whole, whole.figure_names
        self._held: Held | None = None
        self._equations: dict[int, Equations] = {}
        self._own: Equations | None = None
        self._gradients = whole.gradients
        whole.gradients = SummedGradients(self)
        if isinstance(whole, LevenbergMarquardtPlan):
            self._own = whole.equations
            whole.equations = SummedEquations(self, whole.equations.description)
        self._answers: dict[str, Callable[..., Float64]] = {
            "gradient": self._gradient,
            "sums": self._sums,
            "values": self._values,
            "second derivative": self._second_derivative,
        }

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
        """Make steps on the samples of all ranks; see ``WholePlan.run``."""
        data = x, y, sample_weight
        self.team.agree()
        n_samples = self.team.total
        parts = [self._part(data, start, stop, n_samples) for start, stop in pairwise(self.team.cuts)]
        self._held = Held(state, parts, n_samples)
        try:
            if self.team.rank:
                return self._serve(state)
            return self._lead(state, data, learning_rates)
        finally:
            self._held = None

    def _part(self, data: tuple[Array, Array, Array | None], start: int, stop: int, n_samples: int) -> Part:
        x, y, weight = data
        cut = x[start:stop], y[start:stop], None if weight is None else weight[start:stop]
        # They prepare for a number of samples, and parts have one of two.
        equations = self._own and self._equations.setdefault(stop - start, copy(self._own))
        return Part(cut, self.share(stop - start, n_samples), equations)

    def _lead(self, state: State, data: tuple[Array, Array, Array | None], rates: FloatArray) -> NDArray[np.float64]:
        """Run the optimizer, and tell the others where it has come to."""
        x, y, weight = data
        try:
            losses = self.whole.run(state, x, y, None, rates, weight)
        except BaseException:
            if not self.team.told:
                self.team.shared((FAILED, None))
            raise
        host = self.backend.to_numpy
        self.team.shared((DONE, (losses, host(state.parameters), host(state.moments), state.step)))
        return losses

    def _serve(self, state: State) -> NDArray[np.float64]:
        """Compute what the first rank asks for, until it is through; then be where it is."""
        while True:
            name, given = self.team.shared(None)
            if name == DONE:
                losses, parameters, moments, state.step = given
                state.parameters[...] = self.backend.asarray(parameters)
                state.moments[...] = self.backend.asarray(moments)
                return losses  # type: ignore[no-any-return]
            if name == FAILED:
                self.team.agree()
            self._summed(name, given)

    # -- what is asked of all ----------------------------------------------------------------------------------------

    def ask(self, name: str, *given: Any) -> Float64:
        """Return, on the first rank, the sum of what all ranks answer."""
        self.team.shared((name, given))
        return self._summed(name, given)

    def _summed(self, name: str, given: tuple[Any, ...]) -> Float64:
        # How large the answer is must be known where it cannot be found, so that the sum can tell of that.
        out = np.zeros((len(self.held.parts), self._size(name, *given) + 1))

        def work() -> None:
            for row, part in zip(out, self.held.parts, strict=True):
                row[:-1] = self._answers[name](part, *given) * part.share

        total: Float64 = self.team.round(out, work)[:-1]
        return total

    @property
    def held(self) -> Held:
        """What is computed on in this call."""
        assert self._held is not None
        return self._held

    def _size(self, name: str, *given: Any) -> int:
        n, m = self.program.n_trained, len(given[0].parameters) if isinstance(given[0], Models) else 1
        if name == "gradient":
            return 1 + self.program.n_parameters
        return {"sums": m * (1 + n + n * (n + 1) // 2), "values": m, "second derivative": n}[name]

    def _gradient(self, part: Part, parameters: Float64) -> Float64:
        state = self.held.state
        state.parameters[...] = self.backend.asarray(parameters)
        loss = float(self._gradients.gradient(state, *part.data))
        return np.concatenate([[loss], self.backend.to_numpy(state.gradients)])

    def _sums(self, part: Part, models: Models) -> Float64:
        equations, data = _prepared(part)
        losses, gradients, matrices = equations.sums(models, data)
        # Generated code writes no more of a matrix than the triangle above its diagonal.
        upper = self.backend.to_numpy(matrices)[:, *np.triu_indices(self.program.n_trained)]
        return np.concatenate([losses, gradients.ravel(), upper.ravel()])

    def _values(self, part: Part, models: Models) -> Float64:
        equations, data = _prepared(part)
        return equations.values(models, data)

    def _second_derivative(self, part: Part, models: Models, i: int, direction: Float64) -> Float64:
        equations, data = _prepared(part)
        return equations.second_derivative(models, i, direction, data)

    # -- the optimizer's own -----------------------------------------------------------------------------------------

    def stop_reason(self, state: State) -> str:
        """Return why the optimizer makes no more steps; see ``Plan.stop_reason``."""
        return self.whole.stop_reason(state)

    def resume(self, state: State) -> None:
        """Let an optimizer that has stopped by itself begin again."""
        self.whole.resume(state)

    def figures(self, state: State) -> dict[str, float]:
        """Return what an optimizer tells of the last epoch, by name."""
        return self.whole.figures(state)


def _prepared(part: Part) -> tuple[Equations, Data]:
    """Return the equations of a part, and its data as they read them."""
    assert part.equations is not None
    if part.prepared is None:
        part.prepared = part.equations.prepare(*part.data)
    return part.equations, part.prepared


class SummedGradients:
    """Asks all ranks for the gradient of the loss of all samples."""

    def __init__(self, plan: WholeRanksPlan) -> None:
        self._plan, self.description = plan, plan.whole.gradients.description

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        backend = self._plan.backend
        found = self._plan.ask("gradient", np.array(backend.to_numpy(state.parameters)))
        state.gradients[...] = backend.asarray(found[1:].astype(self._plan.program.dtype))
        return float(found[0])


class SummedEquations(HostMatrices):
    """Asks all ranks for the sums over all samples; what they lead to is the first rank's own to find."""

    def __init__(self, plan: WholeRanksPlan, description: str) -> None:
        super().__init__(plan.program)
        self._plan, self.description = plan, description

    def prepare(self, x: Array, y: Array, weight: Array | None) -> Data:
        """Return the data of this rank, and how many samples all ranks have."""
        return Data(x, y, weight, whole=self._plan.held.n_samples)

    def sums(self, models: Models, data: Data) -> tuple[Float64, Float64, Any]:
        """See ``Equations.sums``."""
        m, n = len(models.parameters), self.program.n_trained
        losses, gradients, upper = np.split(self._plan.ask("sums", models), [m, m + m * n])
        matrices, (rows, columns) = np.empty((m, n, n)), np.triu_indices(n)
        matrices[:, rows, columns] = matrices[:, columns, rows] = upper.reshape(m, -1)
        return losses, gradients.reshape(m, n), matrices

    def values(self, models: Models, data: Data) -> Float64:
        """See ``Equations.values``."""
        return self._plan.ask("values", models)

    def second_derivative(self, models: Models, i: int, direction: Float64, data: Data) -> Float64:
        """See ``Equations.second_derivative``."""
        return self._plan.ask("second derivative", models, i, direction)
