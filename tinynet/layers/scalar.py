"""ScalarActivation: an activation of your own, as a function of one number in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.backends.base import Array
from tinynet.base.arrays import each_number
from tinynet.layers.layer import Layer
from tinynet.program import ScalarFunctions


class ScalarActivation(Layer):
    """Base class of an activation that is a function of one number, written in Python.

    For what is no formula of ``tn.Activation``: loops, branches, functions of ``math``. A subclass has two static
    methods, ``value(x)`` and its derivative ``slope(x)``. On the backend "numba" they are compiled, as Numba can, and
    called from the compiled epochs; where Numba cannot, and on other backends, Python calls them for every number, and
    ``history.plan`` says so. They must not raise: compiled epochs go on.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> class Ripple(ScalarActivation):
    ...     @staticmethod
    ...     def value(x):
    ...         return x + math.sin(x) if x > 0 else 0.0
    ...
    ...     @staticmethod
    ...     def slope(x):
    ...         return 1 + math.cos(x) if x > 0 else 0.0
    >>> Ripple().forward(np.array([[-1.0, 2.0]])).round(4)
    array([[0.    , 2.9093]])
    """

    value: Callable[[float], float]
    slope: Callable[[float], float]

    def __init__(self) -> None:
        super().__init__()
        for name in ("value", "slope"):
            if not callable(getattr(type(self), name, None)):
                raise TypeError(
                    f"{type(self).__name__} expects static methods value(x) and slope(x); {name} is missing."
                )

    @property
    def scalar_functions(self) -> ScalarFunctions:
        """Its functions, for those that compile them."""
        return ScalarFunctions(type(self).value, type(self).slope, 1)

    def forward(self, x: Any, training: bool = False) -> Array:
        """Return the value of every number."""
        self.x = x
        return each_number(type(self).value, x)

    def backward(self, grad: Any) -> Array:
        """Return the gradient with respect to the last input."""
        return grad * each_number(type(self).slope, self.x)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments: none."""
        return {}
