"""A line search for the strong Wolfe conditions: Nocedal and Wright (2006), algorithms 3.5 and 3.6."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""Constants of the conditions, as Nocedal and Wright choose them for quasi-Newton directions (page 62)."""

MOST_POINTS = 25
"""Points that are tried before the search gives up; a step is found at the first or second, most often."""

MARGIN = 0.1
"""Share of an interval at its ends in which no point is tried: each attempt makes it that much smaller."""


class Point(NamedTuple):
    """A point on the line: how far along the direction, the loss there, and its slope along the direction."""

    length: float
    loss: float
    slope: float


def strong_wolfe(at: Callable[[float], Point], start: Point, first: float = 1.0) -> float | None:
    """Return how far to go, so that the strong Wolfe conditions hold; None where no such length is found.

    Parameters
    ----------
    at : callable
        Returns the point of a length.
    start : Point
        That of length 0, with a negative slope.
    first : float
        The length that is tried first.

    Examples
    --------
    >>> strong_wolfe(lambda s: Point(s, (s - 3.0) ** 2, 2 * (s - 3.0)), Point(0.0, 9.0, -6.0))
    1.0
    """
    left, length = start, first
    for tried in range(1, MOST_POINTS + 1):
        point = at(length)
        if _too_high(point, start) or (tried > 1 and point.loss >= left.loss):
            return _zoom(at, start, left, point, MOST_POINTS - tried)
        if abs(point.slope) <= -CURVATURE * start.slope:
            return length
        if point.slope >= 0:
            return _zoom(at, start, point, left, MOST_POINTS - tried)
        left, length = point, 2 * length
    return None


def _too_high(point: Point, start: Point) -> bool:
    """Whether the loss has not fallen enough; one that is no number has not."""
    return not point.loss <= start.loss + SUFFICIENT * point.length * start.slope


def _zoom(at: Callable[[float], Point], start: Point, low: Point, high: Point, left: int) -> float | None:
    """Look between two points, of which ``low`` has fallen enough, and further than any that has (algorithm 3.6)."""
    for _ in range(left):
        point = at(_between(low, high))
        if _too_high(point, start) or point.loss >= low.loss:
            high = point
            continue
        if abs(point.slope) <= -CURVATURE * start.slope:
            return point.length
        if point.slope * (high.length - low.length) >= 0:
            high = low
        low = point
    return None


def _between(a: Point, b: Point) -> float:
    """Return where the cubic through two points and their slopes is smallest (equation 3.59), away from the ends."""
    width = b.length - a.length
    middle = a.length + 0.5 * width
    d1 = a.slope + b.slope - 3 * (b.loss - a.loss) / width
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < math.inf:
        return middle
    d2 = math.copysign(math.sqrt(square), width)
    below = b.slope - a.slope + 2 * d2
    if not below:
        return middle
    share = 1 - (b.slope + d2 - d1) / below
    return a.length + min(max(share, MARGIN), 1 - MARGIN) * width
