"""WholeTrainer: the fit loop of optimizers whose every step takes all samples, and who stop by themselves."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tinynet.training.monitors import ReduceLROnPlateau
from tinynet.training.trainer import Trainer


class WholeTrainer(Trainer):
    """One call of ``fit`` with an optimizer that takes all samples in each step: an epoch is a step that helped.

    Takes what ``Trainer`` takes.

    Raises
    ------
    ValueError
        If batches are asked for, or a callback that changes a learning rate: there is none.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "shuffle": False, "drop_last": False})
        for callback in self.callbacks:
            if isinstance(callback, ReduceLROnPlateau):
                name = type(self.optimizer).__name__
                raise ValueError(f"{name} has no learning rate for ReduceLROnPlateau to reduce. Leave that out.")

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""
        names = [name for name in super().figures if name != "learning_rate"]
        return [*names, *self.plan.figure_names]

    def _take_over(self) -> None:
        """Let the model be that of this training, and an optimizer that has stopped begin again."""
        super()._take_over()
        if not self.resumed:
            self.plan.resume(self.model.state)
            self.history.begin(self.figures)

    def _segmented(self) -> bool:
        """An epoch is one update: there is nothing to look at within it."""
        return False

    def _chunk_epochs(self) -> int:
        """Return how many epochs to run in one call: one, where somebody looks at each step or at its figures."""
        looks = self._looks or self._stepwise or self._update_intervals() or self.plan.figure_names
        return 1 if looks else super()._chunk_epochs()

    def _run_chunk(self, n: int) -> None:
        """Run some epochs in one call, or fewer where the optimizer stops."""
        state, rates = self.model.state, np.ones((n, 1))
        if self.plan.stop_reason(state):
            self._stop()
            return
        self._save_point(n, rates)
        if self._stepwise:
            self._hook("on_train_batch_begin", 0)
        started = time.perf_counter()
        with self.model.guard.changing():
            losses = self.plan.run(state, self.data.x, self.data.y, None, rates, self.data.weight)[:, 0]
            self._seconds_per_epoch = (time.perf_counter() - started) / n
            self._running = len(losses)
            if not self._finite(losses):
                self._diverge(float(losses[-1]))
        if len(losses):
            self._note_best(losses)
        for i, loss in enumerate(losses.tolist()):
            self.updates += 1
            if self._stepwise:
                self._hook("on_train_batch_end", 0, {"loss": loss})
            self._finish_epoch(loss, 1.0, self._measured() if i == len(losses) - 1 else {})
            if self.model.stop_training and i < len(losses) - 1:
                self._go_back()
                return
        if self.plan.stop_reason(state):
            self._stop()

    def _stop(self) -> None:
        """End training for the optimizer's own reason."""
        self.history.stop_reason = self.plan.stop_reason(self.model.state)
        self.model.stop_training = True

    def _progress(self, rate: float) -> dict[str, float]:
        """Return what the history shows beside losses and metrics."""
        return self.plan.figures(self.model.state)
