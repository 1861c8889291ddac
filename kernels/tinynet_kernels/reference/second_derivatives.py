"""Second derivatives of the elementwise activations, from ``z`` and ``y = f(z)``."""

import math
from collections.abc import Callable

import numpy as np

from tinynet_kernels import formulas
from tinynet_kernels._typing import FloatArray
from tinynet_kernels.reference.formulas import ByHand, evaluate

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
    """By the formula, or by deriving the derivative: where it is a function of ``y``, by the chain rule."""
    curvature = formulas.ACTIVATIONS[kind].curvature

    def second(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
        return np.broadcast_to(evaluate([curvature], {"z": z, "y": y, "alpha": alpha})[0], z.shape)

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


@np.errstate(all="ignore")
def activation_curvature(
    kind: str, z: FloatArray, y: FloatArray, t: FloatArray, dt: FloatArray, dz: FloatArray, alpha: float = 0.0
) -> None:
    """Add to a gradient what a loss on directions says: ``dz += f''(z) * sum_d t_d * dt_d``.

    Directions ``t`` go through an activation as ``s = f'(z) t``. This is the derivative by ``z`` of what a loss says
    of ``s``.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.ACTIVATIONS``.
    z, y : (n_samples, n) array
        As for ``activation_backward``.
    t : (n_directions, n_samples, n) array
    dt : (n_directions, n_samples, n) array
        Gradient of the loss with respect to ``s``.
    dz : (n_samples, n) array
        Is added to.
    alpha : float
        As for ``activation_forward``.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    if kind == "softmax":
        for along, d in zip(t, dt, strict=True):
            dz += _softmax_curvature(y, along, d)
        return
    dz += SECOND[kind](z, y, float(alpha)) * np.sum(t * dt, axis=0)


def _softmax_curvature(y: FloatArray, t: FloatArray, d: FloatArray) -> FloatArray:
    """``y (v - <v, y>)`` with ``v = d (t - <y, t>) - t <d, y>``: the derivative of ``<d, y (t - <y, t>)>``."""
    v: FloatArray = d * (t - np.sum(y * t, axis=-1, keepdims=True)) - t * np.sum(d * y, axis=-1, keepdims=True)
    dz: FloatArray = y * (v - np.sum(v * y, axis=-1, keepdims=True))
    return dz
