"""When a training is saved: a callback that writes checkpoints, and the best model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tinynet.base.checks import member, whole
from tinynet.exchange.atomic import require_place
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs
from tinynet.training.monitors import Monitor


class Checkpoint(Callback):
    """Keep what is needed to go on after a crash: ``net.fit(..., resume_from=path)`` ends as if nothing had happened.

    Parameters
    ----------
    path : path
        The file; it is replaced atomically.
    every : int
        Number of epochs or updates between two checkpoints.
    unit : {"epoch", "update"}
    best_path : path, optional
        Where to keep the model (not a checkpoint) of the best epoch.
    monitor : str
        Which figure makes an epoch the best, for ``best_path``.
    mode : {"auto", "min", "max"}
        As for ``EarlyStopping``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        unit: str = "epoch",
        best_path: str | os.PathLike[str] | None = None,
        monitor: str = "val_loss",
        mode: str = "auto",
    ) -> None:
        self.path = Path(path)
        self.every = whole("every", every)
        self.unit = member("unit", unit, ("epoch", "update"))
        self.best_path = best_path
        self._watch = Monitor(monitor, 0.0, mode, owner="Checkpoint")
        self.looks_every = 1 if best_path is not None or unit == "update" else self.every

    def on_train_begin(self, logs: Logs) -> None:
        """Say now, not after hours, that the folder is missing or the name of the best model is none for a model."""
        from tinynet.exchange.modelfile import check_name, is_safetensors

        if is_safetensors(self.path):
            raise ValueError(
                f"Checkpoint writes .npz files; got {str(self.path)!r}. Only best_path may be safetensors."
            )
        if self.best_path is not None:
            check_name(self.best_path)
            self._watch.check(self)
        if self.trainer.team.rank == 0:
            for path in [self.path] if self.best_path is None else [self.path, Path(self.best_path)]:
                require_place("Checkpoint", path)
        _ = self.trainer.identity  # It is found now: callbacks may change the data while they train.
        self._watch.reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save if it is time."""
        if self.best_path is not None and self._watch.improved(epoch, logs) and self.trainer.team.rank == 0:
            self.model.save(self.best_path)
        updates = self.trainer.updates
        due = (epoch + 1) % self.every if self.unit == "epoch" else updates % self.every
        if due == 0 or (self.unit == "epoch" and epoch + 1 == self.trainer.epochs):
            self.trainer.save_checkpoint(self.path)

    def settings(self) -> dict[str, Any]:
        """Return what makes an epoch the best; where and how often checkpoints are written is no part of a training."""
        return {} if self.best_path is None else self._watch.settings()

    def state(self) -> dict[str, Any]:
        """Return the best figure."""
        return self._watch.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self._watch.load_state(state)
