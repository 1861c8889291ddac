"""L-BFGS: directions from the last steps and the changes of the gradient along them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, FloatArray, Members, State, on_backend
from tinynet.backends.second_order.whole import WholePlan
from tinynet.backends.second_order.wolfe import Point, strong_wolfe
from tinynet.program import Program

Float64 = NDArray[np.float64]

STOP, COUNT, FIRST = range(3)
"""Rows of ``state.moments``: the reason to stop, how many pairs are kept, and where the pairs begin, newest first."""


class Known(NamedTuple):
    """The loss and its gradient at some parameters."""

    parameters: Float64
    loss: float
    gradient: Float64


class LBFGSPlan(WholePlan):
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with a strong Wolfe line search.

    A step most often takes one gradient, as that where the last step has ended is still known.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "LBFGS")
        self._memory = int(self.setting("memory"))
        self._known: Known | None = None
        self.description = f"L-BFGS: {self._memory} pairs, gradients {self.gradients.description}"

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
    ) -> Float64:
        """Make steps; see ``WholePlan.run``."""
        self._known = None  # The data may have changed since the last call.
        return super().run(state, x, y, order, learning_rates, sample_weight, members)

    def step(self, state: State, x: Array, y: Array, weight: Array | None) -> float | None:
        """Make one step; see ``WholePlan.step``."""

        def known_at(parameters: Float64) -> Known:
            self._put(state, parameters)
            loss = float(self.gradients.gradient(state, x, y, weight))
            return Known(parameters, loss, self._held(state.gradients))

        before = self._held(state.parameters)
        start = known_at(before) if self._known is None else self._known._replace(parameters=before)
        if not math.isfinite(start.loss) or not np.isfinite(start.gradient).all():
            return math.nan
        if not np.abs(start.gradient).max() > self.setting("min_gradient"):
            self.stop(state, "gradient")
            return None
        while True:
            end = self._searched(known_at, start, self._direction(state, start.gradient))
            if end is not None or not int(state.moments[COUNT, 0]):
                break
            state.moments[COUNT, 0] = 0  # The next direction is the steepest.
        if end is None:
            self._put(state, before)
            self.stop(state, "line search")
            return None
        self._known = end
        self._remember(state, end.parameters - before, end.gradient - start.gradient)
        return end.loss

    @staticmethod
    def _searched(known_at: Callable[[Float64], Known], start: Known, direction: Float64) -> Known | None:
        """Return what is known where a line search ends, the last point that it looked at; None where it finds none."""
        end = start

        def at(length: float) -> Point:
            nonlocal end
            end = known_at(start.parameters + length * direction)
            return Point(length, end.loss, float(end.gradient @ direction))

        slope = float(start.gradient @ direction)
        return None if strong_wolfe(at, Point(0.0, start.loss, slope)) is None else end

    def _held(self, flat: Array) -> Float64:
        """Return what is trained of a flat vector of the state, in host memory and float64."""
        held: Float64 = np.asarray(self.backend.to_numpy(flat))[self.trained].astype(np.float64)
        return held

    def _put(self, state: State, parameters: Float64) -> None:
        """Let the model have other parameters."""
        state.parameters[self.trained] = self.backend.asarray(parameters.astype(self.program.dtype))

    def _direction(self, state: State, gradient: Float64) -> Float64:
        """Return where to go: the two-loop recursion (algorithm 7.4, with the first matrix of equation 7.20).

        What the loops subtract from each other, pair after pair, are the two triangular systems solved here.
        """
        n = int(state.moments[COUNT, 0])
        if n == 0:
            return -gradient * min(1.0, 1.0 / float(np.abs(gradient).sum()))
        from scipy.linalg.lapack import dtrtrs

        pairs = np.asarray(self.backend.to_numpy(state.moments[FIRST : FIRST + 2 * n]), np.float64)
        steps, changes = pairs[::2], pairs[1::2]
        # The newest comes first: those before it are on the left of the diagonal.
        products = steps @ changes.T
        curvatures = products.diagonal()
        weights = dtrtrs(products, steps @ gradient, lower=1)[0]
        q = curvatures[0] / (changes[0] @ changes[0]) * (gradient - weights @ changes)
        corrections = dtrtrs(products, curvatures * weights - changes @ q, lower=1, trans=1)[0]
        direction: Float64 = -q - corrections @ steps
        return direction

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
