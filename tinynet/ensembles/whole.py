"""WholeEnsembleTrainer: many models whose optimizers take all samples in each step; each stops by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

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

    def _chunk_epochs(self) -> int:
        """Return how many epochs to run in one call: one, since models stop one by one."""
        return 1

    def _run_chunk(self, n: int) -> None:
        """Run an epoch of the models whose optimizers make a step."""
        rates, live = np.ones((1, 1, 1)), self.live
        self._save_point(1, rates)
        with self.model.guard.changing():
            losses = self._run(live, rates)
        done = live[self.plan.stopped(self.model.state, live)]
        idle = done[np.isnan(losses[0, done])]
        if len(idle):  # They ended with the epoch before.
            self.history.stopped[idle] = self.epoch - 1
            self.live = np.setdiff1d(live, idle)
        if not len(self.live):
            return
        infinite = self._infinite(losses, self.live)
        self._note_best(losses, np.setdiff1d(self.live, infinite), self.epoch)
        self._record(losses[0], 1.0, infinite, last=True)
        last = np.intersect1d(done, self.live)
        self.history.stopped[last] = self.epoch - 1
        self.live = np.setdiff1d(self.live, last)

    def _progress(self, rate: Any) -> dict[str, Values]:
        """Return what the history shows of an epoch beside losses and metrics: nothing."""
        return {}
