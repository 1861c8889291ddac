"""Distributions that settings of a sweep are drawn from; called as initializers are, ``f(shape, rng)``.

``Uniform``, which initializers have too, and every other initializer may stand where these do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import number, whole
from tinynet.base.frozen import dataclass


class Distribution(ABC):
    """Draws values of a setting."""

    @abstractmethod
    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        """Return independent values, an array of this shape."""


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Numbers in ``[low, high)`` whose logarithm is uniform: for learning rates and other scales.

    Parameters
    ----------
    low, high : float
        0 < low < high.

    Examples
    --------
    >>> values = LogUniform(1e-4, 1e-1)((1000,), np.random.default_rng(0))
    >>> bool(values.min() >= 1e-4), bool(0.002 < np.median(values) < 0.005)
    (True, True)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        number("low", self.low, above=0.0)
        number("high", self.high, above=self.low)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        drawn = np.exp(rng.uniform(np.log(self.low), np.log(self.high), shape))
        return np.clip(drawn, self.low, np.nextafter(self.high, self.low))  # The exponential may round out of it.


@dataclass(frozen=True)
class IntUniform(Distribution):
    """Whole numbers from ``low`` to ``high``, both included.

    Examples
    --------
    >>> sorted(set(IntUniform(1, 3)((100,), np.random.default_rng(0)).tolist()))
    [1, 2, 3]
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        low = whole("low", self.low, at_least=-(2**62))
        whole("high", self.high, at_least=low)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        return np.asarray(rng.integers(self.low, self.high, shape, endpoint=True))


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some values, each with its probability.

    Parameters
    ----------
    values : sequence
    probabilities : sequence of float, optional
        They sum to 1; by default all are equal. A plain list in a space stands for ``Choice`` of it.

    Examples
    --------
    >>> Choice(["relu", "tanh"], [0.0, 1.0])((), np.random.default_rng(0)).item()
    'tanh'
    """

    values: Sequence[Any]
    probabilities: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or len(self.values) == 0:
            raise ValueError(f"Choice expects a list of values; got {self.values!r}.")
        if self.probabilities is not None:
            if len(self.probabilities) != len(self.values):
                raise ValueError(
                    f"probabilities expects one for each of {len(self.values)} values; got {len(self.probabilities)}."
                )
            for probability in self.probabilities:
                number("a probability", probability, at_least=0.0)
            if not np.isclose(sum(self.probabilities), 1.0):
                raise ValueError(f"probabilities expects a sum of 1; got {sum(self.probabilities):g}.")

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        weights = None if self.probabilities is None else np.asarray(self.probabilities) / sum(self.probabilities)
        places = rng.choice(len(self.values), size=shape, p=weights)
        # Filled one by one: an array made of tuples would get an axis for what they hold.
        drawn = np.empty(shape, dtype=object)
        for position in np.ndindex(shape):
            drawn[position] = self.values[int(places[position])]
        return drawn
