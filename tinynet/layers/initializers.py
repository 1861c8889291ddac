"""Initial values of parameters, all drawn from one generator on the host, so that every backend starts alike.

Sources: Glorot and Bengio (2010), eq. 16; He et al. (2015), eq. 10; LeCun et al. (1998), eq. 16.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member, number
from tinynet.base.frozen import dataclass
from tinynet.program import Shape

Float64 = NDArray[np.float64]


def fans(shape: Shape) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a parameter: the first axis is the input, the last the output."""
    return shape[0], shape[-1]


class Initializer(ABC):
    """Draws the initial values of one parameter."""

    @abstractmethod
    def __call__(self, shape: Shape, rng: np.random.Generator) -> Float64:
        """Return the values, (shape) float64."""


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zero.

    Examples
    --------
    >>> Zeros()((2,), np.random.default_rng(0))
    array([0., 0.])
    """

    def __call__(self, shape: Shape, rng: np.random.Generator | None = None) -> Float64:
        return np.zeros(shape)


@dataclass(frozen=True)
class Ones(Initializer):
    """All one."""

    def __call__(self, shape: Shape, rng: np.random.Generator | None = None) -> Float64:
        return np.ones(shape)


@dataclass(frozen=True)
class Constant(Initializer):
    """All equal to ``value``."""

    value: float = 0.0

    def __call__(self, shape: Shape, rng: np.random.Generator | None = None) -> Float64:
        return np.full(shape, float(self.value))


Fixed = Zeros | Ones | Constant
"""Those that need no generator."""


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with mean 0 and standard deviation ``std``; the notebook's is ``Normal(0.01)``."""

    std: float = 0.01

    def __post_init__(self) -> None:
        number("std", self.std, above=0.0)

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Float64:
        return rng.standard_normal(shape) * self.std


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform in ``[-limit, limit)``; ``Uniform(low, high)``, as in the space of a sweep, in ``[low, high)``.

    Parameters
    ----------
    limit : float
        The lower end, where there is an upper one.
    high : float, optional

    Examples
    --------
    >>> values = Uniform(2.0, 3.0)((100,), np.random.default_rng(0))
    >>> bool(values.min() >= 2.0), bool(values.max() < 3.0)
    (True, True)
    """

    limit: float = 0.05
    high: float | None = None

    def __post_init__(self) -> None:
        if self.high is None:
            number("limit", self.limit, above=0.0)
        else:
            number("high", self.high, above=number("low", self.limit))

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Float64:
        if self.high is None:
            return rng.uniform(-self.limit, self.limit, shape)
        return rng.uniform(self.limit, self.high, shape)

    def __repr__(self) -> str:
        return f"Uniform(limit={self.limit!r})" if self.high is None else f"Uniform({self.limit!r}, {self.high!r})"


@dataclass(frozen=True)
class _Scaled(Initializer):
    """Values with a variance that depends on the width of the layer."""

    distribution: str = "uniform"

    def __post_init__(self) -> None:
        member("distribution", self.distribution, ("uniform", "normal"))

    def variance(self, n_in: int, n_out: int) -> float:
        """Return the variance for a layer of these widths."""
        raise NotImplementedError

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Float64:
        variance = self.variance(*fans(shape))
        if self.distribution == "normal":
            return rng.standard_normal(shape) * math.sqrt(variance)
        limit = math.sqrt(3.0 * variance)
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class Glorot(_Scaled):
    """Variance ``2 / (n_in + n_out)``: for sigmoid and tanh (Glorot and Bengio 2010, eq. 16)."""

    def variance(self, n_in: int, n_out: int) -> float:
        """Return the variance for a layer of these widths."""
        return 2.0 / (n_in + n_out)


@dataclass(frozen=True)
class He(_Scaled):
    """Variance ``2 / n_in``: for ReLU and its kin (He et al. 2015, eq. 10)."""

    def variance(self, n_in: int, n_out: int) -> float:
        """Return the variance for a layer of these widths."""
        return 2.0 / n_in


@dataclass(frozen=True)
class LeCun(_Scaled):
    """Variance ``1 / n_in`` (LeCun et al. 1998, eq. 16)."""

    def variance(self, n_in: int, n_out: int) -> float:
        """Return the variance for a layer of these widths."""
        return 1.0 / n_in


INITIALIZERS: dict[str, Callable[[], Initializer]] = {
    "glorot": Glorot,
    "glorot_uniform": Glorot,
    "glorot_normal": lambda: Glorot("normal"),
    "he": He,
    "he_uniform": He,
    "he_normal": lambda: He("normal"),
    "lecun": LeCun,
    "lecun_uniform": LeCun,
    "lecun_normal": lambda: LeCun("normal"),
    "normal": Normal,
    "uniform": Uniform,
    "zeros": Zeros,
    "ones": Ones,
}


def get_initializer(spec: str | float | Callable[..., Any]) -> Callable[[Shape, np.random.Generator], Any]:
    """Return the initializer that a name, a number (a constant) or a callable ``f(shape, rng)`` stands for.

    Examples
    --------
    >>> get_initializer("he_normal")
    He(distribution='normal')
    """
    if callable(spec):
        return spec
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return Constant(spec)
    return INITIALIZERS[member("initializer", spec, INITIALIZERS)]()
