"""Activations and their derivatives.

The scalar functions are what everything else is made of: a loop closes over them, and LLVM inlines them. They compute
in the type of their argument, and select without branching so that the loop around them can vectorise.
"""

from functools import cache
from typing import NamedTuple

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import Kernel, compiled, inlined
from tinynet_kernels.cpu.elementary import erfc, exp, expm1_nonpositive, sigmoid, softplus_tail, tanh
from tinynet_kernels.cpu.generic import Real, number, select
from tinynet_kernels.kinds import ACTIVATIONS


class Scalar(NamedTuple):
    """An elementwise activation of one number."""

    value: Kernel
    """``f(z, alpha)``."""

    derivative: Kernel
    """``f'(z, y, alpha)``; only the kinds of ``READS_Z`` read ``z``."""


# Each kernel comes twice: with separate arrays, and in place. Given one array for two arguments, the first would be
# right and ten times slower: LLVM's SIMD code is guarded by a check that the arrays do not overlap.


def activation_forward(kind: str, z: FloatArray, y: FloatArray, alpha: float = 0.0) -> None:
    """Apply an activation: ``y = f(z)``. See ``tinynet_kernels.reference.activation_forward``."""
    if y is z:
        _in_place(kind)(y, None, alpha)
    else:
        _forward(kind)(z, None, y, alpha)


def activation_backward(
    kind: str, z: FloatArray, y: FloatArray, dy: FloatArray, dz: FloatArray, alpha: float = 0.0
) -> None:
    """Apply the chain rule: ``dz = dy * f'(z)``. See ``tinynet_kernels.reference.activation_backward``."""
    if dz is dy:
        _backward_in_place(kind)(z, y, dz, alpha)
    else:
        _backward(kind)(z, y, dy, dz, alpha)


def bias_activation(kind: str, z: FloatArray, b: FloatArray | None, y: FloatArray, alpha: float) -> None:
    """Add the bias to ``z`` in place and apply the activation: ``z += b`` and ``y = f(z)``.

    Parameters
    ----------
    kind : str
    z, y : (n_samples, n) array
        May be one array, which then holds ``y``.
    b : (n,) array or None
    alpha : float
    """
    if y is z:
        _in_place(kind)(y, b, alpha)
    else:
        _forward(kind)(z, b, y, alpha)


@inlined
def _identity(z: Real, alpha: Real) -> Real:
    return z


@inlined
def _identity_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return number(y, 1)


@inlined
def _sigmoid(z: Real, alpha: Real) -> Real:
    return sigmoid(z)


@inlined
def _sigmoid_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return y * (number(y, 1) - y)


@inlined
def _tanh(z: Real, alpha: Real) -> Real:
    return tanh(z)


@inlined
def _tanh_derivative(z: Real, y: Real, alpha: Real) -> Real:
    """``1 - y ** 2``, factored: near ``y = 1`` the square would lose half the digits."""
    return (number(y, 1) - y) * (number(y, 1) + y)


@inlined
def _relu(z: Real, alpha: Real) -> Real:
    return select(z <= 0, number(z, 0), z)


@inlined
def _relu_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return select(y <= 0, number(y, 0), _one_or_nan(y))


@inlined
def _leaky_relu(z: Real, alpha: Real) -> Real:
    return select(z <= 0, alpha * z, z)


@inlined
def _leaky_relu_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return select(y <= 0, alpha, _one_or_nan(y))


@inlined
def _elu(z: Real, alpha: Real) -> Real:
    """Clevert, Unterthiner and Hochreiter (2016), equation 15."""
    below = alpha * expm1_nonpositive(select(z <= 0, z, number(z, 0)))
    return select(z <= 0, below, z)


@inlined
def _elu_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return select(y <= 0, y + alpha, _one_or_nan(y))


@inlined
def _gelu(z: Real, alpha: Real) -> Real:
    """``z * Phi(z)`` (Hendrycks and Gimpel, 2016)."""
    # Below -40 the Gaussian tail is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
    z = select(z < -40, number(z, -40), z)
    return z * _normal_cdf(z)


@inlined
def _gelu_derivative(z: Real, y: Real, alpha: Real) -> Real:
    """``Phi(z) + z * phi(z)``."""
    z = select(z < -40, number(z, -40), z)
    z = select(z > 40, number(z, 40), z)
    return _normal_cdf(z) + z * (number(z, 0.3989422804014327) * exp(number(z, -0.5) * z * z))


@inlined
def _normal_cdf(z: Real) -> Real:
    """By ``erfc``, since ``1 + erf`` has no digits in the left tail."""
    return number(z, 0.5) * erfc(z * number(z, -0.7071067811865476))


@inlined
def _silu(z: Real, alpha: Real) -> Real:
    """``z * sigmoid(z)`` (Hendrycks and Gimpel, 2016; also called swish)."""
    # exp(-800) is zero in both dtypes; clamping there keeps -inf from becoming -inf * 0.
    z = select(z < -800, number(z, -800), z)
    return z * sigmoid(z)


@inlined
def _silu_derivative(z: Real, y: Real, alpha: Real) -> Real:
    """``s * (1 + z * (1 - s))`` with ``s = sigmoid(z)``, and ``1 - s = sigmoid(-z)`` to keep its digits."""
    one = number(z, 1)
    z = select(z < -800, number(z, -800), z)
    z = select(z > 800, number(z, 800), z)
    e = exp(-abs(z))
    large = one / (one + e)
    small = e * large
    negative = z < 0
    s = select(negative, small, large)
    rest = select(negative, large, small)
    return s * (one + z * rest)


@inlined
def _softplus(z: Real, alpha: Real) -> Real:
    """``log(1 + exp(z))``, written so that the exponential cannot overflow."""
    above = select(z <= 0, number(z, 0), z)
    return above + softplus_tail(z)


@inlined
def _softplus_derivative(z: Real, y: Real, alpha: Real) -> Real:
    """``sigmoid(z) = 1 - exp(-y)``."""
    return -expm1_nonpositive(-y)


@inlined
def _exponential(z: Real, alpha: Real) -> Real:
    return exp(z)


@inlined
def _exponential_derivative(z: Real, y: Real, alpha: Real) -> Real:
    return y


@inlined
def _one_or_nan(y: Real) -> Real:
    return select(y > 0, number(y, 1), y)


SCALARS: dict[str, Scalar] = {
    "identity": Scalar(_identity, _identity_derivative),
    "sigmoid": Scalar(_sigmoid, _sigmoid_derivative),
    "tanh": Scalar(_tanh, _tanh_derivative),
    "relu": Scalar(_relu, _relu_derivative),
    "leaky_relu": Scalar(_leaky_relu, _leaky_relu_derivative),
    "elu": Scalar(_elu, _elu_derivative),
    "gelu": Scalar(_gelu, _gelu_derivative),
    "silu": Scalar(_silu, _silu_derivative),
    "softplus": Scalar(_softplus, _softplus_derivative),
    "exponential": Scalar(_exponential, _exponential_derivative),
}
"""Every elementwise activation, by kind."""


@inlined
def copy(x: FloatArray, y: FloatArray) -> None:
    """``y = x``."""
    x_flat, y_flat = x.ravel(), y.ravel()
    for i in range(x_flat.size):
        y_flat[i] = x_flat[i]


@inlined
def add_bias(z: FloatArray, b: FloatArray | None) -> None:
    """``z += b`` in every row."""
    if b is not None:
        for i in range(z.shape[0]):
            for j in range(z.shape[1]):
                z[i, j] += b[j]


@inlined
def softmax(y: FloatArray) -> None:
    """Softmax of every row, in place: ``exp(y) / sum(exp(y))``, shifted so that the largest term is 1."""
    shift_rows(y)
    exp_in_place(y)
    for i in range(y.shape[0]):
        total = type(y[0, 0])(0)
        for j in range(y.shape[1]):
            total += y[i, j]
        for j in range(y.shape[1]):
            y[i, j] /= total


@inlined
def shift_rows(y: FloatArray) -> None:
    """Subtract the largest element of every row from the row, in place."""
    for i in range(y.shape[0]):
        peak = y[i, 0]
        for j in range(1, y.shape[1]):
            peak = y[i, j] if y[i, j] > peak else peak
        for j in range(y.shape[1]):
            y[i, j] -= peak


@inlined
def exp_in_place(y: FloatArray) -> None:
    """Exponential of every element: a pass of its own over the whole array, so that short rows vectorise too."""
    y_flat = y.ravel()
    for i in range(y_flat.size):
        y_flat[i] = exp(y_flat[i])


@inlined
def softmax_backward(y: FloatArray, dz: FloatArray) -> None:
    """``y * (dy - <dy, y>)``, from ``dy`` in ``dz``: the Jacobian of softmax is ``diag(y) - y y^T``."""
    for i in range(y.shape[0]):
        dot = type(y[0, 0])(0)
        for j in range(y.shape[1]):
            dot += dz[i, j] * y[i, j]
        for j in range(y.shape[1]):
            dz[i, j] = y[i, j] * (dz[i, j] - dot)


@cache
def _forward(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_forward)
    value = SCALARS[kind].value

    def forward(z: FloatArray, b: FloatArray | None, y: FloatArray, alpha: float) -> None:
        add_bias(z, b)
        a = z.dtype.type(alpha)
        z_flat, y_flat = z.ravel(), y.ravel()
        for i in range(z_flat.size):
            y_flat[i] = value(z_flat[i], a)

    return compiled(forward)


@cache
def _in_place(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_in_place)
    value = SCALARS[kind].value

    def in_place(y: FloatArray, b: FloatArray | None, alpha: float) -> None:
        add_bias(y, b)
        a = y.dtype.type(alpha)
        y_flat = y.ravel()
        for i in range(y_flat.size):
            y_flat[i] = value(y_flat[i], a)

    return compiled(in_place)


@cache
def _backward(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_backward)
    derivative = SCALARS[kind].derivative

    def backward(z: FloatArray, y: FloatArray, dy: FloatArray, dz: FloatArray, alpha: float) -> None:
        a = y.dtype.type(alpha)
        z_flat, y_flat, dy_flat, dz_flat = z.ravel(), y.ravel(), dy.ravel(), dz.ravel()
        for i in range(y_flat.size):
            dz_flat[i] = dy_flat[i] * derivative(z_flat[i], y_flat[i], a)

    return compiled(backward)


@cache
def _backward_in_place(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_backward_in_place)
    derivative = SCALARS[kind].derivative

    def backward_in_place(z: FloatArray, y: FloatArray, dz: FloatArray, alpha: float) -> None:
        a = y.dtype.type(alpha)
        z_flat, y_flat, dz_flat = z.ravel(), y.ravel(), dz.ravel()
        for i in range(y_flat.size):
            dz_flat[i] *= derivative(z_flat[i], y_flat[i], a)

    return compiled(backward_in_place)


def _softmax_forward(z: FloatArray, b: FloatArray | None, y: FloatArray, alpha: float) -> None:
    add_bias(z, b)
    copy(z, y)
    softmax(y)


def _softmax_in_place(y: FloatArray, b: FloatArray | None, alpha: float) -> None:
    add_bias(y, b)
    softmax(y)


def _softmax_backward(z: FloatArray, y: FloatArray, dy: FloatArray, dz: FloatArray, alpha: float) -> None:
    copy(dy, dz)
    softmax_backward(y, dz)


def _softmax_backward_in_place(z: FloatArray, y: FloatArray, dz: FloatArray, alpha: float) -> None:
    softmax_backward(y, dz)
