"""Callbacks that watch a figure, or the clock: stop when it is time, or lower the learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import number, whole
from tinynet.base.hints import did_you_mean
from tinynet.training.callbacks import Callback, LambdaCallback
from tinynet.training.logs import Logs
from tinynet.training.metrics import direction


class Monitor(Callback):
    """Watches one figure for improvement.

    Parameters
    ----------
    monitor, min_delta, mode
        As for ``EarlyStopping``.
    owner : str, optional
        What messages call it; by default the name of its class.
    """

    def __init__(self, monitor: str, min_delta: float, mode: str, owner: str | None = None) -> None:
        self.monitor = monitor
        self.min_delta = number("min_delta", min_delta, at_least=0.0)
        self.mode: str = direction(monitor, mode)
        self.owner = type(self).__name__ if owner is None else owner
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.best = math.inf if self.mode == "min" else -math.inf
        self.best_epoch = -1
        self.wait = 0

    def on_train_begin(self, logs: Logs) -> None:
        """Start afresh."""
        self.check(self)
        self.reset()

    def check(self, owner: Callback) -> None:
        """Raise ValueError, before anything is trained, if nobody reports the figure to the callback that watches it.

        A callback of the user's may write figures of its own into the logs; those after it see them, as in Keras.
        """
        callbacks, figures = owner.trainer.callbacks, owner.trainer.figures
        if not any(map(_may_report, callbacks[: callbacks.index(owner) + 1])):
            self._require(figures)

    def _require(self, figures: Iterable[str]) -> None:
        """Raise ValueError if the figure that is watched is not among some."""
        if self.monitor not in figures:
            validated = [name for name in figures if name.startswith("val_")]
            meant = did_you_mean(self.monitor, validated if self.monitor.startswith("val_") else figures)
            raise ValueError(
                f"{self.owner} monitors {self.monitor!r}; this training reports {', '.join(figures)}."
                + (meant or " Pass validation_data for figures that start with val_, or monitor another.")
            )

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Note the figure of an epoch; tell whether it is the best so far."""
        self._require(logs)
        value = float(logs[self.monitor])
        better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        if better:
            self.best, self.best_epoch, self.wait = value, epoch, 0
        else:
            self.wait += 1
        return better

    def settings(self) -> dict[str, Any]:
        """Return what decides when a figure has improved, and what follows."""
        return {"monitor": self.monitor, "mode": self.mode, "min_delta": self.min_delta}

    def state(self) -> dict[str, Any]:
        """Return the best figure and how long ago it was."""
        return {"best": self.best, "best_epoch": self.best_epoch, "wait": self.wait}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.best, self.best_epoch, self.wait = float(state["best"]), int(state["best_epoch"]), int(state["wait"])


def _may_report(callback: Callback) -> bool:
    """Whether a callback may write figures into the logs: one that has functions of the user's, or is his own."""
    return isinstance(callback, LambdaCallback) or not type(callback).__module__.startswith("tinynet.")


class EarlyStopping(Monitor):
    """Stop when a figure has not improved for ``patience`` epochs (Prechelt 1998, criterion UP).

    Parameters
    ----------
    monitor : str
        "val_loss", "loss", or a metric's name.
    patience : int
        Epochs without improvement that are waited for.
    min_delta : float
        What counts as an improvement must exceed this.
    mode : {"auto", "min", "max"}
        Whether the figure should fall or rise. "auto": losses fall, and metrics of tinynet's go their way. For a metric
        of yours say which.
    restore_best : bool
        Leave the model with the weights of its best epoch.

    Raises
    ------
    ValueError
        If mode is "auto" and nobody knows the direction of the figure.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = whole("patience", patience, at_least=0)
        self.restore_best = bool(restore_best)
        self.best_parameters: NDArray[Any] | None = None
        # A subclass may want to see the model itself.
        self.looks_every = None if type(self) is EarlyStopping else 1

    @property
    def asks_later(self) -> bool:
        """Whether it asks for the parameters of epochs that are over."""
        return self.looks_every is None and self.restore_best

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self.best_parameters = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and stop when patience is at its end."""
        if self.improved(epoch, logs):
            self.best_parameters = self.trainer.parameters_then() if self.restore_best else None
        elif self.wait > self.patience:
            self.model.stop_training = True
            self.trainer.history.stop_reason = f"{self.monitor} has not improved since epoch {self.best_epoch + 1}"

    def on_train_end(self, logs: Logs) -> None:
        """Restore the best weights."""
        if self.best_parameters is not None:
            self.model.set_flat_parameters(self.best_parameters)

    def settings(self) -> dict[str, Any]:
        """Return what decides when a figure has improved, and what follows."""
        return super().settings() | {"patience": self.patience, "restore_best": self.restore_best}

    def state(self) -> dict[str, Any]:
        """Return the best figure and the best weights."""
        kept = super().state()
        return kept if self.best_parameters is None else {**kept, "best_parameters": self.best_parameters}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        super().load_state(state)
        best = state.get("best_parameters")
        if best is not None and best.shape != (self.model.n_parameters,):
            raise ValueError(f"the best weights have shape {best.shape}; expected {(self.model.n_parameters,)}")
        if best is not None and not np.isfinite(best).all():
            raise ValueError("the best weights are not finite")
        self.best_parameters = best


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a figure has not improved for ``patience`` epochs.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for ``EarlyStopping``.
    factor : float
        In (0, 1).
    min_learning_rate : float
        The rate is not reduced below this.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        min_learning_rate: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.factor = number("factor", factor, above=0.0, below=1.0)
        self.patience = whole("patience", patience, at_least=1)
        self.min_learning_rate = number("min_learning_rate", min_learning_rate, at_least=0.0)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and reduce when patience is at its end."""
        if not self.improved(epoch, logs) and self.wait >= self.patience:
            self.wait = 0
            self.trainer.rate_factor *= float(self.reduction(logs["learning_rate"]))

    def reduction(self, rate: Any) -> NDArray[np.float64]:
        """Return what to multiply a rate by, or those of many models: 1 for one that is not above the lowest, or is 0.

        Examples
        --------
        >>> ReduceLROnPlateau(factor=0.1, min_learning_rate=0.05).reduction([1.0, 0.1, 0.02]).tolist()
        [0.1, 0.5, 1.0]
        """
        rates = np.asarray(rate, np.float64)
        above = rates > self.min_learning_rate
        floor = np.divide(self.min_learning_rate, rates, out=np.ones_like(rates), where=above)
        return np.maximum(self.factor, floor)

    def settings(self) -> dict[str, Any]:
        """Return what decides when a figure has improved, and what follows."""
        own = {"patience": self.patience, "factor": self.factor, "min_learning_rate": self.min_learning_rate}
        return super().settings() | own


class StopAfter(Callback):
    """Stop after so many seconds, at the end of an epoch; of a training that is resumed, those of the call count.

    A checkpoint that is written then goes on, when it is resumed with more time, as if nothing had happened.

    Parameters
    ----------
    seconds : float
        Wall-clock time of the call of ``fit``, with that for compiling, if any.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 1), seed=0, backend="numpy")
    >>> history = net.fit([[1.0]], [[1.0]], epochs=10**9, callbacks=StopAfter(seconds=0.01))
    >>> history.stop_reason
    '0.01 s are over'
    """

    looks_every = None

    def __init__(self, seconds: float) -> None:
        self.seconds = number("seconds", seconds, above=0.0)

    def on_train_begin(self, logs: Logs) -> None:
        """Start the clock."""
        self._end = time.monotonic() + self.seconds

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Stop if time is over."""
        if time.monotonic() >= self._end and not self.model.stop_training:
            self.model.stop_training = True
            self.trainer.history.stop_reason = f"{self.seconds:g} s are over"
            self.trainer.paused = True
