"""Activations and their derivatives: loops over the formulas, which LLVM inlines and vectorises."""

from functools import cache

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import Kernel, compiled, inlined
from tinynet_kernels.cpu.elementary import exp
from tinynet_kernels.cpu.linked import activation, activation_second, activation_slope
from tinynet_kernels.kinds import ACTIVATIONS

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


def activation_curvature(
    kind: str, z: FloatArray, y: FloatArray, t: FloatArray, dt: FloatArray, dz: FloatArray, alpha: float = 0.0
) -> None:
    """Add ``f''(z) * sum_d t_d * dt_d`` to ``dz``. See ``tinynet_kernels.reference.activation_curvature``."""
    _curvature(kind)(z, y, t, dt, dz, alpha)


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

    def forward(z: FloatArray, b: FloatArray | None, y: FloatArray, alpha: float) -> None:
        add_bias(z, b)
        a = z.dtype.type(alpha)
        z_flat, y_flat = z.ravel(), y.ravel()
        for i in range(z_flat.size):
            y_flat[i] = activation(kind, z_flat[i], a)

    return compiled(forward)


@cache
def _in_place(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_in_place)

    def in_place(y: FloatArray, b: FloatArray | None, alpha: float) -> None:
        add_bias(y, b)
        a = y.dtype.type(alpha)
        y_flat = y.ravel()
        for i in range(y_flat.size):
            y_flat[i] = activation(kind, y_flat[i], a)

    return compiled(in_place)


@cache
def _backward(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_backward)

    def backward(z: FloatArray, y: FloatArray, dy: FloatArray, dz: FloatArray, alpha: float) -> None:
        a = y.dtype.type(alpha)
        z_flat, y_flat, dy_flat, dz_flat = z.ravel(), y.ravel(), dy.ravel(), dz.ravel()
        for i in range(y_flat.size):
            dz_flat[i] = dy_flat[i] * activation_slope(kind, z_flat[i], y_flat[i], a)

    return compiled(backward)


@cache
def _backward_in_place(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_backward_in_place)

    def backward_in_place(z: FloatArray, y: FloatArray, dz: FloatArray, alpha: float) -> None:
        a = y.dtype.type(alpha)
        z_flat, y_flat, dz_flat = z.ravel(), y.ravel(), dz.ravel()
        for i in range(y_flat.size):
            dz_flat[i] *= activation_slope(kind, z_flat[i], y_flat[i], a)

    return compiled(backward_in_place)


@cache
def _curvature(kind: str) -> Kernel:
    if not ACTIVATIONS[kind].elementwise:
        return compiled(_softmax_curvature)

    def curvature(z: FloatArray, y: FloatArray, t: FloatArray, dt: FloatArray, dz: FloatArray, alpha: float) -> None:
        a = y.dtype.type(alpha)
        z_flat, y_flat, t_flat, dt_flat, dz_flat = z.ravel(), y.ravel(), t.ravel(), dt.ravel(), dz.ravel()
        for d in range(t.shape[0]):
            start = d * y_flat.size
            for i in range(y_flat.size):
                bend = activation_second(kind, z_flat[i], y_flat[i], a)
                dz_flat[i] += bend * (t_flat[start + i] * dt_flat[start + i])

    return compiled(curvature)


def _softmax_curvature(
    z: FloatArray, y: FloatArray, t: FloatArray, dt: FloatArray, dz: FloatArray, alpha: float
) -> None:
    zero = type(y[0, 0])(0)
    for d in range(t.shape[0]):
        for i in range(y.shape[0]):
            along, gradient, both = zero, zero, zero
            for j in range(y.shape[1]):
                along += y[i, j] * t[d, i, j]
                gradient += y[i, j] * dt[d, i, j]
                both += y[i, j] * (t[d, i, j] * dt[d, i, j])
            mean = both - along * gradient - along * gradient
            for j in range(y.shape[1]):
                own = dt[d, i, j] * (t[d, i, j] - along) - t[d, i, j] * gradient
                dz[i, j] += y[i, j] * (own - mean)


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
