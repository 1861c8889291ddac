"""The range of learning rates in which a network learns: tried by a rate that grows with each update."""

from __future__ import annotations

import copy
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.compiling import tell_people
from tinynet.base.checks import number, whole
from tinynet.base.errors import DivergenceError
from tinynet.base.frozen import dataclass
from tinynet.base.hints import hints_arguments
from tinynet.losses import Loss
from tinynet.models.sequential import Sequential
from tinynet.optimizers import Optimizer, get_optimizer
from tinynet.plotting.rates import plot_rates
from tinynet.schedules import ExponentialDecay
from tinynet.training.arguments import checked_batch_size
from tinynet.training.logs import Logs
from tinynet.training.progress import CompilerNotice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 0.9
"""Losses of single updates jump: each point is a mean that forgets 10% with each update."""

WINDOWS = 8
"""The steepest fall is looked for over one in so many of all updates."""

FAR = 4.0
"""A loss this many times the lowest tells that no higher rate will do."""


@dataclass(frozen=True)
class LearningRateRange:
    """How a network learns at which rate, as ``learning_rate_range`` returns it.

    Attributes
    ----------
    rates : (n_updates,) array
        The rate of each update.
    losses : (n_updates,) array
        The loss before it, smoothed.
    steepest : float
        The rate at which the loss falls most: a good constant one, or one to begin with.
    highest : float
        The rate at which the loss is lowest; beyond it training is unstable. ``OneCycle`` takes a third of it or less.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def steepest(self) -> float:
        """The rate in the middle of the window of updates over which the loss falls most, up to its lowest."""
        until = int(self.losses.argmin()) + 1
        width = min(until, max(3, len(self.losses) // WINDOWS))
        # The least-squares slope over each window: single losses jump even when they are smoothed.
        place = np.arange(width) - (width - 1) / 2
        slopes = np.lib.stride_tricks.sliding_window_view(self.losses[:until], width) @ place
        return float(self.rates[int(slopes.argmin()) + width // 2])

    @property
    def highest(self) -> float:
        """The rate at which the loss is lowest."""
        return float(self.rates[int(self.losses.argmin())])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot the loss over the rate; needs matplotlib.

        Parameters
        ----------
        path : path, optional
            Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file there is replaced atomically.
        """
        return plot_rates(self.rates, self.losses, self.steepest, path)

    def __repr__(self) -> str:
        return f"LearningRateRange({len(self.rates)} updates; steepest {self.steepest:.3g}, highest {self.highest:.3g})"


class _Losses(CompilerNotice):
    """Notes the loss of each update, and ends the training when it is far above the lowest."""

    reads_gradients = False

    def __init__(self, n_updates: int) -> None:
        self.n_updates = n_updates
        self.losses: list[float] = []
        self._sum = 0.0

    def on_compile(self, what: str) -> None:
        """Tell those who would wonder: nobody can ask for it."""
        tell_people(what)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Note a loss."""
        n = len(self.losses) + 1
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * float(logs["loss"])
        self.losses.append(self._sum / (1 - SMOOTHING**n))  # As of Adam's moments, which begin at 0, too.
        self.model.stop_training = n == self.n_updates or self.losses[-1] > FAR * min(self.losses)


@hints_arguments
def learning_rate_range(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: str | Loss = "mse",
    optimizer: str | Optimizer = "adam",
    low: float = 1e-6,
    high: float = 10.0,
    n_updates: int = 200,
    batch_size: int | None = None,
) -> LearningRateRange:
    """Train a copy of a network with a rate that grows from update to update, and tell how the loss goes.

    The range test of Smith (2017), "Cyclical learning rates for training neural networks", section 3.3, with a rate
    that grows by an equal factor. The network stays as it is.

    Parameters
    ----------
    net : Sequential
    x, y, loss, batch_size
        As for ``fit``.
    optimizer : str or Optimizer
        Its learning rate is left aside.
    low, high : float
        The first rate and the last; the test ends sooner when the loss is 4 times the lowest, or infinite.
    n_updates : int
        How many rates are tried.

    Raises
    ------
    ValueError
        If the rates are not in order, or the optimizer has no learning rate.

    Examples
    --------
    >>> import tinynet as tn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> net = tn.Sequential(tn.Linear(2, 8), tn.Tanh(), tn.Linear(8, 1), seed=0, backend="numpy")
    >>> found = tn.learning_rate_range(net, x, x[:, :1] * x[:, 1:])
    >>> 1e-6 < found.steepest < found.highest <= 10
    True
    """
    low, high = number("low", low, above=0.0), number("high", high, above=0.0)
    n_updates = whole("n_updates", n_updates, at_least=2)
    if not low < high:
        raise ValueError(f"low must be below high; got {low:g} and {high:g}.")
    tried = copy.copy(get_optimizer(optimizer))
    if tried.takes_all_samples:
        raise ValueError(f"learning_rate_range expects an optimizer with a learning rate; {tried!r} needs none.")
    n_samples = len(x)
    in_an_epoch = math.ceil(n_samples / checked_batch_size(batch_size, tried, n_samples))
    growth = (high / low) ** (1 / (n_updates - 1))
    tried.learning_rate = ExponentialDecay(low, growth**in_an_epoch)
    noted, trained = _Losses(n_updates), net.clone()
    try:
        trained.fit(
            x,
            y,
            loss=loss,
            optimizer=tried,
            epochs=math.ceil(n_updates / in_an_epoch),
            batch_size=batch_size,
            callbacks=noted,
        )
    except DivergenceError:
        if len(noted.losses) < 2:
            raise  # Not even the lowest rate will do.
    losses = np.array(noted.losses)
    return LearningRateRange(low * growth ** np.arange(len(losses)), losses)
