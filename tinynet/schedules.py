"""Learning rates that change while training.

A schedule is a function of the progress: epochs done, as a number that grows by one update's share with every update,
so a schedule is smooth within an epoch where its formula is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinynet.checks import number

Float64 = NDArray[np.float64]


class Schedule(ABC):
    """A learning rate as a function of the epochs done."""

    @abstractmethod
    def __call__(self, epochs: Float64) -> Float64:
        """Return the learning rate at each of ``epochs``, a float64 array of any shape."""


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply by ``factor`` every ``every`` epochs: ``r0 * factor ** floor(t / every)``.

    Examples
    --------
    >>> StepDecay(0.1, every=10, factor=0.5)(np.array([0.0, 9.9, 10.0]))
    array([0.1 , 0.1 , 0.05])
    """

    initial: float
    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        number("initial", self.initial, above=0.0)
        number("every", self.every, above=0.0)
        number("factor", self.factor, above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        return self.initial * self.factor ** np.floor(_whole(epochs) / self.every)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiply by ``factor`` each epoch, smoothly: ``r0 * factor ** t``.

    Examples
    --------
    >>> ExponentialDecay(0.1, factor=0.5)(np.array([0.0, 1.0]))
    array([0.1 , 0.05])
    """

    initial: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        number("initial", self.initial, above=0.0)
        number("factor", self.factor, above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        return self.initial * self.factor**epochs


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from ``initial`` to ``final`` over ``epochs`` epochs, constant afterwards.

    Loshchilov and Hutter (2017), "SGDR", eq. 5, without restarts.

    Examples
    --------
    >>> CosineDecay(0.2, epochs=10)(np.array([0.0, 5.0, 10.0]))
    array([0.2, 0.1, 0. ])
    """

    initial: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        number("initial", self.initial, above=0.0)
        number("epochs", self.epochs, above=0.0)
        number("final", self.final, at_least=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        progress = np.minimum(epochs / self.epochs, 1.0)
        return self.final + (self.initial - self.final) * 0.5 * (1.0 + np.cos(np.pi * progress))


@dataclass(frozen=True)
class Warmup(Schedule):
    """Rise linearly from 0 over ``epochs`` epochs, then follow another schedule or stay constant.

    Goyal et al. (2017), section 2.2. The first update uses one update's share, not 0.

    Parameters
    ----------
    then : Schedule or float
        What follows; its time starts when the warm-up ends.
    epochs : float
        Length of the rise.

    Examples
    --------
    >>> Warmup(0.1, epochs=2)(np.array([0.5, 1.0, 2.0, 3.0]))
    array([0.025, 0.05 , 0.1  , 0.1  ])
    """

    then: Schedule | float
    epochs: float

    def __post_init__(self) -> None:
        number("epochs", self.epochs, above=0.0)
        if not isinstance(self.then, Schedule):
            number("then", self.then, above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        target = rates(self.then, np.zeros(()))
        rising = target * np.minimum(epochs / self.epochs, 1.0)
        return np.where(epochs < self.epochs, rising, rates(self.then, np.maximum(epochs - self.epochs, 0.0)))


def rates(learning_rate: float | Schedule, epochs: Float64) -> Float64:
    """Return the learning rates at ``epochs``, whether they change or not."""
    if isinstance(learning_rate, Schedule):
        return np.asarray(learning_rate(epochs), dtype=np.float64)
    return np.full(epochs.shape, float(learning_rate))


def _whole(epochs: Float64) -> Float64:
    """Undo the rounding of ``epoch + update / n_updates``, so that a step falls on the update where it belongs."""
    return np.round(epochs, 9)
