"""ScalarLoss: a loss of your own, as a function of two numbers in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.backends.base import Array
from tinynet.base.arrays import each_number
from tinynet.losses.loss import Loss, Reduction
from tinynet.program import ScalarFunctions


class ScalarLoss(Loss):
    """Base class of a loss of each output and its target, written in Python.

    For what is no formula of ``tn.ElementwiseLoss``: loops, branches, functions of ``math``. A subclass has two static
    methods, ``value(p, t)`` and its derivative by the prediction, ``slope(p, t)``. On the backend "numba" they are
    compiled, as Numba can, and called from the compiled epochs; where Numba cannot, and on other backends, Python calls
    them for every number, and ``history.plan`` says so. They must not raise: compiled epochs go on.

    Examples
    --------
    >>> class Quantile(ScalarLoss):
    ...     @staticmethod
    ...     def value(p, t):
    ...         return 0.9 * (t - p) if t > p else 0.1 * (p - t)
    ...
    ...     @staticmethod
    ...     def slope(p, t):
    ...         return -0.9 if t > p else 0.1
    >>> Quantile().forward(np.array([[1.0, 3.0]]), np.array([[2.0, 2.0]]))
    0.5
    """

    value: Callable[[float, float], float]
    slope: Callable[[float, float], float]
    takes_sample_weight = True

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        for name in ("value", "slope"):
            if not callable(getattr(type(self), name, None)):
                raise TypeError(
                    f"{type(self).__name__} expects static methods value(p, t) and slope(p, t); {name} is missing."
                )

    @property
    def scalar_functions(self) -> ScalarFunctions:
        """Its functions, for those that compile them."""
        return ScalarFunctions(type(self).value, type(self).slope, 2)

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        """Return the loss of a batch; see ``Loss.forward``."""
        values = each_number(type(self).value, prediction, target)
        if sample_weight is not None:
            values = values * sample_weight[:, np.newaxis]
        return float(values.sum(dtype="float64")) / self._divisor(prediction)

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Array:
        """Return the gradient of ``forward``; see ``Loss.backward``."""
        slopes = each_number(type(self).slope, prediction, target) / self._divisor(prediction)
        return slopes if sample_weight is None else slopes * sample_weight[:, np.newaxis]

    __call__ = forward

    def _divisor(self, prediction: Any) -> int:
        return int(prediction.size) if self.reduction == "mean" else 1
