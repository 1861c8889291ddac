"""Gaps: numbers some of which are NaN, where nothing was measured."""

from __future__ import annotations

import math
from typing import Any

from tinynet.base.arrays import as_samples, numpy_namespace, read


def with_gaps(array: Any, name: str, n_columns: int, dtype: str) -> Any:
    """Return targets some of which may be NaN as ``as_samples`` returns others; not all of them are.

    Raises
    ------
    TypeError, ValueError
        If they are nothing that numbers can be, or none was measured.
    """
    if array.dtype.kind != "f":
        return as_samples(array, name, n_columns, dtype)
    xp = numpy_namespace(array)
    gaps = xp.isnan(array)
    samples = as_samples(xp.where(gaps, 0.0, array), name, n_columns, dtype)
    if read(gaps.all())[0]:
        raise ValueError(f"{name} must have targets that were measured; got NaN for all of them. Pass others.")
    # What was filled in is a copy.
    samples[gaps] = math.nan
    return samples


def extremes(array: Any) -> tuple[float, float]:
    """Return the lowest and the highest target of those that were measured.

    Examples
    --------
    >>> import numpy as np
    >>> extremes(np.array([[2.0, np.nan], [1.0, 3.0]]))
    (1.0, 3.0)
    """
    xp = numpy_namespace(array)
    gaps = xp.isnan(array)
    low, high = read(xp.where(gaps, math.inf, array).min(), xp.where(gaps, -math.inf, array).max())
    return float(low), float(high)


def check_measured(counts: Any, name: str) -> None:
    """Raise ValueError if a column has no number that is not NaN; ``counts`` tells how many each has.

    Examples
    --------
    >>> import numpy as np
    >>> check_measured(np.array([3.0, 1.0]), "y")
    """
    empty = [j for j, count in enumerate(counts.tolist()) if not count]
    if empty:
        raise ValueError(f"column {empty[0]} of {name} has no target that was measured. Leave it out, and its output.")
