"""MappedPlan: predictions of networks that end in several outputs for each target, on the plan of what is before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.blocks import write_mapped
from tinynet.base.arrays import numpy_namespace
from tinynet.program import BlocksOp, Program


class MappedPlan(Plan):
    """Predicts; it trains nothing, as a loss of such outputs has their map in it: see ``Program.taught``.

    Parameters
    ----------
    program : Program
        With ``maps`` at its end, and without a loss.
    backend : Backend
    plan : Plan
        Of the program ``before_maps``.
    """

    def __init__(self, program: Program, backend: Backend, plan: Plan) -> None:
        self.program, self.backend, self._plan = program, backend, plan
        self.description, self.call_seconds = plan.description, plan.call_seconds

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> Any:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        finite = self._plan.predict(state, x, out, members)
        first, *scaling = self.program.maps
        assert isinstance(first, BlocksOp)
        write_mapped(first, out, out)
        if scaling:
            zero, unit = self._columns(state, out, members)
            out[...] = (out - zero) / unit
        return finite

    def _columns(self, state: State, out: Array, members: Members | None) -> tuple[Array, Array]:
        """Return what is subtracted and divided by, in float64, where the outputs are."""
        n, held = self.program.n_out, state.buffers[..., -2 * self.program.n_out :]
        if held.ndim == 2:
            held = (held if members is None else held[members])[:, np.newaxis]
        host = numpy_namespace(out) is np
        held = self.backend.to_numpy(held) if host else self.backend.asarray(held)
        return held[..., :n], held[..., n:]

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict: there is none; see ``Plan.predictor``."""
        return lambda x: None

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
        """Raise: there is nothing to train on; see ``Plan.run``."""
        self._refuse()

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Raise, as ``run``."""
        self._refuse()

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> Any:
        """Raise, as ``run``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError("this plan predicts and does nothing else; make one from a program that has a loss.")
