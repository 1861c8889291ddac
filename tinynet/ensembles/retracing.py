"""Retracing: how the training of many models goes back within a call, each to an epoch of its own.

See ``training.savepoint``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Members, Plan, rows_of
from tinynet.base.arrays import numpy_namespace
from tinynet.base.guard import as_one_change
from tinynet.training.data import Data
from tinynet.training.history import EnsembleHistory
from tinynet.training.savepoint import Savepoint

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble

Values = NDArray[np.float64]


class Retracing:
    """What a trainer of many models knows of where they stood, and of the epoch in which each had its lowest loss.

    Attributes
    ----------
    live : (n_live,) int array
        Models that are still trained.
    best_loss, best_epoch : (n_models,) arrays
    best_parameters : (n_models, n_parameters) array of the backend
        Those at the end of each model's best epoch, once ``settle_best`` has run.
    start_parameters : (n_models, n_parameters) array of the backend, or None
        What training began with.
    """

    model: Ensemble
    data: Data
    plan: Plan
    history: EnsembleHistory
    epoch: int
    live: Members
    shuffle: bool | str
    shared_order: bool

    def _begin_retracing(self) -> None:
        n = len(self.model)
        self.best_loss = np.full(n, math.inf)
        self.best_epoch = np.full(n, -1)
        self.best_parameters: Array = self.model.state.parameters.copy()
        # None after a checkpoint of a version that kept none.
        self.start_parameters: Array | None = self.best_parameters.copy()
        self._point = Savepoint()
        self._running = 0
        self._drawn = [0] * n  # Epochs whose order was drawn for each model in a call.
        # Where a model's best epoch lies in the middle of a call: where that call began for it, how many epochs before,
        # and with which rates and from which generator.
        self._base = Savepoint()
        self._base_epochs = np.zeros(n, np.int64)
        self._base_calls: dict[int, tuple[Values, Any]] = {}

    def _run(self, members: Members, rates: Values) -> Values:
        """Train some models for the epochs that have rates; return the losses, (n_epochs, n_models)."""
        raise NotImplementedError

    def _order(self, members: Members, n_epochs: int) -> NDArray[np.int64] | None:
        """Draw the order of some epochs for some models."""
        raise NotImplementedError

    # -- where the models stand --------------------------------------------------------------------------------------

    def _save_point(self, n_epochs: int, rates: Values) -> None:
        """Note where the models stand before a call of some epochs."""
        self._running = 0  # Until the copies are whole, there is nothing to go back to.
        # A call of one epoch is gone back on as a whole: what its orders are drawn from is not needed for that.
        kept = self._random_states(self.live) if n_epochs > 1 else {}
        self._point.take(self.model.state, self.epoch, kept)
        self._point.rates = rates
        self._running = n_epochs
        self._drawn = [0] * len(self._drawn)

    @as_one_change
    def _go_back(self) -> None:
        """Put the models where the history ends, wherever in a call, or between the hooks of its epochs, they stand."""
        history, point, done = self.history, self._point, self.epoch - self._point.epoch
        history.cut(self.epoch)
        undone = history.stopped >= self.epoch
        history.stopped[undone] = -1
        history.diverged = [i for i in history.diverged if history.stopped[i] >= 0]
        self.live = np.flatnonzero(history.stopped < 0)
        if done >= self._running:
            return
        point.put(self.model.state)
        self._set_random_states(point.place)
        if self._running == 1:
            # Without a note of where generators stood, all are where those are that have drawn.
            for i in self._drawing(self.live):
                if not self._drawn[i]:
                    self._order(np.array([i]), 1)
        elif not self.shared_order:
            # Those that have diverged by now have drawn to their ends.
            for i in history.diverged:
                if history.stopped[i] >= point.epoch:
                    self._order(np.array([i]), int(history.stopped[i]) + 1 - point.epoch)
        self._running = done
        members = self._to_repeat(point.epoch)
        if done and len(members):
            self._run(members, point.rates[:done])

    def _to_repeat(self, epoch: int) -> Members:
        """Return the models that run again where training goes back to an epoch."""
        return self.live

    # -- the best epochs ---------------------------------------------------------------------------------------------

    def _note_best(self, losses: Values, members: Members, first: int) -> None:
        """Look for the best epochs in a call that ended well for some models; ``first`` is its first epoch."""
        values = losses[:, members]
        places = values.argmin(axis=0)
        better = values[places, np.arange(len(members))] < self.best_loss[members]
        members, places = members[better], places[better]
        if not len(members):
            return
        self.best_loss[members], self.best_epoch[members] = losses[places, members], first + places
        last = places == len(losses) - 1
        now, inside = members[last], members[~last]
        if len(now):
            rows = rows_of(now)
            self.best_parameters[rows] = self.model.state.parameters[rows]
        self._base_epochs[now] = 0
        if len(inside):
            if self._base.epoch < 0:
                self._base.take(self.model.state, self.epoch, {})
            self._base.take_models(self._point, inside)
            self._base_epochs[inside] = places[~last] + 1
            self._base_calls.update((int(i), (self._point.rates, self._point.place)) for i in inside)

    @as_one_change
    def settle_best(self, members: Sequence[int] | None = None) -> None:
        """Let ``best_parameters`` of some models, or of all, be those of their best epochs, also within calls."""
        chosen = np.arange(len(self.model)) if members is None else np.array(members, np.int64)
        pending = chosen[self._base_epochs[chosen] > 0]
        if not len(pending):
            return
        state, here, random = self.model.state, Savepoint(), self._random_states(pending)
        here.take(state, self.epoch, {})
        self._base.put_models(state, pending)
        for same, (rates, kept), n_epochs in self._calls(pending):
            self._set_random_states({i: kept[i] for i in self._drawing(same) if i in kept})
            self._run(same, rates[:n_epochs])
        self.best_parameters[pending] = state.parameters[pending]
        here.put(state)
        self._set_random_states(random)
        self._base_epochs[pending] = 0

    def _put_best(self, members: Members) -> Members:
        """Give models the weights of their best epochs; return those that began with better ones, and have these.

        The loss of an epoch is that on its way: it tells little of where a ruinous one ends.
        """
        state, data = self.model.state, self.data
        self.settle_best(members.tolist())
        state.parameters[members] = self.best_parameters[members]
        if self.start_parameters is None or not len(members):
            return members[:0]
        losses = self.plan.evaluate(state, data.x, data.y, data.weight, members)
        state.parameters[members] = self.start_parameters[members]
        better = losses <= self.plan.evaluate(state, data.x, data.y, data.weight, members)
        ruined: Members = members[~better]
        others = np.setdiff1d(members, ruined)
        state.parameters[others] = self.best_parameters[others]
        return ruined

    def _calls(self, members: Members) -> list[tuple[Members, tuple[Values, Any], int]]:
        """Return models together whose best epochs are the same ones of the same calls."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i in members.tolist():
            groups.setdefault((id(self._base_calls[i][0]), int(self._base_epochs[i])), []).append(i)
        return [(np.array(same), self._base_calls[same[0]], n_epochs) for (_, n_epochs), same in groups.items()]

    # -- models that diverge -----------------------------------------------------------------------------------------

    def _infinite(self, losses: Values, members: Members) -> Members:
        """Return the models that have a loss, or a parameter at the end, that is not finite."""
        parameters = self.model.state.parameters
        xp = numpy_namespace(parameters)
        # To count takes a third of the time of `all`, which is a function in Python.
        n_finite = int(xp.count_nonzero(xp.isfinite(parameters)))
        if n_finite == parameters.size and np.count_nonzero(np.isfinite(losses[:, members])) == len(losses) * len(
            members
        ):
            return members[:0]
        finite = self.model.backend.to_numpy(xp.isfinite(parameters).all(axis=1))
        return members[~(np.isfinite(losses[:, members]).all(axis=0) & finite[members])]

    def _look_at_each_epoch(self, losses: Values, members: Members) -> list[Members]:
        """Run a call again for models that diverge in it, epoch by epoch; return those that do in each.

        Their losses after that become NaN, and their best epochs are noted.
        """
        point, after = self._point, self._random_states(members)
        point.put_models(self.model.state, members)
        drawing = self._drawing(members)
        self._set_random_states({i: point.place[i] for i in drawing if i in point.place})
        others = len(members) < len(self.live)
        gone: list[Members] = []
        for epoch in range(len(losses)):
            gone.append(members[:0])
            if len(members):
                own = self._run(members, point.rates[epoch : epoch + 1])
                gone[-1] = self._infinite(own, members)
                losses[epoch + 1 :, gone[-1]] = np.nan
                members = np.setdiff1d(members, gone[-1])
                self._note_best(own, members, self.epoch + epoch)
        if self.shared_order and others:
            self._set_random_states(after)
        return gone

    # -- what the orders are drawn from ------------------------------------------------------------------------------

    def _drawing(self, members: Members) -> list[int]:
        """Return the models whose generators draw the orders of some."""
        if self.shuffle is False:
            return []
        return [0] if self.shared_order else [int(i) for i in members]

    def _random_states(self, members: Members) -> dict[int, Any]:
        return {i: self.model.generators[i].bit_generator.state for i in self._drawing(members)}

    def _set_random_states(self, kept: dict[int, Any]) -> None:
        for i, state in kept.items():
            self.model.generators[i].bit_generator.state = state
