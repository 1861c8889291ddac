"""The model: what an update over ranks takes, from the times of one process and of one message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """Seconds as a line in a size: ``fixed + each * size``.

    Examples
    --------
    >>> line = Line.through([1, 10, 100], [1.1, 2.0, 11.0])
    >>> round(line.fixed, 6), round(line.each, 6), round(line(1000), 6)
    (1.0, 0.1, 101.0)
    """

    fixed: float
    each: float

    @classmethod
    def through(cls, sizes: Sequence[float], seconds: Sequence[float]) -> Line:
        """Fit a line by least squares of shares, so that small sizes count as large ones do; neither part below 0."""
        x, y = np.asarray(sizes, np.float64), np.asarray(seconds, np.float64)
        fixed, each = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(y)), rcond=None)[0]
        if fixed < 0:
            fixed, each = 0.0, float(np.mean(y / x))
        return cls(float(fixed), max(float(each), 0.0))

    def __call__(self, size: float) -> float:
        """Return the seconds of a size."""
        return self.fixed + self.each * size


@dataclass(frozen=True)
class Network:
    """What carries the messages of a cluster: seconds that each takes, and bytes in a second."""

    name: str
    latency: float
    rate: float

    def allreduce(self, n_bytes: float, ranks: int) -> float:
        """Return how long a sum over ranks takes.

        By halving and doubling (Thakur, Rabenseifner and Gropp 2005, section 4.4), in which every byte goes out and
        comes back once.

        Examples
        --------
        >>> Network("slow", 1.0, 100.0).allreduce(100.0, 2), Network("slow", 1.0, 100.0).allreduce(100.0, 1)
        (3.0, 0.0)
        """
        return 2 * math.ceil(math.log2(ranks)) * self.latency + 2 * n_bytes / self.rate * (ranks - 1) / ranks


ETHERNET = Network("Ethernet, 25 Gbit/s", 20e-6, 2.5e9)
INFINIBAND = Network("InfiniBand, 200 Gbit/s", 2e-6, 2.0e10)
"""What such networks are sold as: assumed, not measured."""


def gain(alone: Line, beside: Line, batch: float, ranks: int, message: float) -> float:
    """Return how many times quicker an update is over ranks.

    Parameters
    ----------
    alone : Line
        An update of one process by the samples in its batch, by its quickest plan.
    beside : Line
        An update of one rank by the samples that it has in a batch, without the message.
    message : float
        Seconds of the sum over ranks.
    """
    return alone(batch) / (beside(batch / ranks) + message)


def pays_from(alone: Line, beside: Line, ranks: int, message: float, share: float) -> float:
    """Return the batch from which on ranks gain that share of their number; infinite where they never do.

    Examples
    --------
    >>> line = Line(0.0, 1e-6)
    >>> round(pays_from(line, line, 2, 1e-3, 0.5)), pays_from(line, Line(0.0, 1e-5), 2, 0.0, 0.5)
    (2000, inf)
    """
    # alone(b) = share * ranks * (beside.fixed + beside.each * b / ranks + message), a line in b on both sides.
    rise = alone.each - share * beside.each
    need = share * ranks * (beside.fixed + message) - alone.fixed
    if rise <= 0:
        return math.inf
    return max(0.0, need / rise)
