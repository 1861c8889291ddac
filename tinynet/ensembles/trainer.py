"""EnsembleTrainer: the fit loop of many models. Each stops by itself; those that go on are all that is computed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.base.checks import whole
from tinynet.ensembles.retracing import Retracing
from tinynet.ensembles.watch import Averaging, Plateau, Stopping, Watch
from tinynet.losses import Loss
from tinynet.optimizers import Optimizer
from tinynet.schedules import Schedule, is_own, rates, usable_rates
from tinynet.training.arguments import (
    checked_batch_size,
    checked_callbacks,
    checked_shuffle,
    reason_of,
    warn_if_nothing_is_trained,
)
from tinynet.training.averaging import EMA, SWA
from tinynet.training.callbacks import Callback, acting, told
from tinynet.training.data import Data
from tinynet.training.history import EnsembleHistory
from tinynet.training.identity import identity_of
from tinynet.training.metrics import Measure, Meter, figures_of
from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau
from tinynet.training.progress import notices
from tinynet.training.remembered import with_state
from tinynet.training.saving import Checkpoint
from tinynet.training.trainer import CHUNK_BYTES, CHUNK_SECONDS

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble

FEWEST = 8
"""Fewest epochs that are worth a call: to look at thousands of models after each of fewer costs less than to note, for
a look later, what their orders are drawn from."""

SLICE = 256
"""Models are taken in multiples of this where the sample orders of all would not fit into ``CHUNK_BYTES``."""

Values = NDArray[np.float64]


class EnsembleTrainer(Retracing):
    """One call of ``Ensemble.fit``."""

    team: Alone = ALONE

    def __init__(
        self,
        models: Ensemble,
        data: Data,
        validation: Data | None,
        *,
        loss: Loss,
        optimizer: Optimizer,
        epochs: int,
        batch_size: int | None,
        shuffle: bool | str,
        shared_order: bool,
        drop_last: bool,
        metrics: dict[str, Measure],
        callbacks: Any,
        verbose: int,
    ) -> None:
        self.model, self.data, self.validation = models, data, validation
        self.loss, self.optimizer, self.metrics = loss, optimizer, metrics
        self.meter = Meter(metrics, data, loss, models.program)
        self.val_meter = None if validation is None else Meter(metrics, validation, loss, models.program)
        self.epochs = whole("epochs", epochs)
        self.batch_size = checked_batch_size(batch_size, optimizer, len(data))
        self.shuffle, self.shared_order, self.drop_last = checked_shuffle(shuffle), shared_order, bool(drop_last)
        self.n_visits = len(data) - len(data) % self.batch_size if self.drop_last else len(data)
        self.n_updates = math.ceil(self.n_visits / self.batch_size)
        given = checked_callbacks(callbacks, verbose)
        self.callbacks, self.watches, self.checkpoints = _sorted(given, len(models))
        for watch in self.watches:
            watch.check(self.figures)
        self.history = EnsembleHistory(len(models))
        with told(notices(self.callbacks), self.history):
            self.plan = models.plan(loss, optimizer, data.y, self.batch_size, data.standardised)
        self.history.plan = self.plan.description
        warn_if_nothing_is_trained(self.plan.program)
        self.resumed = self.paused = False
        self.epoch = 0
        self.live = np.arange(len(models))
        self.rate_factor = np.ones(len(models))
        self._begin_retracing()
        self._seconds_per_epoch = 0.0
        self._learning_rates(0, 1)  # A schedule for another number of models fails before anything is changed.

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, resume_from: Any = None, resume_changes: Iterable[str] = ()) -> EnsembleHistory:
        """Train to the last epoch, or until no model is left.

        Nothing happens before a checkpoint is accepted, and nothing to the models before every callback has begun.
        """
        models, found = self.model, None
        if resume_from is not None:
            from tinynet.ensembles.checkpoints import read_checkpoint

            found = read_checkpoint(self, resume_from, resume_changes)
        models.stop_training = False
        if found is not None:
            found.place(self)
            self.resumed = True
        with acting([*self.callbacks, *self.checkpoints], models, self):
            if found is None:
                models.prepare_optimizer(self.optimizer, self.plan.program.frozen)
            else:
                found.restore(self)
            self._take_over()
            try:
                with models.guard.training():
                    while self.epoch < self.epochs and len(self.live) and not models.stop_training:
                        self._run_chunk(self._chunk_epochs())
            except BaseException as error:
                self._go_back()
                self.history.stop_reason = reason_of(error) or self.history.stop_reason
                raise
            finally:
                self._finish()
        return self.history

    def _take_over(self) -> None:
        """Let the models be those of this training."""
        self.model.loss, self.model.history = self.loss, self.history

    def _run_chunk(self, n: int) -> None:
        """Run some epochs: no more than nobody has to look between."""
        learning_rates = self._learning_rates(self.epoch, n)
        n, live = len(learning_rates), self.live
        self._save_point(n, learning_rates)
        started = time.perf_counter()
        with self.model.guard.changing():
            losses = self._run(live, learning_rates)
            self._seconds_per_epoch = (time.perf_counter() - started) / n
            infinite = self._infinite(losses, live)
            self._note_best(losses, np.setdiff1d(live, infinite) if len(infinite) else live, self.epoch)
            none = live[:0]
            diverged = [infinite] if n == 1 else [none] * n
            if n > 1 and len(infinite):
                diverged = self._look_at_each_epoch(losses, infinite)
        for i in range(n):
            rate = learning_rates[i, -1]
            self._record(losses[i], rate, diverged[i], last=i == n - 1)
            if not len(self.live):
                return
            if self.model.stop_training and i < n - 1:
                self._go_back()
                return

    def _run(self, members: NDArray[np.int64], rates: Values) -> Values:
        """Train some models for the epochs that have rates, in as few calls as memory allows; return their losses."""
        models, n = self.model, len(rates)
        losses = np.full((n, len(models)), np.nan)
        shared = self._order(members[:1], n) if self.shared_order else None
        for some in self._slices(members, n):
            order = shared[:, 0] if shared is not None else self._order(some, n)
            data = self.data if order is not None else self.data.part(0, self.n_visits)
            place = None if order is None else models.backend.asarray(order)
            # (n_epochs, n_rates, n_models), or n_models is 1 where all have the same.
            own_rates = np.ascontiguousarray(rates[..., 0] if rates.shape[-1] == 1 else rates[..., some])
            losses[:, some] = self.plan.run(models.state, data.x, data.y, place, own_rates, data.weight, some)
        return losses

    def _record(self, losses: Values, rate: Any, diverged: NDArray[np.int64], *, last: bool) -> None:
        """Record an epoch; ``last`` tells whether the models are in the state in which it left them."""
        logs = {"loss": losses}
        self._stop(diverged)
        self.history.diverged += diverged.tolist()
        if last:
            logs |= self._figures(self.meter, "", loss=False)
            if self.val_meter is not None:
                logs |= self._figures(self.val_meter, "val_", loss=True)
        logs |= self._progress(rate)
        self.history.record(self.epoch, logs)
        for watch in self.watches:
            self._stop(watch.look(self, logs))
        self.epoch += 1
        for callback in self.callbacks:
            callback.on_epoch_begin(self.epoch - 1, {})
            callback.on_epoch_end(self.epoch - 1, logs)
        for checkpoint in self.checkpoints:
            if last and (self.epoch % checkpoint.every == 0 or self.epoch == self.epochs):
                self.save_checkpoint(checkpoint.path)

    def _progress(self, rate: Any) -> dict[str, Values]:
        """Return what the history shows of an epoch beside losses and metrics."""
        shown = np.empty(len(self.model))
        shown[:] = rate
        return {"learning_rate": shown}

    def _stop(self, members: NDArray[np.int64]) -> None:
        """Leave models alone from now on."""
        if not len(members):  # Nearly always, and the difference of sets below sorts all models in every epoch.
            return
        self.history.stopped[members] = self.epoch
        self.live = np.setdiff1d(self.live, members)

    def _figures(self, meter: Meter, prefix: str, *, loss: bool) -> dict[str, Values]:
        """Return the loss and the metrics of the models that go on over a set; NaN for the others."""
        figures, data = {}, meter.data
        if loss:
            values = figures[prefix + "loss"] = np.full(len(self.model), np.nan)
            if len(self.live):
                values[self.live] = self.plan.evaluate(self.model.state, data.x, data.y, data.weight, self.live)
        with np.errstate(over="ignore", invalid="ignore"):  # One that is on its way to infinity will be reported.
            measured = self.model.measure(meter, self.live, self.model.state)
        return figures | {prefix + name: values for name, values in measured.items()}

    def _finish(self) -> None:
        """Give models the weights that they should hold, and note the figures of these weights."""
        history, state = self.history, self.model.state
        if not self.live.size:
            history.stop_reason = "every model has stopped"
        held = np.where(history.stopped >= 0, history.stopped, len(history) - 1)
        bad = np.array(history.diverged, np.int64)
        held[bad] = self.best_epoch[bad]
        with self.model.guard.changing():
            held[self._put_best(bad)] = -1
            # What the optimizer remembers of them is infinite, too.
            state.moments[:, bad], state.step[bad] = 0, 0
            for watch in self.watches:
                held = watch.finish(self, held)
        if len(history):
            # A model that diverged at once holds the weights that it began with, which have no figures.
            known, every = held >= 0, np.arange(len(self.model))
            self.model.scores = {
                name: np.where(known, history[name][held, every], np.nan) for name in history if name != "learning_rate"
            }

    def save_checkpoint(self, path: Any) -> None:
        """Write everything that ``resume_from`` needs."""
        from tinynet.ensembles.checkpoints import save_checkpoint

        self.settle_best()
        save_checkpoint(self, path)

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""
        return figures_of(self.metrics, self.validation is not None)

    @property
    def remembering(self) -> list[Callback]:
        """The callbacks whose states a checkpoint keeps."""
        return [*(watch.callback for watch in self.watches), *with_state(self.callbacks)]

    @property
    def own_identity(self) -> dict[str, Any]:
        """What only the training of many models has."""
        return {"seeds": self.model.seeds, "shared_order": self.shared_order}

    @property
    def drawn(self) -> set[str]:
        """What of its identity was drawn at random: the seeds, where nobody gave any."""
        return {"seeds"} if self.model.seeds_drawn else set()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes this training. A checkpoint asks for it at the start: callbacks may change the data later."""
        return identity_of(self)

    def _chunk_epochs(self) -> int:
        """Return how many epochs to run before somebody has to look."""
        left = self.epochs - self.epoch
        custom = self.plan.program.loss is not None and self.plan.program.loss.custom is not None
        if self.validation is not None or self.metrics or self.watches or custom:
            return 1
        looks = [c.looks_every - self.epoch % c.looks_every for c in self.callbacks if c.looks_every is not None]
        looks += [c.every - self.epoch % c.every for c in self.checkpoints]
        # The orders of a slice of models are drawn together; see `_slices`.
        orders = 0 if self.shuffle is False else 1 if self.shared_order else min(len(self.live), SLICE)
        affordable = CHUNK_BYTES // (8 * self.n_visits * orders) if orders else left
        seconds = self.plan.call_seconds or CHUNK_SECONDS
        timely = int(seconds / self._seconds_per_epoch) if self._seconds_per_epoch else 1
        n = min([left, affordable, timely, *looks])
        return n if n >= FEWEST or self.plan.call_seconds is not None else 1

    def _slices(self, members: NDArray[np.int64], n_epochs: int) -> Iterator[NDArray[np.int64]]:
        """Return models in slices whose sample orders fit into memory; what they get does not depend on it."""
        size = len(members)
        if self.shuffle is not False and not self.shared_order:
            size = max(1, CHUNK_BYTES // (8 * n_epochs * self.n_visits * SLICE)) * SLICE
        return (members[i : i + size] for i in range(0, len(members), size))

    def _order(self, members: NDArray[np.int64], n_epochs: int) -> NDArray[np.int64] | None:
        """Draw the order of some epochs for some models, each from its own generator, epoch by epoch."""
        if self.shuffle is False:
            return None
        n, n_visits = len(self.data), self.n_visits
        order = np.empty((n_epochs, len(members), n_visits), np.int64)
        for position, i in enumerate(members.tolist()):
            rng = self.model.generators[0 if self.shared_order else i]
            for epoch in range(n_epochs):
                drawn = rng.permutation(n)[:n_visits] if self.shuffle is True else rng.integers(0, n, n_visits)
                order[epoch, position] = drawn
            self._drawn[i] += n_epochs
        return order

    def _learning_rates(self, first: int, n_epochs: int) -> Values:
        """Return the rates of some epochs, (n_epochs, n_rates, n_models), or n_models is 1 where all have the same.

        Of fewer epochs, where a rate after them is none.
        """
        rate, n_models, reduced = self.optimizer.learning_rate, len(self.model), (self.rate_factor != 1).any()
        if isinstance(rate, float) and not reduced:  # Most often, and in each epoch where somebody looks at it.
            return usable_rates(np.full((n_epochs, 1, 1), rate), rate)
        epochs = np.arange(first, first + n_epochs, dtype=np.float64)[:, None, None]
        if isinstance(rate, Schedule):
            epochs = epochs + (np.arange(self.n_updates) / self.n_updates)[:, None]
        result = rates(rate, epochs)
        if result.shape[-1] not in (1, n_models):
            raise ValueError(f"learning_rate expects one number for each of {n_models} models; got {result.shape[-1]}.")
        if is_own(rate) or reduced:
            result = result * self.rate_factor
        return usable_rates(result, rate)


def _sorted(callbacks: list[Callback], n_models: int) -> tuple[list[Callback], list[Watch], list[Checkpoint]]:
    """Return callbacks with hooks, what watches each model, and checkpoints."""
    kinds: dict[type, Callable[[Any, int], Watch]] = {
        EarlyStopping: Stopping,
        ReduceLROnPlateau: Plateau,
        EMA: Averaging,
        SWA: Averaging,
    }
    watches, checkpoints, others = [], [], []
    for callback in callbacks:
        replaced = next((kind for kind in (*kinds, Checkpoint) if isinstance(callback, kind)), type(callback))
        if replaced is not type(callback):
            raise TypeError(
                f"Ensemble.fit has its own {replaced.__name__}, which acts on each model by itself; got "
                f"{type(callback).__name__}, a subclass whose hooks are for one model. Pass {replaced.__name__}, or "
                "train Sequential models one by one."
            )
        if callback.wants_batches:
            raise ValueError(f"Ensemble.fit has no hooks on single updates, which {type(callback).__name__} overrides.")
        if type(callback) in kinds:
            watches.append(kinds[type(callback)](callback, n_models))
        elif isinstance(callback, Checkpoint):
            if callback.unit != "epoch" or callback.best_path is not None:
                raise ValueError("Ensemble.fit expects a Checkpoint that counts epochs, without best_path; use best().")
            checkpoints.append(callback)
        else:
            others.append(callback)
    for watch in watches:
        if isinstance(watch, Averaging):
            setting = [other for other in watches if isinstance(other, Averaging | Stopping) and other is not watch]
            restoring = [other.callback for other in setting if getattr(other.callback, "restore_best", True)]
            watch.callback.require_alone(restoring)
    return others, watches, checkpoints
