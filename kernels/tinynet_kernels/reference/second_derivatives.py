"""Second derivatives of the elementwise activations, from ``z`` and ``y = f(z)``."""

import math
from collections.abc import Callable

import numpy as np

from tinynet_kernels import formulas
from tinynet_kernels._typing import FloatArray
from tinynet_kernels.reference.formulas import ByHand, evaluate
from tinynet_kernels.slopes import slope_of

Second = Callable[[FloatArray, FloatArray, float], FloatArray]


def _gaussian(z: FloatArray) -> FloatArray:
    density: FloatArray = math.sqrt(0.5 / math.pi) * np.exp(-0.5 * z * z)
    return density


def _silu(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``s (1 - s) (2 + z (1 - 2 s))`` with ``s = sigmoid(z)``: ``s (1 - s)`` is even, ``1 - 2 s = -tanh(z / 2)``."""
    z = np.clip(z, -80, 80)
    e = np.exp(-np.abs(z))
    slope: FloatArray = e / np.square(1 + e)
    return slope * (2 - z * np.tanh(z / 2))


def _softplus(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``s (1 - s)`` with ``s = 1 - exp(-y)``."""
    tail = np.exp(-y)
    return (1 - tail) * tail


def _of_formula(kind: str) -> Second:
    """By deriving the derivative: where it is a function of ``y``, by the chain rule."""
    _, slope = formulas.ACTIVATIONS[kind].terms
    by_z, by_y = slope_of(slope, "z"), slope_of(slope, "y")

    def second(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
        first, own, through = evaluate([slope, by_z, by_y], {"z": z, "y": y, "alpha": alpha})
        return np.broadcast_to(own + through * first, z.shape)

    return second


SECOND = ByHand[Second](
    {
        "identity": lambda z, y, alpha: np.zeros_like(z),
        "sigmoid": lambda z, y, alpha: y * (1 - y) * (1 - 2 * y),
        "tanh": lambda z, y, alpha: -2 * y * (1 - y) * (1 + y),
        "relu": lambda z, y, alpha: np.zeros_like(z),
        "leaky_relu": lambda z, y, alpha: np.zeros_like(z),
        "elu": lambda z, y, alpha: np.where(z < 0, y + alpha, np.zeros_like(z)),
        "gelu": lambda z, y, alpha: _gaussian(np.clip(z, -40, 40)) * (2 - np.square(np.clip(z, -40, 40))),
        "silu": _silu,
        "softplus": _softplus,
        "exponential": lambda z, y, alpha: y,
    },
    _of_formula,
)
"""By kind. At a kink, where there is none, it is 0."""


@np.errstate(all="ignore")
def activation_second_derivative(kind: str, z: FloatArray, y: FloatArray, alpha: float = 0.0) -> FloatArray:
    """Return ``f''(z)`` of an elementwise activation.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.ACTIVATIONS`` that is elementwise.
    z, y : (n_samples, n) array
        What ``activation_forward`` read and wrote.
    alpha : float
        As for ``activation_forward``.

    Raises
    ------
    KeyError
        If there is no such kind, or it is not elementwise.
    """
    return SECOND[kind](z, y, float(alpha))
