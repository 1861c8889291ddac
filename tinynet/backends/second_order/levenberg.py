"""Levenberg-Marquardt, and Bayesian regularisation on it, for one model or for many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.calls import MEASURED
from tinynet_kernels.descent import (
    FIRST_DECAY,
    LEAST_DAMPING,
    LEAST_SCALE,
    LEAST_SQUARES,
    MOST_CORRECTION,
    MOST_GROWTH,
    REASONS,
)
from tinynet_kernels.reference.curvature import CURVED

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, FloatArray, Members, State, on_backend
from tinynet.backends.second_order.equations import (
    Data,
    Equations,
    Float64,
    Models,
    ReferenceEquations,
    Standing,
)
from tinynet.backends.second_order.whole import WholePlan
from tinynet.program import CustomOp, LinearOp, Program

MOST_PARAMETERS = 5000
"""The normal matrix of so many takes 200 MB, and a step some seconds."""

NOTHING: Float64 = np.zeros((1, 1))
"""What the squares of the parameters are weighed by where nothing is: it is recognised, and then left out."""

STOP, DAMPING, DECAY, EFFECTIVE = range(4)
"""Rows of ``state.moments``, of which the first element counts."""


class LevenbergMarquardtPlan(WholePlan):
    """Gauss-Newton steps, damped until they help (Levenberg 1944, Marquardt 1963; Hagan and Menhaj 1994).

    ``(J'HJ + damping D) step = gradient``; a step that makes the loss smaller is taken and the damping made smaller,
    one that does not is taken back and the damping made larger. Every model of an ensemble has its own damping; what
    it gets does not depend on the others.
    """

    def __init__(self, program: Program, backend: Backend, equations: Equations | None = None) -> None:
        super().__init__(program, backend, "LevenbergMarquardt")
        self._check()
        self.equations = equations or ReferenceEquations(program, get_backend("numpy"))
        many = "" if program.n_models is None else ", models together"
        self.description = f"Levenberg-Marquardt: {self.equations.description}{many}"
        self._bayesian = self.optimizer.kind == "bayesian_regularization"
        if self._bayesian and program.n_models is None:
            self.figure_names = ("effective_parameters",)

    def _check(self) -> None:
        loss, n = self.program.loss, self.program.n_trained
        assert loss is not None
        if loss.slopes is not None:
            raise ValueError(
                "LevenbergMarquardt expects a loss of the predictions alone; got one of their slopes, too, whose "
                "curvature takes third derivatives. Use tn.LBFGS for this one."
            )
        if loss.kind.startswith(MEASURED):
            raise ValueError(
                "LevenbergMarquardt expects every target to be there: its equations are of all of them. Use tn.LBFGS, "
                "or leave missing_targets='ignore' and rows with NaN out."
            )
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
            if op.shapes and not isinstance(op, LinearOp):
                name = type(op.layer if isinstance(op, CustomOp) else op).__name__.removesuffix("Op")
                python = ", which is written in Python and has parameters" * isinstance(op, CustomOp)
                raise ValueError(
                    f"LevenbergMarquardt expects layers whose derivatives it knows for each sample, Linear among those "
                    f"with parameters; got {name}{python}. Use tn.LBFGS."
                )
        if n > MOST_PARAMETERS:
            raise ValueError(
                f"LevenbergMarquardt solves for all parameters at once, and expects at most {MOST_PARAMETERS:,}; this "
                f"network has {n:,}. Use tn.LBFGS, which needs no matrix."
            )

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
        """Make steps; see ``WholePlan.run``. Of an ensemble NaN stands where a model makes none."""
        self._refuse(order)
        n_epochs, n_trained = len(learning_rates), self.program.n_trained
        with self._users, self.backend.for_products(n_trained**2 * max(n_trained, len(x))):
            standing = self._standing(state, members)
            data = self.equations.prepare(x, y, sample_weight)
            n_models = len(standing.stop)
            losses = np.full((n_epochs, n_models), np.nan)
            counts = self.equations.descend(standing, self._l2(data, standing.models), data, losses)
            if counts is None:
                counts = self._descend(standing, data, losses)
            self._keep(state, standing, members, counts)
        return losses[: counts[0]] if self.program.n_models is None else losses

    # -- the state ---------------------------------------------------------------------------------------------------

    def _standing(self, state: State, members: Members | None) -> Standing:
        """Return where the models stand."""
        host, program = self.backend.to_numpy, self.program
        many = program.n_models is not None
        chosen = state.chosen(members) if many else np.zeros(1, np.int64)
        flat = {name: np.asarray(host(getattr(state, name))) for name in ("parameters", "buffers", "moments")}
        parameters, buffers = (
            np.atleast_2d(flat[name])[chosen].astype(np.float64) for name in ("parameters", "buffers")
        )
        numbers = state.numbers(chosen) if many else chosen
        settings = {
            name: np.asarray(value, np.float64)[numbers] if isinstance(value, tuple) else np.full(len(chosen), value)
            for name, value in self.optimizer.settings
        }
        moments = flat["moments"].reshape(len(flat["moments"]), -1, program.n_trained)[:, chosen, 0].astype(np.float64)
        begins = (np.atleast_1d(state.step)[chosen] == 0) | (moments[DAMPING] == 0)
        moments[DAMPING] = np.where(begins, settings["damping"], moments[DAMPING])
        stop, damping, weighed, effective = moments[:4]
        return Standing(
            Models(parameters, buffers, chosen), stop, damping, weighed, effective, settings, self._bayesian
        )

    def _keep(self, state: State, standing: Standing, members: Members | None, counts: NDArray[np.int64]) -> None:
        """Put where the models stand now into the state."""
        asarray, chosen = self.backend.asarray, standing.models.numbers
        dtype, moments = self.program.dtype, (standing.stop, standing.damping, standing.decay, standing.effective)
        if self.program.n_models is None:
            state.parameters[...] = asarray(standing.models.parameters[0].astype(dtype))
            for row, values in enumerate(moments):
                state.moments[row, 0] = values[0]
            state.step += int(counts[0])
            return
        state.parameters[chosen] = asarray(standing.models.parameters.astype(dtype))
        for row, values in enumerate(moments):
            state.moments[row, chosen, 0] = asarray(values.astype(dtype))
        state.step[chosen] += counts

    @on_backend
    def stopped(self, state: State, members: Members) -> NDArray[np.bool_]:
        """Tell of which models the optimizer has stopped by itself."""
        reasons: NDArray[Any] = np.asarray(self.backend.to_numpy(state.moments[STOP, :, 0]))
        found: NDArray[np.bool_] = reasons[members] != 0
        return found

    @on_backend
    def resume(self, state: State) -> None:
        """Forget why the last training ended."""
        state.moments[STOP] = 0

    def _descend(self, now: Standing, data: Data, losses: Float64) -> NDArray[np.int64]:
        """Make a step of each model for each row of losses, until it stops; return how many were made."""
        counts, most = np.zeros(len(now.stop), np.int64), self.equations.most_models
        for row in losses:
            going = np.flatnonzero(now.stop == 0)
            for first in range(0, len(going), most):
                self._step(now, going[first : first + most], data, row, counts)
            if not len(going):
                break
        return counts

    # -- a step ------------------------------------------------------------------------------------------------------

    def _step(
        self, now: Standing, going: NDArray[np.int64], data: Data, losses: Float64, counts: NDArray[np.int64]
    ) -> None:
        """Make a step of each of some models, and write its loss and count it; or note why there is none."""
        equations, every = self.equations, len(going) == len(now.stop)
        # For one small model the calls of NumPy are what costs time: what need not be copied or multiplied is not.
        models = now.models if every else now.models.chosen(going)
        settings = now.settings if every else {name: values[going] for name, values in now.settings.items()}
        loss, gradient, matrices = equations.sums(models, data)
        held = models.parameters[:, self.trained]
        finite = np.isfinite(loss) & np.isfinite(gradient).all(axis=1)
        counts[going[~finite]] += 1  # A step to nowhere: whoever reads the loss, which is NaN, ends this.
        decay = self._l2(data, models)
        if self._bayesian:
            self._weigh_evidence(now, going, finite, loss, held, matrices, data.n_samples)
            decay = decay + now.decay[going, np.newaxis]
        elif settings["weight_decay"].any():
            decay = decay + settings["weight_decay"][:, np.newaxis]
        if decay is not NOTHING:
            gradient += decay * held
        ended = finite & ~(np.abs(gradient).max(axis=1) > settings["min_gradient"])
        now.stop[going[ended]] = REASONS.index("gradient")
        worth = loss + _penalty(decay, held)
        scale = np.ones_like(held)
        if settings["marquardt"].any():
            own = np.maximum(equations.diagonals(matrices) + decay, LEAST_SCALE)
            scale = np.where(settings["marquardt"][:, np.newaxis] != 0, own, scale)
        pending = np.flatnonzero(finite & ~ended)
        damping = now.damping[going]
        while True:
            over = damping[pending] > settings["max_damping"][pending]
            now.stop[going[pending[over]]] = REASONS.index("damping")
            pending = pending[~over]
            if not len(pending):
                break
            # All of them, most often: then nothing need be copied.
            chosen: Any = slice(None) if len(pending) == len(going) else pending
            diagonals = damping[chosen, np.newaxis] * scale[chosen]
            if decay is not NOTHING:
                diagonals += _of(decay, chosen)
            steps = equations.solve(matrices, chosen, gradient[chosen], diagonals)
            if settings["acceleration"].any():
                steps = self._accelerated(models, pending, chosen, data, matrices, steps, diagonals, settings)
            trial = models.chosen(chosen)._replace(parameters=models.parameters[chosen].copy())
            trial.parameters[:, self.trained] = (held[chosen] - steps).astype(self.program.dtype)
            value, moved = equations.values(trial, data), trial.parameters[:, self.trained]
            better = value + _penalty(_of(decay, chosen), moved) < worth[chosen]
            taken = pending[better]
            now.models.parameters[going[taken]] = trial.parameters[better]
            losses[going[taken]] = (value + _penalty(self._l2(data, trial), moved))[better]
            # Never so small that it could not grow again.
            now.damping[going[taken]] = np.maximum(damping[taken] * settings["decrease"][taken], LEAST_DAMPING)
            counts[going[taken]] += 1
            pending = pending[~better]
            damping[pending] *= settings["increase"][pending]
            now.damping[going[pending]] = damping[pending]
        reached = (losses[going] <= settings["goal"]) & (now.stop[going] == 0)
        now.stop[going[reached]] = REASONS.index("goal")
        # As the state holds them between two calls: how steps are grouped into calls must not matter.
        for values in (now.damping, now.decay, now.effective):
            values[going] = values[going].astype(self.program.dtype)

    def _accelerated(
        self,
        models: Models,
        pending: NDArray[np.int64],
        chosen: Any,
        data: Data,
        matrices: Any,
        steps: Float64,
        diagonals: Float64,
        settings: dict[str, Float64],
    ) -> Float64:
        """Return steps with their second-order part, where that was asked for; NaN where it is too large."""
        equations, curved = self.equations, np.zeros_like(steps)
        wanted = (settings["acceleration"][pending] != 0) & np.isfinite(steps).all(axis=1)
        for row in np.flatnonzero(wanted):
            curved[row] = equations.second_derivative(models, int(pending[row]), -steps[row], data)
        correction = 0.5 * equations.solve(matrices, chosen, curved, diagonals)
        large = 2 * np.linalg.norm(correction, axis=1) > MOST_CORRECTION * np.linalg.norm(steps, axis=1)
        accelerated = np.where(wanted[:, np.newaxis], steps + correction, steps)
        accelerated[wanted & large] = np.nan
        return accelerated

    def _l2(self, data: Data, models: Models) -> Float64:
        """Return what the estimators' L2 penalty weighs half the square of each parameter by: biases by 0."""
        program, loss = self.program, self.equations.loss
        if not loss.l2:
            return NOTHING
        which = np.zeros(program.n_parameters)
        for op, layout in zip(program.ops, program.parameter_layout, strict=True):
            if isinstance(op, LinearOp):
                offset = layout[0][0]
                which[offset : offset + op.n_in * op.n_out] = loss.l2
        mass = np.full(len(models.numbers), float(data.n_samples) if loss.reduction == "mean" else 1.0)
        if data.weight is not None and loss.by_weight and loss.reduction == "mean":
            sums = np.atleast_1d(np.asarray(self.backend.to_numpy(data.weight.sum(axis=-1, dtype="float64"))))
            mass = sums[models.numbers] if len(sums) > 1 else np.broadcast_to(sums, mass.shape)
            mass = np.where(mass == 0, np.inf, mass)
        weights: Float64 = np.concatenate([which[part] for part in program.trained]) / mass[:, np.newaxis]
        return weights

    def _weigh_evidence(
        self,
        now: Standing,
        going: NDArray[np.int64],
        finite: NDArray[np.bool_],
        loss: Float64,
        held: Float64,
        matrices: Any,
        n_samples: int,
    ) -> None:
        """Set the decay of the weights to what the evidence says (MacKay 1992; Foresee and Hagan 1997, step 3).

        In their letters: the number of effective parameters is ``gamma = N - 2 alpha tr(H^-1)``, and ``alpha = gamma /
        2 E_W``, ``beta = (n - gamma) / 2 E_D``; the decay is ``2 alpha / beta`` in units of the loss. They begin with
        an alpha of 0. Here it begins small, and at most doubles in a step: the evidence is of a network that has
        learned what it can, and one that has not is drawn to 0, where it stays.
        """
        n_parameters, n_values = held.shape[1], n_samples * self.program.n_out
        decay = now.decay[going]
        effective = np.full(len(going), min(n_parameters, 0.9 * n_values))
        known = decay > 0
        if known.any():
            # Where nothing is known yet the identity is added, so that all can be inverted together.
            shift = np.where(known, decay, 1.0)[:, np.newaxis] * np.ones_like(held)
            with np.errstate(all="ignore"):
                traces = self.equations.traces_of_inverses(matrices, shift)
            effective = np.where(known, n_parameters - decay * traces, effective)
        effective = np.clip(effective, 0.0, 0.999 * n_values)
        squares = np.maximum(np.einsum("mi,mi->m", held, held), LEAST_SQUARES)
        own = going[finite]
        said = 2 * loss * effective / (squares * (n_values - effective))
        now.decay[own] = np.where(known, np.minimum(said, MOST_GROWTH * decay), FIRST_DECAY * said)[finite]
        now.effective[own] = effective[finite]

    def step(self, state: State, x: Array, y: Array, weight: Array | None) -> float | None:
        """Make one step; see ``WholePlan.step``."""
        found = self.run(state, x, y, None, np.ones((1, 1)), weight)
        return float(found[0, 0]) if len(found) else None

    def figures(self, state: State) -> dict[str, float]:
        """Return what the history shows of an epoch beside its loss."""
        return {name: float(state.moments[EFFECTIVE, 0]) for name in self.figure_names}


def _of(decay: Float64, chosen: Any) -> Float64:
    return decay if len(decay) == 1 else decay[chosen]


def _penalty(decay: Float64, parameters: Float64) -> Float64 | float:
    """Return half the sum of squares of each model's parameters, weighed by ``decay``."""
    if decay is NOTHING:
        return 0.0
    penalty: Float64 = 0.5 * (decay * np.square(parameters)).sum(axis=1)
    return penalty
