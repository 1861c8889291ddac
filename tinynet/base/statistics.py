"""What is told of many numbers at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.arrays import numpy_namespace

Values = NDArray[np.float64]


BLOCK_ROWS = 1 << 14


def as_they_are(rows: Any) -> Any:
    """Return rows as they are given."""
    return rows


def moments(samples: Any, *, gaps: bool = False, stacked: Callable[[Any], Any] = as_they_are) -> tuple[Any, Any, Any]:
    """Return mean and standard deviation, float64, of each column of numbers of any size, and how many these are.

    Columns are summed as multiples of a power of two, that of their largest number, whose squares neither overflow nor
    vanish; a block of ``BLOCK_ROWS`` at a time, for they may lie on disk.

    Parameters
    ----------
    samples : (n_samples, n) array
        Finite numbers; with ``gaps`` also NaN, which is left out.
    gaps : bool
    stacked : callable, optional
        ``stacked(rows)`` returns what all blocks have come to, (n_blocks, n), from what these have: others may be
        elsewhere.

    Examples
    --------
    >>> mean, deviation, count = moments(np.array([[1e300, 1.0], [3e300, np.nan]]), gaps=True)
    >>> mean.tolist(), deviation.tolist(), count.tolist()
    ([2e+300, 1.0], [1e+300, 0.0], [2.0, 1.0])
    """
    xp = numpy_namespace(samples)

    def each(values: Callable[[Any], Any], fold: Callable[..., Any]) -> Any:
        found = [xp.empty((0, samples.shape[1]))]
        for start in range(0, len(samples), BLOCK_ROWS):
            # In one layout: in another one NumPy adds up in another order.
            block = values(xp.asarray(samples[start : start + BLOCK_ROWS], dtype="float64", order="C"))
            found.append(fold(xp.where(xp.isnan(block), 0.0, block) if gaps else block, axis=0)[xp.newaxis])
        return stacked(xp.concatenate(found))

    peak = each(abs, xp.max).max(axis=0)
    if gaps:
        count = each(lambda block: block == block, xp.sum).sum(axis=0)
    else:
        count = stacked(xp.full((1, samples.shape[1]), float(len(samples)))).sum(axis=0)
    exponent = np.frexp(peak if xp is np else peak.get())[1]
    # In two steps, for the power itself may be beyond float64.
    first, second = (xp.asarray(np.ldexp(1.0, -part)) for part in (exponent // 2, exponent - exponent // 2))
    some = xp.maximum(count, 1)
    mean = each(lambda block: block * first * second, xp.sum).sum(axis=0) / some
    variance = each(lambda block: (block * first * second - mean) ** 2, xp.sum).sum(axis=0) / some
    return mean / first / second, xp.sqrt(variance) / first / second, count


def spread(values: Values) -> tuple[Values, Values, Values]:
    """Return the lowest, the median and the highest finite value along the last axis; NaN where there is none."""
    rows = np.where(np.isfinite(values), values, np.nan).reshape(-1, values.shape[-1])
    some = ~np.isnan(rows).all(axis=1)  # NumPy warns of rows without a number.
    found = np.full((3, len(rows)), np.nan)
    found[0, some] = np.nanmin(rows[some], axis=1)
    found[1, some] = np.nanmedian(rows[some], axis=1)
    found[2, some] = np.nanmax(rows[some], axis=1)
    low, middle, high = found.reshape(3, *values.shape[:-1])
    return low, middle, high
