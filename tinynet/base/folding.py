"""Folding: a batch norm, as predictions compute it, as part of the linear layer before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def columns_of(
    weight: Array | None, bias: Array | None, mean: Array, variance: Array, eps: float
) -> tuple[Array, Array]:
    """Return a batch norm as a factor of each column, and what is added: ``y = x * factor + shift``, in float64.

    Examples
    --------
    >>> columns_of(None, None, np.array([1.0]), np.array([4.0]), 0.0)
    (array([0.5]), array([-0.5]))
    """
    factor = 1.0 / np.sqrt(np.asarray(variance, np.float64) + eps)
    factor = factor if weight is None else factor * weight
    shift = -factor * mean
    return factor, shift if bias is None else shift + bias


def folded(weight: Array, bias: Array | None, factor: Array, shift: Array) -> tuple[Array, Array]:
    """Return the weight and the bias of a linear layer with such columns behind it, in float64.

    Examples
    --------
    >>> folded(np.array([[3.0]]), np.array([5.0]), np.array([0.5]), np.array([-0.5]))
    (array([[1.5]]), array([2.]))
    """
    return weight * factor, shift if bias is None else bias * factor + shift
