"""Second derivatives of the losses by the prediction, as factors that a Gauss-Newton matrix is made of."""

from collections.abc import Callable

import numpy as np

from tinynet_kernels._typing import AnyArray, FloatArray

Curvature = Callable[[FloatArray, AnyArray, float], FloatArray]
"""From predictions, target and parameter: the second derivative of each element, not negative."""


def _mse(p: FloatArray, t: FloatArray, parameter: float) -> FloatArray:
    return np.full_like(p, 2.0)


def _huber(p: FloatArray, t: FloatArray, delta: float) -> FloatArray:
    """The slope over the distance, ``min(1, delta / |d|)``, not the second derivative, which is 0 far out.

    It is the curvature of the parabola that touches the loss from above (Huber 1981, section 7.8): a step on it cannot
    make the loss worse.
    """
    slope: FloatArray = delta / np.maximum(np.abs(p - t), delta)
    return slope


def _bce_logits(z: FloatArray, t: FloatArray, parameter: float) -> FloatArray:
    """``sigmoid(z) (1 - sigmoid(z))``, whatever the target."""
    e = np.exp(-np.abs(z))
    slope: FloatArray = e / np.square(1 + e)
    return slope


def _poisson_log(z: FloatArray, t: FloatArray, parameter: float) -> FloatArray:
    return np.exp(z)


ELEMENTWISE: dict[str, Curvature] = {
    "mse": _mse,
    "huber": _huber,
    "bce_logits": _bce_logits,
    "poisson_log": _poisson_log,
}
"""The losses that are convex in each element of the prediction, by kind."""

ROWWISE = frozenset({"cross_entropy", "cross_entropy_index"})
"""The losses that are convex in the rows of the prediction, whose second derivatives are full matrices."""

CURVED = frozenset(ELEMENTWISE) | ROWWISE
"""The losses that have a generalised Gauss-Newton matrix (Schraudolph 2002)."""


@np.errstate(all="ignore")
def loss_curvature(
    kind: str,
    prediction: FloatArray,
    target: AnyArray,
    weight: FloatArray | None,
    scale: float = 1.0,
    parameter: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Factors ``s`` of the second derivative of the loss by the prediction: for each sample, ``sum_r s_r s_r'``.

    Parameters
    ----------
    kind : str
        One of ``CURVED``.
    prediction, target, weight, scale, parameter
        As for ``loss_forward_backward``.

    Returns
    -------
    factors : (n_out, n_samples, n_out) array
        ``factors[r]`` is to be led back through the network like a gradient of the prediction. For the cross-entropy
        ``diag(p) - p p'`` is ``sum_r p_r (e_r - p)(e_r - p)'``.
    heights : (n_samples, n_out) array
        The gradient of the loss by the prediction is ``sum_r factors[r] * gradient[:, r] / heights[:, r]``, where no
        height is 0.
    """
    n, n_out = prediction.shape
    mass = np.full(n, float(scale)) if weight is None else float(scale) * weight
    if kind in ELEMENTWISE:
        heights = np.sqrt(mass[:, np.newaxis] * ELEMENTWISE[kind](prediction, target, float(parameter)))
        factors = np.zeros((n_out, n, n_out), prediction.dtype)
        factors[np.arange(n_out), :, np.arange(n_out)] = heights.T
        return factors, heights
    e = np.exp(prediction - prediction.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    total = 1.0 if target.ndim == 1 else target.sum(axis=1)
    heights = np.sqrt((mass * total)[:, np.newaxis] * p)
    away = np.eye(n_out)[:, np.newaxis, :] - p
    return (heights.T[:, :, np.newaxis] * away).astype(prediction.dtype), heights
