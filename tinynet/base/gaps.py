"""Gaps: numbers some of which are NaN, where nothing was measured."""

from __future__ import annotations

import math
from typing import Any

from tinynet.base.arrays import as_samples, numpy_namespace, read
from tinynet.base.statistics import moments


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


def moments_of_known(samples: Any) -> tuple[Any, Any]:
    """Return ``moments`` of each column over those of its numbers that are not NaN.

    Raises
    ------
    ValueError
        If a column has none.

    Examples
    --------
    >>> import numpy as np
    >>> moments_of_known(np.array([[1.0, np.nan], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 0.]))
    """
    xp, found = numpy_namespace(samples), []
    for j in range(samples.shape[1]):
        column = samples[:, j : j + 1]
        known = column[~xp.isnan(column)].reshape(-1, 1)
        if not len(known):
            raise ValueError(f"column {j} of y has no target that was measured. Leave it out, and its output.")
        found.append(moments(known))
    mean, deviation = (xp.concatenate(parts) for parts in zip(*found, strict=True))
    return mean, deviation
