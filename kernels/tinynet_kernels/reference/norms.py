"""Normalization over a sample, or over a batch, with the gradients by all that goes in.

In float64, and rounded once. They are made of operators that CuPy's arrays have, too: ``tinynet_kernels.cuda`` takes
them from here.
"""

from typing import Any

import numpy as np

from tinynet_kernels._typing import Doubles, FloatArray


@np.errstate(all="ignore")
def layer_norm_forward(
    x: FloatArray,
    gamma: FloatArray | None,
    beta: FloatArray | None,
    epsilon: float,
    xhat: FloatArray,
    inverse: Doubles,
    y: FloatArray,
) -> None:
    """Standardise each sample over its columns: ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``.

    Ba, Kiros and Hinton (2016), eqs. 3 and 4, with epsilon within the root, as in PyTorch; the variance is that of the
    columns at hand, divided by their number.

    Parameters
    ----------
    x : (n_samples, n) array
    gamma, beta : (n,) arrays or None
        None: 1 and 0; both or neither.
    epsilon : float
    xhat : (n_samples, n) array
        Overwritten by what is standardised, for the way back.
    inverse : (n_samples,) float64 array
        Overwritten by ``1 / sqrt(variance + epsilon)``.
    y : (n_samples, n) array
        Overwritten.
    """
    away, inverse[...] = _standardised(x, 1, epsilon)
    _put(away * inverse[:, None], gamma, beta, xhat, y)


@np.errstate(all="ignore")
def layer_norm_backward(
    xhat: FloatArray,
    inverse: Doubles,
    gamma: FloatArray | None,
    dy: FloatArray,
    dgamma: FloatArray | None,
    dbeta: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``layer_norm_forward`` with respect to its inputs.

    With ``g = gamma * dy``, ``dx = inverse * (g - mean(g) - xhat * mean(g * xhat))``, means over the columns.

    Parameters
    ----------
    xhat, inverse, gamma
        Of the way forward.
    dy : (n_samples, n) array
    dgamma, dbeta : (n,) arrays or None
        Overwritten.
    dx : (n_samples, n) array or None
        Overwritten.
    """
    _backward(xhat, inverse[:, None], gamma, dy, dgamma, dbeta, dx, 1)


@np.errstate(all="ignore")
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
    """Standardise each column over a batch in training, and let the running statistics follow.

    Ioffe and Szegedy (2015), algorithm 1. The running ones, in PyTorch's form, go by ``momentum`` of the way to those
    of the batch; the running variance to the unbiased one, divided by ``n_samples - 1``.

    Parameters
    ----------
    x : (n_samples, n) array
        Of two samples or more.
    gamma, beta : (n,) arrays or None
        None: 1 and 0; both or neither.
    mean, variance : (n,) arrays
        The running statistics; changed.
    epsilon : float
    momentum : float
        In [0, 1].
    xhat : (n_samples, n) array
        Overwritten by what is standardised, for the way back.
    inverse : (n,) float64 array
        Overwritten by ``1 / sqrt(variance + epsilon)`` of the batch.
    y : (n_samples, n) array
        Overwritten.
    """
    wide = x.astype(np.float64)
    centre = wide.mean(axis=0)
    away = wide - centre
    spread = (away * away).mean(axis=0)
    inverse[...] = (spread + epsilon) ** -0.5
    mean[...] = mean + momentum * (centre - mean)
    variance[...] = variance + momentum * (spread * (len(x) / (len(x) - 1)) - variance)
    _put(away * inverse, gamma, beta, xhat, y)


@np.errstate(all="ignore")
def batch_norm_backward(
    xhat: FloatArray,
    inverse: Doubles,
    gamma: FloatArray | None,
    dy: FloatArray,
    dgamma: FloatArray | None,
    dbeta: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``batch_norm_forward`` with respect to its inputs; the mean and the variance depend on ``x``, too.

    With ``g = gamma * dy``, ``dx = inverse * (g - mean(g) - xhat * mean(g * xhat))``, means over the samples.

    Parameters
    ----------
    xhat, inverse, gamma
        Of the way forward.
    dy : (n_samples, n) array
    dgamma, dbeta : (n,) arrays or None
        Overwritten.
    dx : (n_samples, n) array or None
        Overwritten.
    """
    _backward(xhat, inverse, gamma, dy, dgamma, dbeta, dx, 0)


@np.errstate(all="ignore")
def batch_norm_predict(
    x: FloatArray,
    gamma: FloatArray | None,
    beta: FloatArray | None,
    mean: FloatArray | None,
    variance: FloatArray,
    epsilon: float,
    y: FloatArray,
) -> None:
    """Standardise each column by the running statistics: ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``.

    Without ``mean`` and ``beta`` it is the linear part: what becomes of a gradient on its way back.

    Parameters
    ----------
    x : (n_samples, n) array
    gamma, beta, mean : (n,) arrays or None
        None: 1, 0 and 0.
    variance : (n,) array
    epsilon : float
    y : (n_samples, n) array
        Overwritten. May be ``x`` itself.
    """
    wide = x.astype(np.float64)
    factor = (variance.astype(np.float64) + epsilon) ** -0.5
    factor = factor if gamma is None else factor * gamma
    found = (wide if mean is None else wide - mean) * factor
    y[...] = found if beta is None else found + beta


def _standardised(x: Any, axis: int, epsilon: float) -> tuple[Any, Any]:
    """Return how far numbers are from their mean along an axis, and 1 by the root of their variance."""
    wide = x.astype(np.float64)
    away = wide - wide.mean(axis=axis, keepdims=True)
    return away, ((away * away).mean(axis=axis) + epsilon) ** -0.5


def _put(standardised: Any, gamma: Any, beta: Any, xhat: Any, y: Any) -> None:
    xhat[...] = standardised
    y[...] = standardised if gamma is None else standardised * gamma + beta


def _backward(xhat: Any, inverse: Any, gamma: Any, dy: Any, dgamma: Any, dbeta: Any, dx: Any, axis: int) -> None:
    wide, slope = xhat.astype(np.float64), dy.astype(np.float64)
    if dgamma is not None:
        dgamma[...], dbeta[...] = (slope * wide).sum(axis=0), slope.sum(axis=0)
    if dx is not None:
        g = slope if gamma is None else slope * gamma
        along = (g * wide).mean(axis=axis, keepdims=True)
        dx[...] = inverse * (g - g.mean(axis=axis, keepdims=True) - wide * along)
