"""FoldedPlan: predictions of a network whose batch norms are part of the linear layers before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.backends.base import Array, Members, Plan, State, views
from tinynet.backends.loop import LoopPlan
from tinynet.backends.work import Pool
from tinynet.base.folding import columns_of, folded
from tinynet.program import BatchNormOp, LinearOp, Op, Program

if TYPE_CHECKING:
    from tinynet.backends.base import Backend


def without_batch_norms(program: Program) -> Program | None:
    """Return the program with its batch norms in the linear ops before them; None where one has none before it.

    Examples
    --------
    >>> without_batch_norms(Program((LinearOp(4, 3, bias=False), BatchNormOp(3)))).ops
    (LinearOp(n_in=4, n_out=3, bias=True),)
    """
    ops: list[Op] = []
    for op in program.ops:
        if not isinstance(op, BatchNormOp):
            ops.append(op)
        elif ops and isinstance(ops[-1], LinearOp):
            ops[-1] = replace(ops[-1], bias=True)
        else:
            return None
    return replace(program, ops=tuple(ops), frozen=())


class FoldedPlan(LoopPlan):
    """Folds the weights anew for each call, which takes no longer than to read them, and predicts as another plan does.

    Parameters
    ----------
    program : Program
        Without a loss: trainings and evaluations go by the batch norms themselves.
    folded : Program
        The same without batch norms.
    backend : Backend
        That of host memory.
    plan : Plan
        Of ``folded``.
    """

    def __init__(self, program: Program, folded: Program, backend: Backend, plan: Plan) -> None:
        super().__init__(program, backend, "")
        self._folded, self._plan = folded, plan
        self.description = f"{plan.description}, with batch norms in the layers before them"
        self._states: Pool[tuple[State, Callable[[Any], Array | None]]] = Pool(self._new)

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        with self._states.one() as (own, _):
            self._fold(state, own)
            return self._plan.predict(own, x, out)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""

        def predict(x: Any) -> Array | None:
            with self._states.one() as (own, quick):
                self._fold(state, own)
                return quick(x)

        return predict

    def _new(self) -> tuple[State, Callable[[Any], Array | None]]:
        own = self.backend.new_state(self._folded, np.zeros(self._folded.n_parameters))
        return own, self._plan.predictor(own)

    def _fold(self, state: State, own: State) -> None:
        """Write what a state holds to one of the program without batch norms."""
        own.buffers[...] = state.buffers
        layouts = iter(self._folded.parameter_layout)
        made: tuple[Array, ...] = ()
        for op, layout in zip(self.program.ops, self.program.parameter_layout, strict=True):
            held = views(state.parameters, layout)
            if isinstance(op, BatchNormOp):
                gamma, beta, mean, variance = held if op.affine else (None, None, *held)
                weight, bias = made
                columns = columns_of(gamma, beta, mean, variance, op.eps)
                weight[...], bias[...] = folded(weight, bias, *columns)
                continue
            made = views(own.parameters, next(layouts))
            for i, place in enumerate(made):
                place[...] = held[i] if i < len(held) else 0.0
