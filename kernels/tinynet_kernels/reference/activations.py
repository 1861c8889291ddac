"""Activations and their derivatives."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinynet_kernels import formulas
from tinynet_kernels._typing import FloatArray
from tinynet_kernels.reference.formulas import ByHand, prepared


class Activation(NamedTuple):
    """An activation: its value, and its derivative times ``dy``."""

    value: Callable[[FloatArray, float], FloatArray]
    """``f(z, alpha)``."""

    backward: Callable[[FloatArray, FloatArray, FloatArray, float], FloatArray]
    """``f'(z, y, alpha) * dy``, from arguments ``(z, y, dy, alpha)``."""


@np.errstate(all="ignore")
def activation_forward(kind: str, z: FloatArray, y: FloatArray, alpha: float = 0.0) -> None:
    """Apply an activation: ``y = f(z)``.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.ACTIVATIONS``.
    z : (n_samples, n) array
        Pre-activations.
    y : (n_samples, n) array
        Overwritten with the activations. May be ``z`` itself.
    alpha : float
        The slope of ``leaky_relu`` below zero, the bound of ``elu`` below zero; non-negative.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    y[...] = _ACTIVATIONS[kind].value(z, float(alpha))


@np.errstate(all="ignore")
def activation_backward(
    kind: str, z: FloatArray, y: FloatArray, dy: FloatArray, dz: FloatArray, alpha: float = 0.0
) -> None:
    """Apply the chain rule to an activation: ``dz = dy * f'(z)``.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.ACTIVATIONS``.
    z, y : (n_samples, n) array
        What ``activation_forward`` read and wrote. Only the kinds of ``READS_Z`` read ``z``; the others read ``y``
        alone, and ``z`` may be the same array.
    dy : (n_samples, n) array
        Gradient of the loss with respect to ``y``.
    dz : (n_samples, n) array
        Overwritten with the gradient with respect to ``z``. May be ``dy`` itself.
    alpha : float
        As in ``activation_forward``.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    dz[...] = _ACTIVATIONS[kind].backward(z, y, dy, float(alpha))


def _elementwise(
    value: Callable[[FloatArray, float], FloatArray],
    derivative: Callable[[FloatArray, FloatArray, float], FloatArray],
) -> Activation:
    return Activation(value, lambda z, y, dy, alpha: dy * derivative(z, y, alpha))


def _identity(z: FloatArray, alpha: float) -> FloatArray:
    return z


def _identity_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    return np.ones_like(y)


def _sigmoid(z: FloatArray, alpha: float) -> FloatArray:
    """``1 / (1 + exp(-z))``, written so that the exponential cannot overflow and the left tail keeps its digits."""
    e = np.exp(-np.abs(z))
    y: FloatArray = np.where(z < 0, e, 1) / (1 + e)
    return y


def _sigmoid_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    return y * (1 - y)


def _tanh(z: FloatArray, alpha: float) -> FloatArray:
    return np.tanh(z)


def _tanh_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``1 - y ** 2``, factored: near ``y = 1`` the square would lose half the digits."""
    return (1 - y) * (1 + y)


def _relu(z: FloatArray, alpha: float) -> FloatArray:
    return np.maximum(z, 0)


def _relu_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """0 at 0, as in every framework; ``sign`` keeps NaN, which a comparison would lose."""
    return np.sign(y)


def _leaky_relu(z: FloatArray, alpha: float) -> FloatArray:
    return np.where(z <= 0, alpha * z, z)


def _leaky_relu_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    return np.where(y <= 0, alpha, _one_or_nan(y))


def _elu(z: FloatArray, alpha: float) -> FloatArray:
    """Clevert, Unterthiner and Hochreiter (2016), equation 15."""
    return np.where(z <= 0, alpha * np.expm1(np.minimum(z, 0)), z)


def _elu_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    return np.where(y <= 0, y + alpha, _one_or_nan(y))


# Below -40 the Gaussian tail is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
_GAUSSIAN_ZERO = 40


def _gelu(z: FloatArray, alpha: float) -> FloatArray:
    """``z * Phi(z)`` (Hendrycks and Gimpel, 2016); by ``erfc``, since ``1 + erf`` has no digits in the left tail."""
    z = np.maximum(z, -_GAUSSIAN_ZERO)
    return z * _normal_cdf(z)


def _gelu_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``Phi(z) + z * phi(z)``."""
    z = np.clip(z, -_GAUSSIAN_ZERO, _GAUSSIAN_ZERO)
    return _normal_cdf(z) + z * (math.sqrt(0.5 / math.pi) * np.exp(-0.5 * z * z))


# exp(-800) is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
_EXP_ZERO = 800


def _silu(z: FloatArray, alpha: float) -> FloatArray:
    """``z * sigmoid(z)`` (Hendrycks and Gimpel, 2016; also called swish)."""
    z = np.maximum(z, -_EXP_ZERO)
    return z * _sigmoid(z, alpha)


def _silu_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``s * (1 + z * (1 - s))`` with ``s = sigmoid(z)``, and ``1 - s = sigmoid(-z)`` to keep its digits."""
    z = np.clip(z, -_EXP_ZERO, _EXP_ZERO)
    return _sigmoid(z, alpha) * (1 + z * _sigmoid(-z, alpha))


def _softplus(z: FloatArray, alpha: float) -> FloatArray:
    """``log(1 + exp(z))``, written so that the exponential cannot overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _softplus_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """``sigmoid(z) = 1 - exp(-y)``."""
    return -np.expm1(-y)


def _exponential(z: FloatArray, alpha: float) -> FloatArray:
    return np.exp(z)


def _exponential_derivative(z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    return y


def _softmax(z: FloatArray, alpha: float) -> FloatArray:
    """``exp(z) / sum(exp(z))`` per row, shifted so that the largest term is 1."""
    e: FloatArray = np.exp(z - np.max(z, axis=-1, keepdims=True))
    total: FloatArray = np.sum(e, axis=-1, keepdims=True)
    return e / total


def _softmax_backward(z: FloatArray, y: FloatArray, dy: FloatArray, alpha: float) -> FloatArray:
    """``y * (dy - <dy, y>)``: the Jacobian is ``diag(y) - y y^T``."""
    dot: FloatArray = np.sum(dy * y, axis=-1, keepdims=True)
    return y * (dy - dot)


def _normal_cdf(z: FloatArray) -> FloatArray:
    from scipy.special import erfc  # only gelu needs SciPy

    result: FloatArray = 0.5 * erfc(z * -math.sqrt(0.5))
    return result


def _one_or_nan(y: FloatArray) -> FloatArray:
    return np.where(np.isnan(y), y, 1)


def _of_formula(kind: str) -> Activation:
    of_value, of_slope = map(prepared, formulas.ACTIVATIONS[kind].terms)
    return _elementwise(
        lambda z, alpha: of_value({"z": z, "alpha": alpha})[0],
        lambda z, y, alpha: of_slope({"z": z, "y": y, "alpha": alpha})[0],
    )


_ACTIVATIONS = ByHand[Activation](
    {
        "identity": _elementwise(_identity, _identity_derivative),
        "sigmoid": _elementwise(_sigmoid, _sigmoid_derivative),
        "tanh": _elementwise(_tanh, _tanh_derivative),
        "relu": _elementwise(_relu, _relu_derivative),
        "leaky_relu": _elementwise(_leaky_relu, _leaky_relu_derivative),
        "elu": _elementwise(_elu, _elu_derivative),
        "gelu": _elementwise(_gelu, _gelu_derivative),
        "silu": _elementwise(_silu, _silu_derivative),
        "softplus": _elementwise(_softplus, _softplus_derivative),
        "exponential": _elementwise(_exponential, _exponential_derivative),
        "softmax": Activation(_softmax, _softmax_backward),
    },
    _of_formula,
)
