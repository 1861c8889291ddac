"""Parts: what samples are cut into, so that sums over them do not depend on how many ranks there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import whole

PARTS = 16
"""Into how many parts samples are cut by default: the most ranks that then have something to do. Each more part is one
more gradient to compute, send and add."""

Cut = Callable[[int], list[int]]
"""Returns where the parts of so many samples begin, and where the last one ends."""


def equal_parts(n_parts: int) -> Cut:
    """Return what cuts samples into so many parts, as equal as can be; into as many as there are samples, if fewer.

    Examples
    --------
    >>> equal_parts(3)(10), equal_parts(3)(2)
    ([0, 3, 6, 10], [0, 1, 2])
    """

    def cut(n: int) -> list[int]:
        count = min(n_parts, n)
        return [n * part // count for part in range(count + 1)]

    return cut


def blocks_of(rows: int) -> Cut:
    """Return what cuts samples into parts of so many rows, and what is left.

    Examples
    --------
    >>> blocks_of(4)(10)
    [0, 4, 8, 10]
    """
    return lambda n: [*range(0, n, rows), n]


def shares(cuts: Sequence[int], n_ranks: int) -> list[int]:
    """Return which part is the first of each rank, and how many there are; the first rank always has one.

    Examples
    --------
    >>> shares([0, 3, 6, 10], 2), shares([0, 3, 6, 10], 4)
    ([0, 2, 3], [0, 1, 2, 3, 3])
    """
    n_parts = len(cuts) - 1
    return [-(-n_parts * rank // n_ranks) for rank in range(n_ranks + 1)]


def checked_parts(deterministic: bool | int) -> int:
    """Return into how many parts samples are cut, or 0, for what ``fit`` was given.

    Examples
    --------
    >>> checked_parts(False), checked_parts(True), checked_parts(100)
    (0, 16, 100)
    """
    if isinstance(deterministic, bool | np.bool_):
        return PARTS if deterministic else 0
    return whole("deterministic", deterministic)


def added(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the sum of rows, added one after the other, and rounded once.

    Examples
    --------
    >>> added(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [4.0, 6.0]
    """
    total = np.zeros(rows.shape[1:], np.float64)
    for row in rows:
        total += row
    return total.astype(rows.dtype)
