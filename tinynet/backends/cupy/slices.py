"""Ensembles that are larger than the memory of a GPU: their state stays in host memory, and slices of models go up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, FloatArray, Members, Plan, State, on_backend, own_steps, own_weight, rows_of
from tinynet.base.arrays import is_cupy
from tinynet.base.errors import DeviceMemoryError
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

SLICE_SHARE = 0.5
"""Share of the free memory that a slice's state may take: the rest is for what lies between the layers."""

CALL_SECONDS = 10.0
"""How long a call should take. A slice of some gigabytes is on its way for a second, there and back."""

STATE_COPIES = 11
"""Vectors of parameters for which there must be room: themselves, gradients, two moments, the best so far, and of
parameters and moments those at the start of a call, and at the start of that with the best epoch."""


class HostArray(np.ndarray[Any, np.dtype[Any]]):
    """An array in host memory in the place of one on the device: what is assigned to it may lie there."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value.get() if is_cupy(value) else value)


def hosted(array: NDArray[Any]) -> HostArray:
    """Return an array as one that stays in host memory, without a copy."""
    return array.view(HostArray)


def bytes_of_state(program: Program) -> int:
    """Return how much memory the state of an ensemble takes while it is trained."""
    n_numbers = STATE_COPIES * program.n_parameters + program.n_buffers
    return (program.n_models or 1) * n_numbers * np.dtype(program.dtype).itemsize


class SlicedPlan(Plan):
    """Bring the models of an ensemble to the device slice by slice, and do there what another plan does.

    A slice is trained for all the epochs of a call before it makes room for the next. It is the plan of the whole
    ensemble that does so: what a model gets does not depend on the slice that it is in.

    Parameters
    ----------
    plan : Plan
        Of an ensemble whose state lies in host memory.
    backend : CuPyBackend
    """

    backend: Any
    call_seconds = CALL_SECONDS

    def __init__(self, plan: Plan, backend: CuPyBackend) -> None:
        self.program, self.backend, self._plan = plan.program, backend, plan
        self._most: int | None = None
        self.description = f"in slices of models, the others in host memory: {plan.description}"

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
        chosen = state.chosen(members)
        losses = np.empty((len(learning_rates), len(chosen)))

        def train(own: State, part: slice) -> None:
            numbers = chosen[part]
            steps, weight = own_steps(order, learning_rates, part), own_weight(sample_weight, rows_of(numbers))
            losses[:, part] = self._plan.run(own, x, y, *steps, weight)
            _bring_down(own, state, numbers)

        self._each(state, chosen, train)
        return losses

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> Any:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``.

        ``out`` is in host memory, as the state is: the outputs of all models may be larger than the device, too.
        """
        finite: list[Any] = []

        def predict(own: State, part: slice) -> None:
            outputs = self.backend.empty((part.stop - part.start, *out.shape[1:]), self.program.dtype)
            finite.append(self._plan.predict(own, x, outputs))
            out[part] = self.backend.to_numpy(outputs)

        self._each(state, state.chosen(members), predict)
        return finite[0]

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict: there is none for many models; see ``Plan.predictor``."""
        return lambda x: None

    @on_backend
    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> NDArray[np.float64]:
        """Return the loss of each model and fill ``state.gradients``; see ``Plan.gradient``."""
        chosen = state.chosen(None)
        values = np.empty(len(chosen))

        def differentiate(own: State, part: slice) -> None:
            values[part] = self._plan.gradient(own, x, y, own_weight(sample_weight, rows_of(chosen[part])))
            state.gradients[part] = own.gradients

        self._each(state, chosen, differentiate)
        return values

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        chosen = state.chosen(members)
        values = np.empty(len(chosen))

        def evaluate(own: State, part: slice) -> None:
            values[part] = self._plan.evaluate(own, x, y, own_weight(sample_weight, rows_of(chosen[part])))

        self._each(state, chosen, evaluate)
        return values

    # -- slices ------------------------------------------------------------------------------------------------------

    def _each(self, state: State, chosen: Members, work: Callable[[State, slice], None]) -> None:
        """Do some work with every slice of models; with smaller ones where those that were planned do not fit."""
        start = 0
        while start < len(chosen):
            for part in self._parts(state, start, len(chosen)):
                if not self._done(state, chosen, part, work):
                    break
                start = part.stop

    def _done(self, state: State, chosen: Members, part: slice, work: Callable[[State, slice], None]) -> bool:
        """Do the work for a slice; False if it was too large, and nothing of it has reached the host."""
        try:
            work(self._brought_up(state, chosen[part]), part)
        except DeviceMemoryError:
            if part.stop - part.start == 1:
                raise
        else:
            return True
        # Only here: while the error is handled, it holds what it could not place.
        self._most = (part.stop - part.start) // 2
        self.backend.namespace.get_default_memory_pool().free_all_blocks()
        return False

    def _parts(self, state: State, start: int, stop: int) -> Iterator[slice]:
        """Cut models into slices, as few and as equal as memory allows."""
        if self._most is None:
            vectors = (state.parameters, state.gradients, state.moments, state.buffers)
            of_model = sum(vector.nbytes for vector in vectors) // len(state.parameters)
            self._most = max(1, int(SLICE_SHARE * self.backend.memory()[0]) // max(1, of_model))
        n, n_parts = stop - start, -(-(stop - start) // self._most)
        return (slice(start + n * i // n_parts, start + n * (i + 1) // n_parts) for i in range(n_parts))

    def _brought_up(self, state: State, numbers: Members) -> State:
        """Return the state of some models, on the device."""
        asarray, rows = self.backend.asarray, rows_of(numbers)
        return State(
            parameters=asarray(state.parameters[rows]),
            gradients=self.backend.empty((len(numbers), self.program.n_parameters), self.program.dtype),
            moments=asarray(state.moments[:, rows]),
            buffers=asarray(state.buffers[rows]),
            step=state.step[numbers],
            draws=state.draws[numbers],
            dropout_seed=np.asarray(state.dropout_seed)[numbers],
            models=numbers,
        )


def _bring_down(own: State, state: State, numbers: Members) -> None:
    """Copy what was trained to where it came from."""
    rows = rows_of(numbers)
    state.parameters[rows] = own.parameters
    for kept, moment in zip(state.moments, own.moments, strict=True):
        kept[rows] = moment
    state.step[numbers], state.draws[numbers] = own.step, own.draws
