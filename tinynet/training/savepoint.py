"""Savepoint: where a training stands between two epochs, so that it can go back there and on again.

Epochs run several in a call. Whatever is then asked for in the middle of such a call (the weights of its best epoch,
those of the epoch in which a callback stopped, the epoch in which a loss became infinite) is computed once more from
where the call began. The same order and the same rates give the same bits: nothing depends on how epochs are grouped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Members, State


class Savepoint:
    """Copies of what training changes of a state; its arrays are allocated once and overwritten by ``take``.

    Attributes
    ----------
    epoch : int
        Epochs that were complete.
    place : dict
        What else the trainer keeps of the position: the state of its generator, and where it stands in an epoch.
    rates : (n_epochs, n_rates) array, or (n_epochs, n_rates, n_models)
        The learning rates of the call that began here.
    """

    def __init__(self) -> None:
        self.epoch = -1
        self.place: dict[Any, Any] = {}
        self.rates: NDArray[np.float64] = np.empty((0, 0))
        self._parameters: Array = None
        self._moments: Array = None
        self._counters: tuple[Any, Any] = (0, 0)

    def take(self, state: State, epoch: int, place: dict[Any, Any]) -> None:
        """Copy a state."""
        self.epoch, self.place = epoch, place
        self._parameters = _copied(state.parameters, self._parameters)
        self._moments = _copied(state.moments, self._moments)
        self._counters = _counted(state.step), _counted(state.draws)

    def put(self, state: State) -> None:
        """Give a state back what was copied of it."""
        state.parameters[...], state.moments[...] = self._parameters, self._moments
        state.step, state.draws = map(_counted, self._counters)

    def put_models(self, state: State, members: Members) -> None:
        """Give some models of an ensemble back what was copied of them."""
        state.parameters[members], state.moments[:, members] = self._parameters[members], self._moments[:, members]
        step, draws = self._counters
        state.step[members], state.draws[members] = step[members], draws[members]

    def take_models(self, other: Savepoint, members: Members) -> None:
        """Copy some models of an ensemble from another savepoint, into one that was taken before."""
        self._parameters[members] = other._parameters[members]
        self._moments[:, members] = other._moments[:, members]
        for own, theirs in zip(self._counters, other._counters, strict=True):
            own[members] = theirs[members]


def _counted(counter: Any) -> Any:
    """Copy the counter of one model, a number, or those of many, an array."""
    return counter.copy() if isinstance(counter, np.ndarray) else counter


def _copied(array: Array, place: Array) -> Array:
    """Copy an array to where one of its shape was copied before, or else to a new one."""
    if place is None or place.shape != array.shape:
        return array.copy()
    place[...] = array
    return place
