"""What watches each model of an ensemble: early stopping, and rates that fall on a plateau."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.training.averaging import WeightAverage
from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau

if TYPE_CHECKING:
    from tinynet.ensembles.trainer import EnsembleTrainer

Logs = dict[str, NDArray[np.float64]]
Members = NDArray[np.int64]


class Watch:
    """Compares a figure of each model with its best so far, by the settings of a callback for one model.

    Attributes
    ----------
    best, best_epoch, wait : (n_models,) arrays
    """

    def __init__(self, callback: Any, n_models: int) -> None:
        self.callback = callback
        self.best = np.full(n_models, math.inf if callback.mode == "min" else -math.inf)
        self.best_epoch = np.full(n_models, -1)
        self.wait = np.zeros(n_models, np.int64)

    def check(self, figures: Iterable[str]) -> None:
        """Raise if the figure that is watched is not among those of the training."""
        if self.callback.monitor not in figures:
            raise ValueError(
                f"{type(self.callback).__name__} monitors {self.callback.monitor!r}; this training reports "
                f"{', '.join(figures)}. Pass validation_data for figures that start with val_, metrics for theirs, or "
                "monitor another."
            )

    def compare(self, trainer: EnsembleTrainer, logs: Logs) -> Members:
        """Note an epoch; return the models that got better."""
        name = self.callback.monitor
        live, delta = trainer.live, self.callback.min_delta
        value, best = logs[name][live], self.best[live]
        improved = value < best - delta if self.callback.mode == "min" else value > best + delta
        better: Members = live[improved]
        self.wait[live] += 1
        self.wait[better] = 0
        self.best[better], self.best_epoch[better] = logs[name][better], trainer.epoch
        return better

    def look(self, trainer: EnsembleTrainer, logs: Logs) -> Members:
        """Act on an epoch; return the models that stop."""
        raise NotImplementedError

    def finish(self, trainer: EnsembleTrainer, held: Members) -> Members:
        """Act on the end of training; ``held`` is the epoch whose weights each model holds, before and after."""
        return held

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "best_epoch": self.best_epoch, "wait": self.wait}

    def expected(self, n_models: int, n_parameters: int, dtype: str) -> dict[str, tuple[list[int], str]]:
        """Return the shape and the dtype of what a checkpoint keeps."""
        return {"best": ([n_models], "float64"), "best_epoch": ([n_models], "int64"), "wait": ([n_models], "int64")}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Take up what a checkpoint kept."""
        for name, value in kept.items():
            setattr(self, name, value)


class Stopping(Watch):
    """``EarlyStopping`` of each model."""

    def __init__(self, callback: EarlyStopping, n_models: int) -> None:
        super().__init__(callback, n_models)
        self.best_parameters = np.empty((0, 0))

    def look(self, trainer: EnsembleTrainer, logs: Logs) -> Members:
        """Stop the models whose patience is at its end."""
        better = self.compare(trainer, logs)
        if self.callback.restore_best:
            parameters = trainer.model.state.parameters
            if not self.best_parameters.size:
                self.best_parameters = trainer.model.backend.to_numpy(parameters).copy()
            self.best_parameters[better] = trainer.model.backend.to_numpy(parameters[better])
        done: Members = trainer.live[self.wait[trainer.live] > self.callback.patience]
        return done

    def finish(self, trainer: EnsembleTrainer, held: Members) -> Members:
        """Restore the best weights."""
        seen = np.flatnonzero(self.best_epoch >= 0)
        if not self.callback.restore_best or not seen.size:
            return held
        trainer.model.state.parameters[seen] = trainer.model.backend.asarray(self.best_parameters[seen])
        return np.where(self.best_epoch >= 0, self.best_epoch, held)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint keeps."""
        return super().state() | {"best_parameters": self.best_parameters}

    def expected(self, n_models: int, n_parameters: int, dtype: str) -> dict[str, tuple[list[int], str]]:
        """Return the shape and the dtype of what a checkpoint keeps."""
        kept = ([n_models, n_parameters], dtype) if self.callback.restore_best else ([0, 0], "float64")
        return super().expected(n_models, n_parameters, dtype) | {"best_parameters": kept}


class Averaging(Watch):
    """``EMA`` or ``SWA`` of each model, over the epochs in which it is trained."""

    def __init__(self, callback: WeightAverage, n_models: int) -> None:
        self.callback = callback
        self.total = np.empty((0, 0))
        self.share = np.zeros(n_models)

    def check(self, figures: Iterable[str]) -> None:
        """Watch no figure."""

    def look(self, trainer: EnsembleTrainer, logs: Logs) -> Members:
        """Take the weights of the models that are trained."""
        callback, live = self.callback, trainer.live
        if not self.total.size:
            self.total = np.zeros(trainer.model.state.parameters.shape)
        if callback.takes(trainer.epoch, trainer.epochs) and len(live):
            weights = trainer.model.backend.to_numpy(trainer.model.state.parameters[live]).astype(np.float64)
            self.total[live] = callback.keep * self.total[live] + callback.gain * weights
            self.share[live] = callback.keep * self.share[live] + callback.gain
        return np.empty(0, np.int64)

    def finish(self, trainer: EnsembleTrainer, held: Members) -> Members:
        """Let the models have their averages: weights of no epoch, whose figures nobody has measured."""
        done = self.share > 0
        done[trainer.history.diverged] = False
        if not done.any():
            self.callback.warn_of_nothing(trainer)
            return held
        averages = (self.total[done] / self.share[done, np.newaxis]).astype(trainer.model.dtype)
        trainer.model.state.parameters[np.flatnonzero(done)] = trainer.model.backend.asarray(averages)
        return np.where(done, -1, held)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint keeps."""
        return {"share": self.share, "total": self.total}

    def expected(self, n_models: int, n_parameters: int, dtype: str) -> dict[str, tuple[list[int], str]]:
        """Return the shape and the dtype of what a checkpoint keeps."""
        return {"share": ([n_models], "float64"), "total": ([n_models, n_parameters], "float64")}


class Plateau(Watch):
    """``ReduceLROnPlateau`` of each model."""

    def __init__(self, callback: ReduceLROnPlateau, n_models: int) -> None:
        super().__init__(callback, n_models)

    def look(self, trainer: EnsembleTrainer, logs: Logs) -> Members:
        """Reduce the rates of the models that wait for too long."""
        self.compare(trainer, logs)
        late: Members = trainer.live[self.wait[trainer.live] >= self.callback.patience]
        self.wait[late] = 0
        trainer.rate_factor[late] *= self.callback.reduction(logs["learning_rate"][late])
        return np.empty(0, np.int64)
