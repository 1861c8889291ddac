"""Retracing: how a training goes back to the end of an epoch that lies within a call, and to its best weights."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Plan
from tinynet.base.guard import as_one_change
from tinynet.program import CustomOp, all_ops
from tinynet.training.data import Data
from tinynet.training.history import History
from tinynet.training.savepoint import Savepoint
from tinynet.training.trainable import Trainable

_PLACE = ("visit", "updates", "partial_loss", "order")
"""What of a trainer tells where in an epoch it stands."""


class Retracing:
    """What a trainer knows of where it stood, and of the epoch with the lowest loss.

    Attributes
    ----------
    best_loss : float
    best_parameters : (n_parameters,) array of the backend
        Those at the end of the epoch with the lowest loss, once ``settle_best`` has run.
    start_parameters : (n_parameters,) array of the backend, or None
        What training began with.
    """

    model: Trainable
    data: Data
    plan: Plan
    history: History
    epoch: int
    visit: int
    updates: int
    partial_loss: float
    order: NDArray[np.int64] | None
    n_visits: int
    n_updates: int

    def _begin_retracing(self) -> None:
        self.best_loss = math.inf
        self.best_parameters: Array = self.model.state.parameters.copy()
        # None after a checkpoint of a version that kept none.
        self.start_parameters: Array | None = self.best_parameters.copy()
        # Two, for the best epoch may lie in a call that is over.
        self._points = Savepoint(), Savepoint()
        self._point: Savepoint | None = None
        self._running = 0
        self._best: tuple[Savepoint, int] | None = None

    @cached_property
    def _repeatable(self) -> bool:
        """Whether epochs that are run again give the same: what users wrote in Python may remember the first time."""
        program = self.plan.program
        custom = program.loss is not None and program.loss.custom is not None
        return not (custom or any(isinstance(op, CustomOp) for op in all_ops(program.ops)))

    def _save_point(self, n_epochs: int, rates: NDArray[np.float64]) -> Savepoint:
        """Note where the training stands before a call of some epochs."""
        point = next(point for point in self._points if self._best is None or point is not self._best[0])
        self._running = 0  # Until the copies are whole, there is nothing to go back to.
        self._take(point)
        point.rates = rates
        self._point, self._running = point, n_epochs
        return point

    def _take(self, point: Savepoint) -> None:
        place = {name: getattr(self, name) for name in _PLACE}
        point.take(self.model.state, self.epoch, place | {"random": self._random_state()})

    def _return_to(self, point: Savepoint) -> None:
        point.put(self.model.state)
        self._set_random_state(point.place["random"])
        for name in _PLACE:
            setattr(self, name, point.place[name])

    @as_one_change
    def _go_back(self) -> None:
        """Put the model where the history ends, wherever in a call, or between the hooks of its epochs, it stands."""
        self.history.cut(self.epoch)
        point = self._point
        done = 0 if point is None else self.epoch - point.epoch
        if point is None or done >= self._running:
            return
        try:
            self._return_to(point)
            self._repeat(point, done)
        except BaseException:
            # Interrupted once more, or there is no room: where the call began an epoch ended, too.
            self._return_to(point)
            self.epoch = point.epoch
            self.history.cut(self.epoch)
            raise
        self._running = done
        self.updates += done * self.n_updates

    def _repeat(self, point: Savepoint, n_epochs: int) -> None:
        """Run the first epochs of a call again, from where it began; nobody looks."""
        if not n_epochs:
            return
        order = self._draw_order(n_epochs)
        data = self.data if order is not None else self.data.part(0, self.n_visits)
        self.plan.run(self.model.state, data.x, data.y, order, point.rates[:n_epochs], data.weight)

    def _note_best(self, losses: NDArray[np.float64]) -> None:
        """Look for the best epoch in a call that just ended well."""
        place = int(losses.argmin())
        if losses[place] >= self.best_loss:
            return
        self.best_loss = float(losses[place])
        if place == len(losses) - 1:
            self._best = None
            self.best_parameters[...] = self.model.state.parameters
        else:
            assert self._point is not None
            self._best = self._point, place + 1

    @as_one_change
    def settle_best(self) -> None:
        """Let ``best_parameters`` be those of the best epoch, also where it lies in the middle of a call."""
        if self._best is None:
            return
        (point, n_epochs), here = self._best, Savepoint()
        self._take(here)
        self._return_to(point)
        self._repeat(point, n_epochs)
        self.best_parameters[...] = self.model.state.parameters
        self._return_to(here)
        self._best = None

    def _put_best(self) -> None:
        """Give the model the weights of its best epoch, or those that it began with if their loss is lower.

        The loss of an epoch is that on its way: it tells little of where a ruinous one ends.
        """
        self.settle_best()
        self.model.set_flat_parameters(self.best_parameters)
        if self.start_parameters is None:
            return
        state, data = self.model.state, self.data
        loss = self.plan.evaluate(state, data.x, data.y, data.weight)
        self.model.set_flat_parameters(self.start_parameters)
        if loss <= self.plan.evaluate(state, data.x, data.y, data.weight):
            self.model.set_flat_parameters(self.best_parameters)

    # -- what a trainer has of its own -------------------------------------------------------------------------------

    def _draw_order(self, n_epochs: int) -> NDArray[np.int64] | None:
        raise NotImplementedError

    def _random_state(self) -> Any:
        """Return what the orders of later epochs are drawn from."""
        return self.model.rng.bit_generator.state

    def _set_random_state(self, kept: Any) -> None:
        self.model.rng.bit_generator.state = kept
