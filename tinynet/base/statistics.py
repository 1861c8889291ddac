"""What is told of many numbers at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.arrays import numpy_namespace

Values = NDArray[np.float64]


BLOCK_ROWS = 1 << 14


def moments(samples: Any) -> tuple[Any, Any]:
    """Return the mean and the standard deviation of each column, float64, of finite numbers of any size.

    Columns are summed as multiples of a power of two, that of their largest number, whose squares neither overflow nor
    vanish; a block of rows at a time, for they may lie on disk.

    Examples
    --------
    >>> mean, deviation = moments(np.array([[1e300, 1.0], [3e300, 1.0]]))
    >>> mean.tolist(), deviation.tolist()
    ([2e+300, 1.0], [1e+300, 0.0])
    """
    xp, n = numpy_namespace(samples), len(samples)

    def each(fold: Callable[[Any], Any]) -> Any:
        blocks = (samples[start : start + BLOCK_ROWS] for start in range(0, n, BLOCK_ROWS))
        return xp.stack([fold(xp.asarray(block, dtype="float64")) for block in blocks])

    peak = each(lambda block: abs(block).max(axis=0)).max(axis=0)
    exponent = np.frexp(peak if xp is np else peak.get())[1]
    # In two steps, for the power itself may be beyond float64.
    first, second = (xp.asarray(np.ldexp(1.0, -part)) for part in (exponent // 2, exponent - exponent // 2))
    mean = each(lambda block: (block * first * second).sum(axis=0)).sum(axis=0) / n
    variance = each(lambda block: ((block * first * second - mean) ** 2).sum(axis=0)).sum(axis=0) / n
    return mean / first / second, xp.sqrt(variance) / first / second


def moments_of_parts(means: Values, deviations: Values, counts: Values) -> tuple[Values, Values]:
    """Return the mean and the standard deviation of each column from those of parts, (n_parts, n), and their sizes.

    After Chan, Golub and LeVeque (1979), of numbers of any size. Sizes are (n_parts, 1), or (n_parts, n) where columns
    have gaps.

    Examples
    --------
    >>> mean, deviation = moments_of_parts(np.array([[0.0], [3.0]]), np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]]))
    >>> mean.tolist(), (deviation**2).round(12).tolist()
    ([2.0], [2.666666666667])
    """
    shares = counts / counts.sum(axis=0)
    mean = (shares * means).sum(axis=0)
    distances = np.hypot(deviations, means - mean)
    peak = distances.max(axis=0)
    unit = np.where(peak > 0, peak, 1.0)
    return mean, unit * np.sqrt((shares * (distances / unit) ** 2).sum(axis=0))


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
