"""Levenberg-Marquardt, and Bayesian regularisation on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tinynet_kernels.reference.curvature import CURVED

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.chain import Bound
from tinynet.backends.second_order.normal import Float64, NormalEquations
from tinynet.backends.second_order.whole import WholePlan
from tinynet.program import CustomOp, Program

MOST_PARAMETERS = 5000
"""The normal matrix of so many takes 200 MB, and a step some seconds."""

ACCELERATION_RATIO = 0.75
"""Most that the second-order part of a step may be of it (Transtrum and Sethna 2012, equation 15)."""

STOP, DAMPING, DECAY, EFFECTIVE = range(4)
"""Rows of ``state.moments``, of which the first element counts."""


class LevenbergMarquardtPlan(WholePlan):
    """Gauss-Newton steps, damped until they help (Levenberg 1944, Marquardt 1963; Hagan and Menhaj 1994).

    ``(J'HJ + damping D) step = gradient``; a step that makes the loss smaller is taken and the damping made smaller,
    one that does not is taken back and the damping made larger.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "LevenbergMarquardt")
        self._check()
        self.equations = NormalEquations(program, self._loop.backend)
        self.description = f"Levenberg-Marquardt: normal equations in blocks of {self.equations.block} samples"
        self._scaled = bool(self.settings.get("marquardt"))
        self._bayesian = self.optimizer.kind == "bayesian_regularization"
        if self._bayesian:
            self.figure_names = ("effective_parameters",)

    def _check(self) -> None:
        loss, n = self.program.loss, self.program.n_trained
        assert loss is not None
        if loss.custom is not None or loss.kind not in CURVED:
            raise ValueError(
                "LevenbergMarquardt expects a loss that is convex in the predictions and smooth (mse, huber, "
                "bce of a Sigmoid or of logits, cross_entropy, poisson); got another. Use tn.LBFGS for this one."
            )
        if self.optimizer.kind == "bayesian_regularization" and loss.kind != "mse":
            raise ValueError(
                "BayesianRegularization weighs squared errors against squared weights: it expects loss='mse'. "
                "Use LevenbergMarquardt(weight_decay=...) with other losses."
            )
        for op in self.program.ops:
            if isinstance(op, CustomOp) and op.shapes:
                raise ValueError(
                    f"LevenbergMarquardt expects layers whose derivatives it knows for each sample; got "
                    f"{type(op.layer).__name__}, which is written in Python and has parameters. Use tn.LBFGS."
                )
        if n > MOST_PARAMETERS:
            raise ValueError(
                f"LevenbergMarquardt solves for all parameters at once, and expects at most {MOST_PARAMETERS:,}; this "
                f"network has {n:,}. Use tn.LBFGS, which needs no matrix."
            )

    def step(self, state: State, x: Array, y: Array, weight: Array | None) -> float | None:
        """Make one step; see ``WholePlan.step``."""
        equations, settings = self.equations, self.settings
        bound = equations.bind(state)
        loss, gradient = equations.sum(bound, x, y, weight)
        if not np.isfinite(loss) or not np.isfinite(gradient).all():
            return float("nan")
        before = self._held(state)
        if self._bayesian:
            self._weigh_evidence(state, loss, before, len(x))
        decay = self._decay(state, x, weight)
        gradient += decay * before
        matrix = equations.matrix
        matrix.flat[:: len(matrix) + 1] += decay
        if not np.abs(gradient).max() > settings["min_gradient"]:
            self.stop(state, "gradient")
            return None
        if state.step == 0 or not state.moments[DAMPING, 0]:
            state.moments[DAMPING, 0] = settings["damping"]
        damping = float(state.moments[DAMPING, 0])
        worth = loss + 0.5 * float(decay @ np.square(before))
        scale = np.maximum(np.diagonal(matrix), 1e-12) if self._scaled else np.ones(len(matrix))
        while damping <= settings["max_damping"]:
            found = self._direction(bound, (x, y, weight), before, gradient, damping * scale)
            if found is not None:
                state.parameters[self.trained] = before - found
                value = equations.value(bound, x, y, weight)
                held = self._held(state)
                if value + 0.5 * float(decay @ np.square(held)) < worth:
                    # Never so small that it could not grow again.
                    state.moments[DAMPING, 0] = max(damping * settings["decrease"], 1e-20)
                    return value + self._penalty(state, x, weight)
            damping *= settings["increase"]
        state.parameters[self.trained] = before
        state.moments[DAMPING, 0] = damping
        self.stop(state, "damping")
        return None

    def _held(self, state: State) -> Float64:
        """Return the trained parameters, in float64."""
        held: Float64 = state.parameters[self.trained].astype(np.float64)
        return held

    # -- parts -------------------------------------------------------------------------------------------------------

    def _direction(
        self, bound: Bound, data: tuple[Any, ...], before: Float64, gradient: Float64, diagonal: Float64
    ) -> Float64 | None:
        """Return the damped step, to be subtracted, or None where the matrix is not positive definite."""
        from scipy.linalg import lapack

        damped = self.equations.matrix.copy()
        damped.flat[:: len(damped) + 1] += diagonal
        factor, failed = lapack.dpotrf(damped, lower=1, overwrite_a=1)
        if failed:
            return None
        step: Float64 = lapack.dpotrs(factor, gradient, lower=1)[0]
        if not self.settings.get("acceleration"):
            return step
        curved = self.equations.second_derivative(bound, before, -step, data)
        correction = 0.5 * lapack.dpotrs(factor, curved, lower=1)[0]
        if 2 * np.linalg.norm(correction) > ACCELERATION_RATIO * np.linalg.norm(step):
            return None
        accelerated: Float64 = step + correction
        return accelerated

    def _decay(self, state: State, x: Array, weight: Array | None) -> Float64:
        """Return half of what the square of each parameter is weighted by in what is minimised."""
        decay = np.full(self.program.n_trained, float(self.settings.get("weight_decay", 0.0)))
        if self._bayesian:
            decay += float(state.moments[DECAY, 0])
        return decay + self.equations.l2(x, weight)

    def _penalty(self, state: State, x: Array, weight: Array | None) -> float:
        """Return the part of the loss that is the estimators' L2 penalty."""
        return 0.5 * float(self.equations.l2(x, weight) @ np.square(self._held(state)))

    def _weigh_evidence(self, state: State, loss: float, parameters: Float64, n_samples: int) -> None:
        """Set the decay of the weights to what the evidence says (MacKay 1992; Foresee and Hagan 1997, step 3).

        In their letters: the number of effective parameters is ``gamma = N - 2 alpha tr(H^-1)``, and ``alpha = gamma /
        2 E_W``, ``beta = (n - gamma) / 2 E_D``; the decay is ``2 alpha / beta`` in units of the loss.
        """
        n_parameters, n_values = len(parameters), n_samples * self.program.n_out
        squares = float(parameters @ parameters)
        decay, matrix = float(state.moments[DECAY, 0]), self.equations.matrix
        effective = float(min(n_parameters, 0.9 * n_values))
        if decay > 0:
            damped = matrix.copy()
            damped.flat[:: n_parameters + 1] += decay
            effective = n_parameters - decay * float(np.trace(np.linalg.inv(damped)))
        effective = min(max(effective, 0.0), 0.999 * n_values)
        state.moments[DECAY, 0] = 2 * loss * effective / (max(squares, 1e-300) * (n_values - effective))
        state.moments[EFFECTIVE, 0] = effective

    def figures(self, state: State) -> dict[str, float]:
        """Return what the history shows of an epoch beside its loss."""
        return {name: float(state.moments[EFFECTIVE, 0]) for name in self.figure_names}
