"""Values of an option that a sweep tries: numbers, lists, ranges, and distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.base.checks import whole
from tinynet.layers.initializers import Uniform
from tinynet.sweeps.distributions import LogUniform

SCALES: dict[str, tuple[Callable[..., Any], Callable[[float, float], Any]]] = {
    "log": (np.geomspace, LogUniform),
    "linear": (np.linspace, Uniform),
}
"""For each scale: so many numbers at equal steps, and the distribution."""


def values(option: str, text: str, check: Callable[[str], Any]) -> Any:
    """Return a list of values, or the distribution that is meant by a range without a number of steps.

    Parameters
    ----------
    option : str
        For errors.
    text : str
        ``0.1``, ``0.1,0.01``, ``1e-4:1e-1:log:20`` (20 numbers, both ends included), ``0:0.5:linear:6``, or without the
        last part, for a random search.
    check : callable
        Returns one number from its text, or raises ValueError or TypeError.

    Examples
    --------
    >>> values("--rate", "0.1,0.2", float), values("--rate", "1:100:log:3", float)
    ([0.1, 0.2], [1.0, 10.0, 100.0])
    >>> values("--rate", "1e-4:1e-1:log", float)
    LogUniform(low=0.0001, high=0.1)
    """
    low, *rest = text.split(":")
    if not rest:
        return [check(entry.strip()) for entry in low.split(",")]
    if len(rest) not in (2, 3) or rest[1] not in SCALES:
        raise ValueError(
            f"{option} expects a number, numbers with commas, or a range such as 1e-4:1e-1:log:20 or 0:0.5:linear:6 "
            f"(without the last number for a random search); got {text!r}."
        )
    ends = check(low), check(rest[0])
    if not ends[0] < ends[1]:
        raise ValueError(f"{option} expects a range from a lower to a higher number; got {text!r}.")
    steps, distribution = SCALES[rest[1]]
    if rest[1] == "log" and ends[0] <= 0:
        raise ValueError(f"{option} expects a range of numbers above 0 for a logarithmic scale; got {text!r}.")
    if len(rest) == 2:
        return distribution(*map(float, ends))
    n = whole(f"the number of steps of {option}", int(rest[2]) if rest[2].strip().isdigit() else rest[2], at_least=2)
    # Rounded as nobody would write 0.0020691380811147897, and as files and tables are read by people.
    return [check(f"{value:.6g}") for value in steps(*ends, n)]
