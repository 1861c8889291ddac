"""Normalization over a sample, or over a batch, with the gradients by all that goes in."""

import numpy as np

from tinynet_kernels._typing import Doubles, FloatArray
from tinynet_kernels.cpu.compiling import compiled


def layer_norm_forward(
    x: FloatArray,
    gamma: FloatArray | None,
    beta: FloatArray | None,
    epsilon: float,
    xhat: FloatArray,
    inverse: Doubles,
    y: FloatArray,
) -> None:
    """Standardise each sample over its columns. See ``tinynet_kernels.reference.layer_norm_forward``."""
    _standardize_rows(x, epsilon, xhat, inverse)
    _put(xhat, gamma, beta, y)


def layer_norm_backward(
    xhat: FloatArray,
    inverse: Doubles,
    gamma: FloatArray | None,
    dy: FloatArray,
    dgamma: FloatArray | None,
    dbeta: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``layer_norm_forward``. See ``tinynet_kernels.reference.layer_norm_backward``."""
    if dgamma is not None and dbeta is not None:
        _sums(xhat, dy, dgamma, dbeta)
    if dx is not None:
        _rows_backward(xhat, inverse, _factors(gamma, dy), dy, dx)


def batch_norm_forward(
    x: FloatArray,
    gamma: FloatArray | None,
    beta: FloatArray | None,
    mean: FloatArray,
    variance: FloatArray,
    epsilon: float,
    momentum: float,
    xhat: FloatArray,
    inverse: Doubles,
    y: FloatArray,
) -> None:
    """Standardise each column over a batch. See ``tinynet_kernels.reference.batch_norm_forward``."""
    _standardize_columns(x, mean, variance, epsilon, momentum, xhat, inverse)
    _put(xhat, gamma, beta, y)


def batch_norm_backward(
    xhat: FloatArray,
    inverse: Doubles,
    gamma: FloatArray | None,
    dy: FloatArray,
    dgamma: FloatArray | None,
    dbeta: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``batch_norm_forward``. See ``tinynet_kernels.reference.batch_norm_backward``."""
    if dgamma is None or dbeta is None:
        dgamma, dbeta = np.empty(inverse.shape, dy.dtype), np.empty(inverse.shape, dy.dtype)
    _sums(xhat, dy, dgamma, dbeta)
    if dx is not None:
        _columns_backward(xhat, inverse, _factors(gamma, dy), dgamma, dbeta, dy, dx)


def batch_norm_predict(
    x: FloatArray,
    gamma: FloatArray | None,
    beta: FloatArray | None,
    mean: FloatArray | None,
    variance: FloatArray,
    epsilon: float,
    y: FloatArray,
) -> None:
    """Standardise each column by running statistics. See ``tinynet_kernels.reference.batch_norm_predict``."""
    n = len(variance)
    factor = _factors(gamma, x) / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = np.zeros(n) if beta is None else beta.astype(np.float64)
    _affine(x, np.zeros(n) if mean is None else mean.astype(np.float64), factor, shift, y)


def _factors(gamma: FloatArray | None, like: FloatArray) -> Doubles:
    """Return the factor of each column, in float64, so that there is one kind of machine code."""
    return np.ones(like.shape[1]) if gamma is None else gamma.astype(np.float64)


def _put(xhat: FloatArray, gamma: FloatArray | None, beta: FloatArray | None, y: FloatArray) -> None:
    if gamma is None or beta is None:
        y[...] = xhat
    else:
        _scale(xhat, gamma, beta, y)


@compiled
def _scale(xhat: FloatArray, gamma: FloatArray, beta: FloatArray, y: FloatArray) -> None:
    for i in range(xhat.shape[0]):
        for j in range(xhat.shape[1]):
            y[i, j] = xhat[i, j] * gamma[j] + beta[j]


@compiled
def _affine(x: FloatArray, mean: Doubles, factor: Doubles, shift: Doubles, y: FloatArray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean[j]) * factor[j] + shift[j]


@compiled
def _standardize_rows(x: FloatArray, epsilon: float, xhat: FloatArray, inverse: Doubles) -> None:
    n = x.shape[1]
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(n):
            total += x[i, j]
        mean = total / n
        squares = 0.0
        for j in range(n):
            squares += (x[i, j] - mean) ** 2
        inverse[i] = 1.0 / np.sqrt(squares / n + epsilon)
        for j in range(n):
            xhat[i, j] = (x[i, j] - mean) * inverse[i]


@compiled
def _standardize_columns(
    x: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    epsilon: float,
    momentum: float,
    xhat: FloatArray,
    inverse: Doubles,
) -> None:
    rows, n = x.shape
    centre, spread = np.zeros(n), np.zeros(n)
    for i in range(rows):
        for j in range(n):
            centre[j] += x[i, j]
    for j in range(n):
        centre[j] /= rows
    for i in range(rows):
        for j in range(n):
            spread[j] += (x[i, j] - centre[j]) ** 2
    for j in range(n):
        inverse[j] = 1.0 / np.sqrt(spread[j] / rows + epsilon)
        mean[j] += momentum * (centre[j] - mean[j])
        variance[j] += momentum * (spread[j] / (rows - 1) - variance[j])
    for i in range(rows):
        for j in range(n):
            xhat[i, j] = (x[i, j] - centre[j]) * inverse[j]


@compiled
def _sums(xhat: FloatArray, dy: FloatArray, dgamma: FloatArray, dbeta: FloatArray) -> None:
    """Write the sums over the samples of what comes back, and of its product with what was standardised."""
    products, sums = np.zeros(xhat.shape[1]), np.zeros(xhat.shape[1])
    for i in range(xhat.shape[0]):
        for j in range(xhat.shape[1]):
            products[j] += np.float64(dy[i, j]) * np.float64(xhat[i, j])
            sums[j] += dy[i, j]
    for j in range(xhat.shape[1]):
        dgamma[j], dbeta[j] = products[j], sums[j]


@compiled
def _rows_backward(xhat: FloatArray, inverse: Doubles, factor: Doubles, dy: FloatArray, dx: FloatArray) -> None:
    n = xhat.shape[1]
    for i in range(xhat.shape[0]):
        mean, along = 0.0, 0.0
        for j in range(n):
            g = dy[i, j] * factor[j]
            mean += g
            along += g * xhat[i, j]
        mean /= n
        along /= n
        for j in range(n):
            dx[i, j] = inverse[i] * (dy[i, j] * factor[j] - mean - xhat[i, j] * along)


@compiled
def _columns_backward(
    xhat: FloatArray,
    inverse: Doubles,
    factor: Doubles,
    dgamma: FloatArray,
    dbeta: FloatArray,
    dy: FloatArray,
    dx: FloatArray,
) -> None:
    rows = xhat.shape[0]
    for i in range(rows):
        for j in range(xhat.shape[1]):
            away = dy[i, j] - (dbeta[j] + xhat[i, j] * np.float64(dgamma[j])) / rows
            dx[i, j] = inverse[j] * factor[j] * away
