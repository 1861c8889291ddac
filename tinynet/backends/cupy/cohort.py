"""Cohort: models of an ensemble that are worked on together on a GPU, and the numbers that each has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Members, State, own_weight, rows_of
from tinynet.backends.work import Work
from tinynet.program import Program, Setting

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend


@dataclass
class Cohort:
    """Some models, brought together.

    Attributes
    ----------
    numbers : (n,) int64 array
        Of the models in the ensemble of the program.
    state : State
        Of these models, on the device: views of the ensemble's where they follow one another in it, else copies.
        ``dropout_seed`` is an array of the device; ``step`` and ``draws`` are counters before the call, on the host.
    weight : array or None
        Sample weights, (n_samples,) or (n, n_samples).
    settings : list of float or (n,) array
        Of the optimizer, in the order of its kernel.
    parameter, clip_norm, clip_value : float, or (n,) array of the device, or None
        Of the loss and of clipping.
    index : (n,) array of the device, or None
        Where the models are in the state of the ensemble, if theirs is a copy.
    work : Work
        Of the call.
    """

    numbers: Members
    state: State
    weight: Array | None
    settings: list[Any]
    parameter: Any
    clip_norm: Any
    clip_value: Any
    index: Array | None
    work: Work

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(
        cls,
        backend: CuPyBackend,
        program: Program,
        state: State,
        members: Members,
        weight: Array | None = None,
        *,
        work: Work,
        trains: bool = False,
    ) -> Cohort:
        """Bring models together; what the optimizer remembers only if it is needed."""
        loss, optimizer, index, numbers = program.loss, program.optimizer, None, state.numbers(members)
        where = rows_of(members)
        if not isinstance(where, slice):
            where = index = backend.asarray(members)

        def placed(setting: Setting | None, dtype: str) -> Any:
            return backend.asarray(of_members(setting, numbers), dtype) if isinstance(setting, tuple) else setting

        return cls(
            numbers=numbers,
            state=State(
                parameters=state.parameters[where],
                # Only overwritten: those of the models themselves are not needed.
                gradients=state.gradients[where] if index is None else state.gradients[: len(members)],
                moments=state.moments[:, where] if trains and len(state.moments) else state.moments[:0],
                buffers=state.buffers[where] if state.buffers.size else state.buffers[: len(members)],
                step=state.step[members],
                draws=state.draws[members],
                dropout_seed=counters(backend, np.asarray(state.dropout_seed)[members]),
            ),
            weight=own_weight(weight, where),
            settings=[] if optimizer is None else [of_members(value, numbers) for _, value in optimizer.settings],
            parameter=None if loss is None else placed(loss.parameter, "float64"),
            clip_norm=None if optimizer is None else placed(optimizer.clip_norm, "float64"),
            clip_value=None if optimizer is None else placed(optimizer.clip_value, program.dtype),
            index=index,
            work=work,
        )

    def put_back(self, state: State) -> None:
        """Copy what was trained to the state of the ensemble, if it is not there."""
        if self.index is None:
            return
        state.parameters[self.index] = self.state.parameters
        if len(self.state.moments):
            state.moments[:, self.index] = self.state.moments


def counters(backend: CuPyBackend, values: NDArray[np.int64]) -> Array:
    """Return counters and seeds as the kernels of dropout take them."""
    return backend.asarray(values.astype(np.uint64))


def of_members(setting: Setting, members: Members) -> NDArray[np.float64]:
    """Return a setting of some models: one number, or one for each."""
    value: NDArray[np.float64] = np.asarray(setting, np.float64)
    return value[members] if value.ndim else value
