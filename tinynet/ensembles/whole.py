"""WholeEnsembleTrainer: many models whose optimizers take all samples in each step; each stops by itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.ensembles.trainer import EnsembleTrainer, Values
from tinynet.training.monitors import ReduceLROnPlateau


class WholeEnsembleTrainer(EnsembleTrainer):
    """One call of ``Ensemble.fit`` with an optimizer that takes all samples in each step.

    Every model has its own damping, or its own pairs, takes its own steps and stops for its own reason.

    Raises
    ------
    ValueError
        If batches are asked for, or a callback that changes a learning rate: there is none.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "shuffle": False, "drop_last": False})
        if any(isinstance(watch.callback, ReduceLROnPlateau) for watch in self.watches):
            name = type(self.optimizer).__name__
            raise ValueError(f"{name} has no learning rate for ReduceLROnPlateau to reduce. Leave that out.")

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""
        return [name for name in super().figures if name != "learning_rate"]

    def _take_over(self) -> None:
        """Let the models be those of this training, and optimizers that have stopped begin again."""
        super()._take_over()
        if not self.resumed:
            self.plan.resume(self.model.state)
            self.history.begin(self.figures)

    def _run_chunk(self, n: int) -> None:
        """Run some epochs of the models whose optimizers make steps; no more than nobody has to look between."""
        rates, live = np.ones((n, 1, 1)), self.live
        self._save_point(n, rates)
        started = time.perf_counter()
        with self.model.guard.changing():
            losses = self._run(live, rates)
            self._seconds_per_epoch = (time.perf_counter() - started) / n
            done = live[self.plan.stopped(self.model.state, live)]
            going = np.setdiff1d(live, done)
            infinite = self._infinite(losses, going)
            diverged = [infinite] if n == 1 else [live[:0]] * n
            if n > 1 and len(infinite):
                diverged = self._look_at_each_epoch(losses, infinite)
            # Where a model made no step there is no loss.
            known = np.where(np.isnan(losses), np.inf, losses)
            self._note_best(known, np.setdiff1d(live, infinite), self.epoch)
        made = np.zeros(len(self.model), np.int64)
        made[done] = np.isfinite(losses[:, done]).sum(axis=0)
        for i in range(n):
            self._end(done[made[done] == i])
            if not len(self.live):
                return
            self._record(losses[i], 1.0, diverged[i], last=i == n - 1)
            if self.model.stop_training and i < n - 1:
                self._go_back()
                return
        self._end(done[made[done] == n])

    def _end(self, members: NDArray[np.int64]) -> None:
        """Leave models alone whose optimizers have stopped with the epoch before."""
        ended = np.intersect1d(members, self.live)
        self.history.stopped[ended] = self.epoch - 1
        self.live = np.setdiff1d(self.live, ended)

    def _to_repeat(self, epoch: int) -> NDArray[np.int64]:
        """Return the models that run again from an epoch on: those, too, that have stopped by themselves since."""
        again = (self.history.stopped < 0) | (self.history.stopped >= epoch)
        again[np.array(self.history.diverged, np.int64)] = False
        return np.flatnonzero(again)

    def _progress(self, rate: Any) -> dict[str, Values]:
        """Return what the history shows of an epoch beside losses and metrics: nothing."""
        return {}
