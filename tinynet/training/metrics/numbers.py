"""Metrics of numbers. The formulas are those of scikit-learn, which takes the mean over outputs at the end.

All take a (n_samples, n_outputs) float64 ``prediction`` and ``target``, and (n_samples,) weights or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Weight = NDArray[np.floating] | None


def of_measured(
    metric: Callable[[Float64, Float64, Weight], float], prediction: Float64, target: Float64, weight: Weight = None
) -> float:
    """Return the mean over outputs of a metric of each, over the targets that are not NaN.

    An output of which no target counts is left out of it.

    Examples
    --------
    >>> target = np.array([[1.0, np.nan], [2.0, 5.0]])
    >>> of_measured(mean_absolute_error, np.zeros((2, 2)), target)
    3.25
    """
    found = []
    for p, t in zip(prediction.T, target.T, strict=True):
        known = ~np.isnan(t)
        own = None if weight is None else weight[known]
        if known.any() and (own is None or own.any()):
            found.append(metric(p[known, np.newaxis], t[known, np.newaxis], own))
    return float(np.mean(found)) if found else math.nan


def mean_squared_error(prediction: Float64, target: Float64, weight: Weight = None) -> float:
    """Mean of ``(p - t)**2``.

    Examples
    --------
    >>> mean_squared_error(np.array([[0.0], [2.0]]), np.array([[1.0], [2.0]]))
    0.5
    """
    return _mean(np.square(prediction - target), weight)


def root_mean_squared_error(prediction: Float64, target: Float64, weight: Weight = None) -> float:
    """Square root of the mean of ``(p - t)**2``, of each output by itself; the mean of these."""
    return float(np.sqrt(np.average(np.square(prediction - target), axis=0, weights=weight)).mean())


def mean_absolute_error(prediction: Float64, target: Float64, weight: Weight = None) -> float:
    """Mean of ``|p - t|``."""
    return _mean(np.abs(prediction - target), weight)


def mean_absolute_percentage_error(prediction: Float64, target: Float64, weight: Weight = None) -> float:
    """Mean of ``|p - t| / |t|``: 1 is 100 percent. Targets of 0 count as 2.2e-16, and spoil it.

    Examples
    --------
    >>> mean_absolute_percentage_error(np.array([[90.0], [2.5]]), np.array([[100.0], [2.0]]))
    0.175
    """
    return _mean(np.abs(prediction - target) / np.maximum(np.abs(target), np.finfo(np.float64).eps), weight)


def r2_score(prediction: Float64, target: Float64, weight: Weight = None) -> float:
    """Coefficient of determination, ``1 - SS_res / SS_tot``.

    An output that never changes counts 1 if it is met exactly and 0 otherwise.

    Examples
    --------
    >>> r2_score(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))
    1.0
    """
    share = 1.0 if weight is None else weight[:, np.newaxis]
    residual = (share * np.square(target - prediction)).sum(axis=0)
    total = (share * np.square(target - np.average(target, axis=0, weights=weight))).sum(axis=0)
    constant = total == 0
    return float(np.where(constant, residual == 0, 1.0 - residual / np.where(constant, 1.0, total)).mean())


def _mean(errors: Float64, weight: Weight) -> float:
    return float(np.average(errors, axis=0, weights=weight).mean())
