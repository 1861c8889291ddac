"""What is told of many numbers at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


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
