"""StandardisedPlan: for networks that begin with ``Normalize``, on a plan that reads samples of the model's dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.base.arrays import numpy_namespace, on_disk
from tinynet.program import DenormalizeOp, NormalizeOp, Program

ROWS = 1 << 12
"""Rows that are standardised at a time, so that float64 numbers stay in the cache."""


def begins_standardising(program: Program) -> bool:
    """Whether samples are standardised first, and then something else is computed of them."""
    return isinstance(program.ops[0], NormalizeOp) and not program.standardised and program.n_parameters > 0


def shared_columns(program: Program, state: State) -> tuple[Array, Array] | None:
    """Return the means and scales that samples are standardised by; None if models have columns of their own."""
    held = state.buffers[..., : 2 * program.n_in]
    if held.ndim == 2:
        if not bool((held == held[:1]).all()):
            return None
        held = held[0]
    return held[: program.n_in], held[program.n_in :]


def target_columns(
    program: Program, backend: Backend, state: State, *, slopes: bool = False
) -> tuple[Array, Array] | None:
    """Return the means and scales that targets are standardised by, in host memory; None if they are not.

    With ``slopes``, those of targets that have derivatives beside the values: these change by the scales of a first
    ``Normalize``, too.

    Raises
    ------
    ValueError
        If models that are trained together have others than each other.
    """
    values = _value_columns(program, backend, state)
    begins = isinstance(program.ops[0], NormalizeOp)
    if not slopes or (values is None and not begins):
        return values
    zero, unit = values or (np.zeros(program.n_out), np.ones(program.n_out))
    shared = shared_columns(program, state) if begins else (None, np.ones(program.n_in))
    if shared is None:
        raise ValueError(
            "models that are trained on slopes together expect the same columns in Normalize; got others in some of "
            "them. Train them apart, or adapt all of them to the same samples."
        )
    of_slopes = (unit / backend.to_numpy(shared[1])[:, np.newaxis]).ravel()
    return np.concatenate([zero, np.zeros_like(of_slopes)]), np.concatenate([unit, of_slopes])


def _value_columns(program: Program, backend: Backend, state: State) -> tuple[Array, Array] | None:
    if not program.scales_targets:
        return None
    held = np.atleast_2d(backend.to_numpy(state.buffers[..., -2 * program.n_out :]))
    if (held != held[:1]).any():
        raise ValueError(
            "models that share their targets expect the same columns in Denormalize; got others in some of them. Train "
            "them apart, or adapt all of them to the same targets."
        )
    last = program.ops[-1]
    assert isinstance(last, DenormalizeOp)
    zero, unit = held[0].reshape(2, program.n_out)[:, : program.n_out // last.blocks]
    return -zero / unit, 1.0 / unit


def standardised(backend: Backend, x: Array, columns: tuple[Array, Array], dtype: str) -> Array:
    """Return samples as the first layer makes them, a copy in ``dtype`` beside them."""
    xp = numpy_namespace(x)
    out = xp.empty(x.shape, dtype)
    if xp is not np:
        # The state of an ensemble may lie in host memory.
        there = map(backend.asarray, columns)
        backend.kernels.normalize_forward(xp.ascontiguousarray(x, dtype="float64"), *there, out)
        return out
    from tinynet_kernels import reference

    mean, scale = map(backend.to_numpy, columns)
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        reference.normalize_forward(np.asarray(x[rows], np.float64), mean, scale, out[rows])
    return out


class StandardisedPlan(Plan):
    """Standardises samples in float64 and hands them to another plan, which computes what is left of the program.

    Samples on disk, and those of models that have columns of their own, go to a plan that standardises rows as it
    gathers them.

    Parameters
    ----------
    program : Program
    backend : Backend
    plan : Plan
        Of the same program, ``standardised``.
    gathering : Plan
        Of the program itself.
    """

    def __init__(self, program: Program, backend: Backend, plan: Plan, gathering: Plan) -> None:
        self.program, self.backend = program, backend
        self.description, self.call_seconds = plan.description, plan.call_seconds
        self._plan, self._gathering = plan, gathering

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
        plan, x = self._ready(state, x)
        return plan.run(state, x, y, order, learning_rates, sample_weight, members)

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> Any:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        plan, x = self._ready(state, x)
        return plan.predict(state, x, out, members)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict: there is none; see ``Plan.predictor``."""
        return lambda x: None

    @on_backend
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        plan, x = self._ready(state, x)
        return plan.gradient(state, x, y, sample_weight)

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> Any:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        plan, x = self._ready(state, x)
        return plan.evaluate(state, x, y, sample_weight, members)

    def _ready(self, state: State, x: Array) -> tuple[Plan, Array]:
        """Return a plan, and the samples as it reads them."""
        columns = None if on_disk(x) else shared_columns(self.program, state)
        if columns is None:
            return self._gathering, x
        return self._plan, standardised(self.backend, x, columns, self.program.dtype)
