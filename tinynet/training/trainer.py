"""Trainer: the fit loop. It knows models, data and callbacks; it never knows which backend computes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Granularity
from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.base.checks import whole
from tinynet.base.errors import DivergenceError
from tinynet.losses import Loss
from tinynet.optimizers import Optimizer
from tinynet.program import Specialize
from tinynet.schedules import Schedule, rates, usable_rates
from tinynet.training.arguments import (
    checked_batch_size,
    checked_callbacks,
    checked_shuffle,
    reason_of,
    warn_if_nothing_is_trained,
)
from tinynet.training.callbacks import Callback, acting, told
from tinynet.training.data import Data
from tinynet.training.diverging import divergence
from tinynet.training.history import History
from tinynet.training.looking import Looking
from tinynet.training.metrics import Measure
from tinynet.training.monitors import StopAfter
from tinynet.training.progress import notices
from tinynet.training.ranks import check_alike, identity_among, meter_of, share_optimizer
from tinynet.training.remembered import with_state
from tinynet.training.saving import Checkpoint
from tinynet.training.trainable import Trainable

CHUNK_SECONDS = 0.1
"""How long one call into the backend should take: long enough that the call costs nothing, short enough for Ctrl-C."""

CHUNK_BYTES = 1 << 26
"""Most memory for the sample order of one call."""


class Trainer(Looking):
    """One call of ``fit``.

    Parameters
    ----------
    model : Sequential
    data : Data
    validation : Data or None
    loss : Loss
    optimizer : Optimizer
    epochs, batch_size : int
    shuffle : bool or "replacement"
    drop_last : bool
    metrics : dict of str to Measure
    callbacks : sequence of Callback
    verbose : {0, 1, 2}
    team : Team, optional
        Who else trains the model, each on samples of its own.
    """

    def __init__(
        self,
        model: Trainable,
        data: Data,
        validation: Data | None,
        *,
        loss: Loss,
        optimizer: Optimizer,
        epochs: int,
        batch_size: int | None,
        shuffle: bool | str,
        drop_last: bool,
        metrics: dict[str, Measure],
        callbacks: Callback | Iterable[Callback],
        verbose: int,
        team: Alone = ALONE,
    ) -> None:
        self.team, self.n_samples = team, team.count(len(data))
        self.model, self.data, self.validation = model, data, validation
        self.loss, self.optimizer, self.metrics = loss, optimizer, metrics
        self.meter = meter_of(team, metrics, data, loss, model.program)
        self.val_meter = None if validation is None else meter_of(team, metrics, validation, loss, model.program)
        self.epochs = whole("epochs", epochs)
        self.batch_size = checked_batch_size(batch_size, optimizer, self.n_samples)
        self.shuffle, self.drop_last = checked_shuffle(shuffle), bool(drop_last)
        self.n_visits = self.n_samples - (self.n_samples % self.batch_size if self.drop_last else 0)
        self.n_updates = math.ceil(self.n_visits / self.batch_size)
        self.callbacks = checked_callbacks(callbacks, verbose)
        # Checkpoints come last, so that they keep what the other callbacks made of an epoch; and before them the clock,
        # which stops only what nobody else has stopped for good.
        self.callbacks.sort(key=lambda callback: isinstance(callback, StopAfter) + 2 * isinstance(callback, Checkpoint))
        self.paused = False
        self.history = History()
        self.resumed = False
        self.epoch = 0
        self.visit = 0
        self.updates = 0
        self.rate_factor = 1.0
        self.partial_loss = 0.0
        self.order: NDArray[np.int64] | None = None
        self._begin_retracing()
        self._seconds_per_epoch = 0.0
        self._stepwise = team.any(any(callback.wants_batches for callback in self.callbacks))
        names = [type(callback).__name__ for callback in self.callbacks]
        self.callbacks = [callback for callback in self.callbacks if not (team.rank and callback.first_rank_only)]
        by_kernel = any(callback.wants_batches and callback.reads_gradients for callback in self.callbacks)
        granularity: Granularity = "step" if by_kernel else "epoch"
        about = granularity, data.streamed, self._specialize(), data.standardised
        with told(notices(self.callbacks), self.history):
            self.plan = model.plan(loss, optimizer, data.y, self.batch_size, *about, team)
        self.history.plan = self.plan.description
        warn_if_nothing_is_trained(self.plan.program)
        check_alike(team, self, callbacks=names, epochs=self.epochs)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, resume_from: Any = None, resume_changes: Iterable[str] = ()) -> History:
        """Train to the last epoch, or until a callback stops it.

        Nothing happens before a checkpoint is accepted, and nothing to the model before every callback has begun.
        """
        model, found = self.model, None
        if resume_from is not None:
            from tinynet.training.checkpoints import read_checkpoint

            found = read_checkpoint(self, resume_from, resume_changes)
        model.stop_training = False
        if found is not None:
            found.place(self)
            self.resumed = True
        with acting(self.callbacks, model, self):
            if found is None:
                model.prepare_optimizer(self.optimizer, self.plan.program.frozen)
            else:
                found.restore(self)
            share_optimizer(self.team, model)
            self._take_over()
            try:
                with model.guard.training():
                    while self._goes_on():
                        if self._segmented():
                            self._run_one_epoch()
                        else:
                            self._run_chunk(self._chunk_epochs())
            except DivergenceError:
                raise
            except BaseException as error:
                self.epoch = self.team.ended(error, self.epoch)
                self._go_back()
                self.history.stop_reason = reason_of(error) or self.history.stop_reason
                raise
        return self.history

    def _take_over(self) -> None:
        """Let the model be that of this training."""
        self.model.loss, self.model.history = self.loss, self.history

    def _goes_on(self) -> bool:
        """Whether there is another epoch; who is in the middle of one has to look, too."""
        model, history = self.model, self.history
        model.stop_training, history.stop_reason = self.team.stopping(model.stop_training, history.stop_reason)
        return self.epoch < self.epochs and not model.stop_training

    def save_checkpoint(self, path: Any) -> None:
        """Write everything that ``resume_from`` needs; of several ranks, the first one does."""
        from tinynet.training.checkpoints import save_checkpoint

        self.settle_best()
        if self.team.rank == 0:
            save_checkpoint(self, path)

    def _segmented(self) -> bool:
        """Whether somebody has to look within the epoch, or training stands within one."""
        return self._stepwise or self.visit > 0 or bool(self._update_intervals())

    def _update_intervals(self) -> list[int]:
        return [c.every for c in self.callbacks if isinstance(c, Checkpoint) and c.unit == "update"]

    def _run_chunk(self, n: int) -> None:
        """Run some epochs in one call: no more than nobody has to look between."""
        learning_rates = self._learning_rates(self.epoch, n)
        n = len(learning_rates)
        point = self._save_point(n, learning_rates)
        order = self._draw_order(n)
        data = self.data if order is not None else self.data.part(0, self.n_visits)
        with self.model.guard.changing():
            losses, figures = self._run_epochs(data, order, learning_rates)
            finite = len(figures) == len(losses)
            if not finite and n == 1:
                self._diverge(float(losses[0]))
            if not finite:
                self._return_to(point)
        if not finite:
            # In which epoch it was, and which was the best before, is seen where every epoch is looked at.
            stop = self.epoch + n
            while self.epoch < stop and not self.model.stop_training:
                self._run_chunk(1)
            return
        self._note_best(losses)
        for i in range(n):
            self._told, self.updates = i, self.updates + self.n_updates
            self._finish_epoch(float(losses[i]), float(learning_rates[i, -1]), figures[i])
            if self.model.stop_training and i < n - 1:
                self._go_back()
                return

    def _run_epochs(
        self, data: Data, order: NDArray[np.int64] | None, learning_rates: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
        """Run epochs; return the loss of each and its other figures, for which the model is looked at after each.

        They end with the first that leaves something infinite; that one has no figures.
        """
        started, state, n = time.perf_counter(), self.model.state, len(learning_rates)
        self._make_room(n)
        figures: list[dict[str, float]] = []
        if not self._looks:
            losses = self.plan.run(state, data.x, data.y, order, learning_rates, data.weight)[:, 0]
            figures = [{}] * n if self._finite(losses) else []
        else:
            losses = np.empty(n)
            for i in range(n):
                own = None if order is None else order[i : i + 1]
                losses[i] = self.plan.run(state, data.x, data.y, own, learning_rates[i : i + 1], data.weight)[0, 0]
                if not self._finite(losses[i : i + 1]):
                    losses = losses[: i + 1]
                    break
                figures.append(self._measured())
                self._keep(i)
        self._seconds_per_epoch = (time.perf_counter() - started) / n
        return losses, figures

    def _run_one_epoch(self) -> None:
        """Run one epoch in segments, or what is left of it."""
        learning_rates = self._learning_rates(self.epoch, 1)
        self._save_point(1, learning_rates)
        if self.visit == 0:
            drawn = self._draw_order(1)
            self.order = None if drawn is None else drawn[0]
            self.partial_loss = 0.0
            self._hook("on_epoch_begin", self.epoch)
        rates_vary = learning_rates.shape[1] > 1
        mean = self.loss.reduction == "mean"
        while self.visit < self.n_visits and not (self._stepwise and self.model.stop_training):
            first = self.visit // self.batch_size
            n_updates = self._segment_updates(first)
            start, stop = self.visit, min((first + n_updates) * self.batch_size, self.n_visits)
            if self._stepwise:
                self._hook("on_train_batch_begin", first)
            if self.order is None:
                data, place = self.data.part(start, stop), None
            else:
                data, place = self.data, self.order[None, start:stop]
            segment_rates = learning_rates[:, first : first + n_updates] if rates_vary else learning_rates
            with self.model.guard.changing():
                value = self.plan.run(self.model.state, data.x, data.y, place, segment_rates, data.weight)
                if not self._finite(value):
                    self._diverge(float(value[0, 0]))
            self.partial_loss += float(value[0, 0]) * ((stop - start) if mean else 1.0)
            self.visit, self.updates = stop, self.updates + n_updates
            if self._stepwise:
                self._hook("on_train_batch_end", first, {"loss": float(value[0, 0])})
                self._goes_on()
            if self.visit < self.n_visits:
                for callback in self.callbacks:
                    if isinstance(callback, Checkpoint) and callback.unit == "update":
                        if self.updates % callback.every == 0:
                            self.save_checkpoint(callback.path)
        loss = self.partial_loss / self.visit if mean else self.partial_loss
        self.visit, self.order = 0, None
        self._note_best(np.array([loss]))
        self._finish_epoch(loss, float(learning_rates[0, -1]), self._measured(), begun=True)

    def _segment_updates(self, first: int) -> int:
        """Return how many updates may run before somebody has to look."""
        if self._stepwise:
            return 1
        left = self.n_updates - first
        return min([left, *(every - self.updates % every for every in self._update_intervals())])

    def _finish_epoch(self, loss: float, rate: float, figures: dict[str, float], *, begun: bool = False) -> None:
        """Record an epoch, with the figures that were measured after it."""
        epoch = self.epoch
        logs = {"loss": loss, **figures, **self._progress(rate)}
        self.history.record(epoch, logs)
        self.epoch += 1
        if not begun:
            self._hook("on_epoch_begin", epoch)
        self._hook("on_epoch_end", epoch, logs)

    def _hook(self, name: str, index: int, logs: dict[str, float] | None = None) -> None:
        for callback in self.callbacks:
            getattr(callback, name)(index, {} if logs is None else logs)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _progress(self, rate: float) -> dict[str, float]:
        """Return what the history shows of an epoch beside losses and metrics."""
        return {"learning_rate": rate}

    @property
    def remembering(self) -> list[Callback]:
        """The callbacks whose states a checkpoint keeps."""
        return with_state(self.callbacks)

    @property
    def own_identity(self) -> dict[str, Any]:
        """What only this kind of training has: nothing."""
        return {}

    @property
    def drawn(self) -> set[str]:
        """What of its identity was drawn at random: nothing, as a seed is no part of it."""
        return set()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes this training. A checkpoint asks for it at the start: callbacks may change the data later."""
        return identity_among(self.team, self)

    def _specialize(self) -> Specialize:
        """Return what is worth compiling: the function that trains quickest, which stays for the trainings to come."""
        return "sizes"

    def _chunk_epochs(self) -> int:
        """Return how many epochs to run in one call."""
        left = self.epochs - self.epoch
        measured_by_user = any(measure.rises is None for measure in self.metrics.values())
        if measured_by_user or not self._repeatable or self.team.many:
            return 1
        looks = [c.looks_every - self.epoch % c.looks_every for c in self.callbacks if c.looks_every is not None]
        affordable = CHUNK_BYTES // max(8 * self.n_visits, self._bytes_kept)
        timely = int(CHUNK_SECONDS / self._seconds_per_epoch) if self._seconds_per_epoch else 1
        return max(1, min([left, affordable, timely, *looks]))

    def _draw_order(self, n_epochs: int) -> NDArray[np.int64] | None:
        """Draw the sample order of some epochs, epoch by epoch, so that it does not depend on how they are grouped."""
        rng, n = self.model.rng, self.n_samples
        if self.shuffle is False:
            return self.team.in_order(n_epochs, self.n_visits)
        order = np.empty((n_epochs, self.n_visits), np.int64)
        for row in order:
            row[:] = rng.permutation(n)[: self.n_visits] if self.shuffle is True else rng.integers(0, n, self.n_visits)
        return order

    def _learning_rates(self, first: int, n_epochs: int) -> NDArray[np.float64]:
        """Return the rates of some epochs: a column if they are constant, else one for each update.

        Of fewer epochs, where a rate after them is none.
        """
        rate: Any = self.optimizer.learning_rate
        if not isinstance(rate, Schedule):
            return usable_rates(np.full((n_epochs, 1), rate * self.rate_factor), rate)
        epochs = np.arange(first, first + n_epochs, dtype=np.float64)[:, None]
        result = rates(rate, epochs + np.arange(self.n_updates) / self.n_updates) * self.rate_factor
        return np.ascontiguousarray(usable_rates(result, rate))

    def _finite(self, losses: NDArray[np.float64]) -> bool:
        """Tell whether losses, and the parameters after them, are finite."""
        parameters, namespace = self.model.state.parameters, self.model.backend.namespace
        # To count takes a third of the time of `all`, which is a function in Python.
        n_finite = int(namespace.count_nonzero(namespace.isfinite(parameters)))
        return self.team.every(n_finite == parameters.size and np.count_nonzero(np.isfinite(losses)) == losses.size)

    def _diverge(self, loss: float) -> NoReturn:
        """Give the model its best weights back, and tell."""
        self._put_best()
        self.model.forget_optimizer()  # What it remembers is infinite, too.
        self.history.stop_reason = "diverged"
        raise divergence(loss, self.epoch, self.model, self.optimizer, self.history)
