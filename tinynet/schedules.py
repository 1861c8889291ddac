"""Learning rates that change while training.

A schedule is a function of the progress: epochs done, as a number that grows by one update's share with every update,
so a schedule is smooth within an epoch where its formula is. Every number may be a sequence, with one for each model of
an ensemble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import setting
from tinynet.base.frozen import dataclass
from tinynet.program import Setting

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

    initial: Setting
    every: Setting
    factor: Setting = 0.1

    def __post_init__(self) -> None:
        _check(self, "initial", above=0.0)
        _check(self, "every", above=0.0)
        _check(self, "factor", above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        initial, every, factor = map(np.asarray, (self.initial, self.every, self.factor))
        rate: Float64 = initial * factor ** np.floor(_whole(epochs) / every)
        return rate


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiply by ``factor`` each epoch, smoothly: ``r0 * factor ** t``.

    Examples
    --------
    >>> ExponentialDecay(0.1, factor=0.5)(np.array([0.0, 1.0]))
    array([0.1 , 0.05])
    """

    initial: Setting
    factor: Setting = 0.95

    def __post_init__(self) -> None:
        _check(self, "initial", above=0.0)
        _check(self, "factor", above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        return np.asarray(self.initial) * np.asarray(self.factor) ** epochs


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from ``initial`` to ``final`` over ``epochs`` epochs, constant afterwards.

    Loshchilov and Hutter (2017), "SGDR", eq. 5, without restarts.

    Examples
    --------
    >>> CosineDecay(0.2, epochs=10)(np.array([0.0, 5.0, 10.0]))
    array([0.2, 0.1, 0. ])
    """

    initial: Setting
    epochs: Setting
    final: Setting = 0.0

    def __post_init__(self) -> None:
        _check(self, "initial", above=0.0)
        _check(self, "epochs", above=0.0)
        _check(self, "final", at_least=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        initial, final = np.asarray(self.initial), np.asarray(self.final)
        progress = np.minimum(epochs / np.asarray(self.epochs), 1.0)
        rate: Float64 = final + (initial - final) * 0.5 * (1.0 + np.cos(np.pi * progress))
        return rate


@dataclass(frozen=True)
class Warmup(Schedule):
    """Rise linearly from 0 over ``epochs`` epochs, then follow another schedule or stay constant.

    Goyal et al. (2017), section 2.2. The very first update has a rate of 0.

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

    then: Schedule | Setting
    epochs: Setting

    def __post_init__(self) -> None:
        _check(self, "epochs", above=0.0)
        if not isinstance(self.then, Schedule):
            _check(self, "then", above=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        target = rates(self.then, np.zeros(()))
        length = np.asarray(self.epochs)
        rising = target * np.minimum(epochs / length, 1.0)
        return np.where(epochs < length, rising, rates(self.then, np.maximum(epochs - length, 0.0)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rise by half a cosine to ``highest``, then fall by another to next to nothing, once over ``epochs`` epochs.

    Smith and Topin (2018), "Super-convergence", with the cosines and the defaults of PyTorch's ``OneCycleLR``; the
    momentum stays as it is. Take ``highest`` from ``learning_rate_range``.

    Parameters
    ----------
    highest : float
        The rate at the top.
    epochs : float
        Length of all; the rate is constant afterwards.
    rise : float
        In (0, 1): the share of ``epochs`` that leads to the top.
    first, last : float
        The rates at both ends, as shares of ``highest``.

    Examples
    --------
    >>> OneCycle(0.1, epochs=10, rise=0.5, first=0.1, last=0.0)(np.array([0.0, 2.5, 5.0, 10.0]))
    array([0.01 , 0.055, 0.1  , 0.   ])
    """

    highest: Setting
    epochs: Setting
    rise: Setting = 0.3
    first: Setting = 0.04
    last: Setting = 4e-6

    def __post_init__(self) -> None:
        _check(self, "highest", above=0.0)
        _check(self, "epochs", above=0.0)
        _check(self, "rise", above=0.0, below=1.0)
        _check(self, "first", at_least=0.0)
        _check(self, "last", at_least=0.0)

    def __call__(self, epochs: Float64) -> Float64:
        highest, length, rise, first, last = map(
            np.asarray, (self.highest, self.epochs, self.rise, self.first, self.last)
        )
        done = np.minimum(epochs / length, 1.0)
        rising = done < rise
        way = np.where(rising, done / rise, (done - rise) / (1.0 - rise))
        start, end = np.where(rising, first, 1.0), np.where(rising, 1.0, last)
        rate: Float64 = highest * (end + (start - end) * 0.5 * (1.0 + np.cos(np.pi * way)))
        return rate


def rates(learning_rate: Setting | Schedule, epochs: Float64) -> Float64:
    """Return the learning rates at ``epochs``, whether they change or not.

    Where models have their own, ``epochs`` ends in an axis of length 1, and the result in one of the models.
    """
    if isinstance(learning_rate, Schedule):
        return np.asarray(learning_rate(epochs), dtype=np.float64)
    return np.asarray(learning_rate, dtype=np.float64) + np.zeros(epochs.shape)


def usable_rates(found: NDArray[np.float64], rate: Any) -> NDArray[np.float64]:
    """Return the learning rates of the epochs, an entry each, before the first with one that is none.

    Raises
    ------
    ValueError
        If that is the first of all.

    Examples
    --------
    >>> usable_rates(np.array([[0.1], [0.0], [-0.1], [0.1]]), 0.1).tolist()
    [[0.1], [0.0]]
    """
    usable = np.isfinite(found) & (found >= 0)
    if usable.all():
        return found
    first = int(usable.reshape(len(found), -1).all(axis=1).argmin())
    if first == 0:
        raise ValueError(f"learning rates must be finite and not negative; {rate!r} gave {found[0].min()}.")
    return found[:first]


def is_own(learning_rate: Any) -> bool:
    """Whether a learning rate or a schedule has numbers for each model of an ensemble.

    Examples
    --------
    >>> is_own(0.1), is_own(StepDecay((0.1, 0.2), every=5))
    (False, True)
    """
    if isinstance(learning_rate, tuple):
        return True
    return isinstance(learning_rate, Schedule) and any(map(is_own, vars(learning_rate).values()))


def _check(schedule: Schedule, name: str, **bounds: float) -> None:
    """Hold a number of a schedule, or one for each model, against its bounds."""
    checked = setting(name, getattr(schedule, name), **bounds)
    if isinstance(checked, tuple):
        object.__setattr__(schedule, name, checked)


def _whole(epochs: Float64) -> Float64:
    """Undo the rounding of ``epoch + update / n_updates``, so that a step falls on the update where it belongs."""
    return np.round(epochs, 9)
