"""L-BFGS: directions from the last steps and the changes of the gradient along them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.second_order.whole import WholePlan
from tinynet.program import Program

Float64 = NDArray[np.float64]

STOP, COUNT, FIRST = range(3)
"""Rows of ``state.moments``: the reason to stop, how many pairs are kept, and where the pairs begin, newest first."""

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""Constants of the strong Wolfe conditions, as Nocedal and Wright choose them for quasi-Newton directions (page 62)."""


class LBFGSPlan(WholePlan):
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with a strong Wolfe line search.

    The line search is SciPy's, after algorithms 3.5 and 3.6 of the same book.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "LBFGS")
        self._memory = int(self.setting("memory"))
        self.description = f"L-BFGS: {self._memory} pairs, gradients {self.gradients.description}"

    def step(self, state: State, x: Array, y: Array, weight: Array | None) -> float | None:
        """Make one step; see ``WholePlan.step``."""
        before = self._held(state.parameters)

        def value_and_gradient(parameters: Float64) -> tuple[float, Float64]:
            if not np.array_equal(parameters, known[0]):
                self._put(state, parameters)
                loss = float(self.gradients.gradient(state, x, y, weight))
                known[:] = [parameters.copy(), loss, self._held(state.gradients)]
            return known[1], known[2]

        known: list[Any] = [None, math.nan, before]
        loss, gradient = value_and_gradient(before)
        if not np.isfinite(loss) or not np.isfinite(gradient).all():
            return math.nan
        if not np.abs(gradient).max() > self.setting("min_gradient"):
            self.stop(state, "gradient")
            return None
        while True:
            direction = self._direction(state, gradient)
            length = self._length(value_and_gradient, before, direction, loss, gradient)
            if length is not None or not int(state.moments[COUNT, 0]):
                break
            state.moments[COUNT, 0] = 0  # The next direction is the steepest.
        if length is None:
            self._put(state, before)
            self.stop(state, "line search")
            return None
        after = before + length * direction
        loss, changed = value_and_gradient(after)
        self._put(state, after)
        self._remember(state, after - before, changed - gradient)
        return loss

    def _held(self, flat: Array) -> Float64:
        """Return what is trained of a flat vector of the state, in host memory and float64."""
        held: Float64 = np.asarray(self.backend.to_numpy(flat))[self.trained].astype(np.float64)
        return held

    def _put(self, state: State, parameters: Float64) -> None:
        """Let the model have other parameters."""
        state.parameters[self.trained] = self.backend.asarray(parameters.astype(self.program.dtype))

    def _length(
        self, value_and_gradient: Any, before: Float64, direction: Float64, loss: float, gradient: Float64
    ) -> float | None:
        """Return how far to go, so that the strong Wolfe conditions hold; None where no such length is found."""
        from scipy.optimize import line_search

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That none was found is told by the result.
            found = line_search(
                lambda p: value_and_gradient(p)[0],
                lambda p: value_and_gradient(p)[1],
                before,
                direction,
                gradient,
                loss,
                c1=SUFFICIENT,
                c2=CURVATURE,
                maxiter=25,
            )
        return None if found[0] is None else float(found[0])

    def _direction(self, state: State, gradient: Float64) -> Float64:
        """Return where to go: the two-loop recursion (algorithm 7.4, with the first matrix of equation 7.20)."""
        n = int(state.moments[COUNT, 0])
        if n == 0:
            return -gradient * min(1.0, 1.0 / float(np.abs(gradient).sum()))
        pairs = np.asarray(self.backend.to_numpy(state.moments[FIRST : FIRST + 2 * n])).astype(np.float64)
        steps, changes = pairs[::2], pairs[1::2]
        curvatures = np.einsum("ij,ij->i", steps, changes)
        q, weights = gradient.copy(), np.empty(n)
        for i in range(n):
            weights[i] = steps[i] @ q / curvatures[i]
            q -= weights[i] * changes[i]
        q *= curvatures[0] / (changes[0] @ changes[0])
        for i in reversed(range(n)):
            q += (weights[i] - changes[i] @ q / curvatures[i]) * steps[i]
        return -q

    def _remember(self, state: State, step: Float64, change: Float64) -> None:
        """Keep the newest pair, unless it has no curvature, and forget the oldest."""
        # In the dtype in which they are kept: a product that is positive in float64 only would be one by 0 later.
        stored = np.array([step, change], self.program.dtype)
        kept = stored.astype(np.float64)
        if not kept[0] @ kept[1] > 1e-12 * math.sqrt((kept[0] @ kept[0]) * (kept[1] @ kept[1])):
            return
        pairs = state.moments[FIRST:]
        pairs[2:] = pairs[:-2].copy()
        pairs[:2] = self.backend.asarray(stored)
        state.moments[COUNT, 0] = min(self._memory, int(state.moments[COUNT, 0]) + 1)
