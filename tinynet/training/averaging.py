"""Averages of weights over a training: what ``predict`` uses in the end is calmer than the last update."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member, number, whole
from tinynet.base.warned import warn_caller
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs
from tinynet.training.monitors import EarlyStopping


class WeightAverage(Callback):
    """A weighted mean of the weights of several moments, which the model holds after training.

    While training goes on, the model has its own weights: figures of the validation are those of these. A checkpoint
    keeps both, so that a training that is resumed ends with the same average. A training that diverges keeps its best
    weights.

    Attributes
    ----------
    keep, gain : float
        A look makes of the sum ``keep * sum + gain * weights``, and of the sum of the shares likewise.
    """

    keep: float
    gain: float

    def __init__(self, every: int) -> None:
        self.every = whole("every", every)
        self.looks_every = self.every
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.total = np.empty(0)
        self.share = 0.0

    def takes(self, epoch: int, epochs: int) -> bool:
        """Tell whether the weights after an epoch, of so many, belong to the average."""
        return (epoch + 1) % self.every == 0

    def on_train_begin(self, logs: Logs) -> None:
        """Start afresh, if nobody else sets the weights in the end."""
        others = [c for c in self.trainer.callbacks if isinstance(c, WeightAverage) or _restores(c)]
        self.require_alone([callback for callback in others if callback is not self])
        self.reset()

    def require_alone(self, others: list[Callback]) -> None:
        """Raise ValueError if others set the weights, too."""
        if others:
            name, other = type(self).__name__, type(others[0]).__name__
            raise ValueError(
                f"{name} expects to be the only one that sets the weights after training; got {other} beside it. Leave "
                "one out, or pass restore_best=False to EarlyStopping."
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Take the weights, if it is time."""
        if self.takes(epoch, self.trainer.epochs):
            self.take()

    def take(self) -> None:
        """Take the weights as they are now."""
        weights = self.model.flat_parameters().astype(np.float64)
        self.total = self.gain * weights + (self.keep * self.total if self.share else 0.0)
        self.share = self.keep * self.share + self.gain

    @property
    def average(self) -> NDArray[np.float64]:
        """The average, (n_parameters,)."""
        return self.total / self.share

    def on_train_end(self, logs: Logs) -> None:
        """Let the model have the average."""
        if self.trainer.history.stop_reason == "diverged":
            return
        if self.share:
            self.model.set_flat_parameters(self.average)
        else:
            self.warn_of_nothing(self.trainer)

    def warn_of_nothing(self, trainer: Any) -> None:
        """Warn that there is no average, unless the training was interrupted and may go on."""
        if trainer.epoch < trainer.epochs and not trainer.model.stop_training:
            return
        warn_caller(
            f"{type(self).__name__} has seen no weights that belong to its average: the training was too short. The "
            "model has those of the end. Let it start earlier."
        )

    def settings(self) -> dict[str, Any]:
        """Return what makes the average."""
        return {"every": self.every}

    def state(self) -> dict[str, Any]:
        """Return the sums."""
        return {"share": self.share, "total": self.total}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        share, total = float(state["share"]), np.asarray(state["total"], np.float64)
        expected = (self.model.n_parameters,) if share else (0,)
        if total.shape != expected or not np.isfinite(total).all() or not 0 <= share < math.inf:
            raise ValueError(
                f"the average must be of {self.model.n_parameters} finite weights; got shape {total.shape}"
            )
        self.share, self.total = share, total


class EMA(WeightAverage):
    """The exponential moving average of the weights: those of now count most (Kingma and Ba 2015, section 7.2).

    ``a = sum_i decay**(n - i) w_i / sum_i decay**(n - i)``, over the moments 1 to n.

    Parameters
    ----------
    decay : float
        In (0, 1). The average is one of about ``1 / (1 - decay)`` moments.
    unit : {"epoch", "update"}
        What a moment is. With "update" training runs one update at a time, which is slower by far for small networks.
    every : int
        How many epochs, or updates, lie between two moments.

    Examples
    --------
    >>> import tinynet as tn
    >>> net, x = tn.Sequential(tn.Linear(1, 1), seed=0, backend="numpy"), np.ones((4, 1))
    >>> average = EMA(0.5)
    >>> _ = net.fit(x, x, epochs=3, callbacks=[average])
    >>> bool(np.allclose(net.flat_parameters(), average.average))
    True
    """

    reads_gradients = False

    def __init__(self, decay: float = 0.9, unit: str = "epoch", every: int = 1) -> None:
        self.keep = number("decay", decay, above=0.0, below=1.0)
        self.gain = 1.0 - self.keep
        self.unit: str = member("unit", unit, ("epoch", "update"))
        super().__init__(every)
        if unit == "update":
            self.looks_every = None

    @property
    def wants_batches(self) -> bool:
        """Whether it looks at single updates."""
        return self.unit == "update"

    def takes(self, epoch: int, epochs: int) -> bool:
        """Tell whether the weights after an epoch belong to the average."""
        return self.unit == "epoch" and super().takes(epoch, epochs)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Take the weights, if it is time."""
        if self.unit == "update" and self.trainer.updates % self.every == 0:
            self.take()

    def settings(self) -> dict[str, Any]:
        """Return what makes the average."""
        return super().settings() | {"decay": self.keep, "unit": self.unit}


class SWA(WeightAverage):
    """Stochastic weight averaging: the mean of the weights of the last epochs (Izmailov et al. 2018, algorithm 1).

    It wants a learning rate that stays high enough for the weights to move about: a constant one, or one that falls to
    some value and stays there.

    Parameters
    ----------
    start : int or float
        The first epoch whose weights count, from 0; below 1, that share of all epochs goes before it.
    every : int
        How many epochs lie between two that count.
    """

    keep = gain = 1.0

    def __init__(self, start: float = 0.75, every: int = 1) -> None:
        self.start = number("start", start, at_least=0.0)
        super().__init__(every)

    def takes(self, epoch: int, epochs: int) -> bool:
        """Tell whether the weights after an epoch belong to the average."""
        first: float = math.ceil(self.start * epochs) if self.start < 1 else self.start
        return epoch >= first and super().takes(epoch, epochs)

    def settings(self) -> dict[str, Any]:
        """Return what makes the average."""
        return super().settings() | {"start": self.start}


def _restores(callback: Callback) -> bool:
    return isinstance(callback, EarlyStopping) and callback.restore_best
