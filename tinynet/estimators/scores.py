"""Scores on a validation set after every epoch.

scikit-learn's ``accuracy_score`` and ``r2_score`` check arguments for longer than a small network trains an epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def accuracy(targets: NDArray[Any], output: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Return the share of samples whose labels are all right.

    Parameters
    ----------
    targets : (n_samples,) int array of class numbers, or (n_samples, n_outputs) array of 0 and 1
    output : (n_samples, n_outputs) array
        Probabilities.
    weight : (n_samples,) array, optional

    Examples
    --------
    >>> accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    right = output.argmax(axis=1) == targets if targets.ndim == 1 else ((output > 0.5) == targets).all(axis=1)
    return float(np.average(right, weights=weight))


def r2(targets: NDArray[Any], output: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Return the coefficient of determination, the mean over outputs; NaN if the network diverged.

    Parameters
    ----------
    targets, output : (n_samples, n_outputs) array
    weight : (n_samples,) array, optional

    Examples
    --------
    >>> r2(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]]))
    0.5
    """
    if not np.isfinite(output).all():
        return float("nan")
    truth, prediction = targets.astype(np.float64), output.astype(np.float64)
    share = 1.0 if weight is None else weight[:, np.newaxis].astype(np.float64)
    residual = (share * (truth - prediction) ** 2).sum(axis=0)
    total = (share * (truth - np.average(truth, axis=0, weights=weight)) ** 2).sum(axis=0)
    # A constant target: 1 if it is met exactly, else 0, as scikit-learn's.
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), constant).mean())
