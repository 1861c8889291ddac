"""Losses and their gradients."""

from collections.abc import Callable

import numpy as np

from tinynet_kernels import formulas
from tinynet_kernels._results import given
from tinynet_kernels._typing import AnyArray, FloatArray, IndexArray, ValueArray
from tinynet_kernels.blocks import blocks_of, is_blocks
from tinynet_kernels.reference.formulas import ByHand, prepared

Loss = Callable[[FloatArray, AnyArray, float], tuple[FloatArray, FloatArray]]
"""From predictions, target and parameter: the loss, per element or per row, and its gradient per element."""

# PyTorch's bound for the logarithm of a probability: the loss of a confident mistake stays finite.
_LOG_FLOOR = -100.0


@np.errstate(all="ignore")
def loss_forward_backward(
    kind: str,
    prediction: FloatArray,
    target: AnyArray,
    weight: FloatArray | None,
    d_prediction: FloatArray,
    scale: float = 1.0,
    parameter: float = 0.0,
    value: ValueArray | None = None,
) -> float | None:
    """Loss summed over everything, and its gradient.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.LOSSES``.
    prediction : (n_samples, n_out) array
    target : (n_samples, n_out) array, or (n_samples,) int64 array for the kinds with ``index_target``
        Class numbers are in ``[0, n_out)``; nothing checks them. With several ``outputs`` of each target, it is
        (n_samples, n_out // outputs). NaN is a target that was not measured, of ``measured`` kinds.
    weight : (n_samples,) array or None
        Multiplies the loss of each sample.
    d_prediction : (n_samples, n_out) array
        Overwritten with the gradient of the returned value. May be ``prediction`` itself.
    scale : float
        Multiplies the whole, for instance ``1 / n_samples``.
    parameter : float
        The delta of ``huber``.
    value : (1,) float64 array, optional
        Overwritten with the loss, which is then not returned: on a GPU, a number would have to be waited for.

    Returns
    -------
    float or None
        ``scale * sum(weight * loss)``, summed in float64 whatever the dtype; None where it went to ``value``.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    loss, gradient = _LOSSES[kind](prediction, target, float(parameter))
    rows = loss.reshape(len(loss), -1).sum(axis=1, dtype=np.float64)
    if weight is None:
        total = rows.sum()
        d_prediction[...] = float(scale) * gradient
    else:
        total = (rows * weight).sum(dtype=np.float64)
        d_prediction[...] = (float(scale) * weight)[:, np.newaxis] * gradient
    return given(float(scale) * float(total), value)


def _mse(p: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    d = p - t
    return d * d, 2 * d


def _mae(p: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """The gradient at 0 is 0."""
    d = p - t
    return np.abs(d), np.sign(d)


def _huber(p: FloatArray, t: FloatArray, delta: float) -> tuple[FloatArray, FloatArray]:
    """Huber (1964), in PyTorch's scaling: ``d**2 / 2`` within delta of 0, ``delta * (|d| - delta / 2)`` beyond."""
    d = p - t
    size = np.abs(d)
    return np.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta)), np.clip(d, -delta, delta)


def _bce(p: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``-(t log p + (1 - t) log(1 - p))``, each logarithm at least -100, as PyTorch's.

    The gradient is that of this clamped value, where PyTorch's is ``(p - t) / max(p (1 - p), 1e-12)``.
    """
    value_1, gradient_1 = _cross_entropy_probabilities(p, t, parameter)
    log_q = np.log1p(-p)
    value_0 = -(1 - t) * np.maximum(log_q, _LOG_FLOOR)
    gradient_0 = np.where(log_q <= _LOG_FLOOR, 0, (1 - t) / (1 - p))
    return value_1 + value_0, gradient_1 + gradient_0


def _bce_logits(z: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``log(1 + exp(z)) - t z``, and ``sigmoid(z) - t``.

    With ``e = exp(-|z|)`` both are sums of terms of one sign for t = 0 and t = 1, so that small losses keep their
    digits: ``log1p(e) + |z| * (1 - t if z > 0 else t)``, and ``(1 - t) - e / (1 + e)`` or ``e / (1 + e) - t``.
    """
    e = np.exp(-np.abs(z))
    tail = e / (1 + e)
    value = np.log1p(e) + np.abs(z) * np.where(z > 0, 1 - t, t)
    return value, np.where(z > 0, (1 - t) - tail, tail - t)


def _poisson_log(z: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """Half the Poisson deviance of the rate ``exp(z)``: ``exp(z) - t z + t log t - t``, and ``exp(z) - t``.

    McCullagh and Nelder (1989), section 2.3. The terms without z make the loss of a perfect prediction 0.
    """
    rate = np.exp(z)
    log_t = np.log(np.where(t > 0, t, 1))
    return (rate - t) - t * (z - log_t), rate - t


def _cross_entropy(z: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``-sum_j t_j log softmax(z)_j``, whose gradient is ``softmax(z) * sum(t) - t``."""
    total = t.sum(axis=1, keepdims=True)
    shifted, e, e_sum = _shifted_exponentials(z)
    value = np.log(e_sum) * total - (t * shifted).sum(axis=1, keepdims=True)
    return value, e / e_sum * total - t


def _cross_entropy_index(z: FloatArray, c: IndexArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``-log softmax(z)_c``."""
    rows = np.arange(len(z))
    shifted, e, e_sum = _shifted_exponentials(z)
    value = np.log(e_sum[:, 0]) - shifted[rows, c]
    gradient = e / e_sum
    gradient[rows, c] -= 1
    return value, gradient


def _cross_entropy_probabilities(p: FloatArray, t: FloatArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``-t log p``, the logarithm at least -100; where it is clamped the gradient is 0."""
    log_p = np.log(p)
    return -t * np.maximum(log_p, _LOG_FLOOR), np.where(log_p <= _LOG_FLOOR, 0, -t / p)


def _cross_entropy_probabilities_index(p: FloatArray, c: IndexArray, parameter: float) -> tuple[FloatArray, FloatArray]:
    """``-log p_c``, the logarithm at least -100; where it is clamped the gradient is 0."""
    rows = np.arange(len(p))
    value, slope = _cross_entropy_probabilities(p[rows, c], np.ones(len(p), p.dtype), parameter)
    gradient = np.zeros_like(p)
    gradient[rows, c] = slope
    return value, gradient


def _shifted_exponentials(z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``z - max(z)`` per row, its exponential, and that one's sum, which is between 1 and n_out."""
    shifted = z - z.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    return shifted, e, e.sum(axis=1, keepdims=True)


def _of_blocks(kind: str) -> Loss:
    """A loss of several predictions of each target: see ``tinynet_kernels.blocks``."""
    blocks = blocks_of(kind)
    formulas_of_row = prepared(blocks.value, *blocks.slopes)

    def loss(p: FloatArray, t: AnyArray, parameter: float) -> tuple[FloatArray, FloatArray]:
        value, *slopes = formulas_of_row(blocks.symbols(np.split(p, blocks.size, axis=1), t))
        return value, np.hstack([np.broadcast_to(slope, t.shape) for slope in slopes])

    return loss


def _of_formula(kind: str) -> Loss:
    if is_blocks(kind):
        return _of_blocks(kind)
    formula = prepared(*formulas.LOSSES[kind].terms)

    def loss(p: FloatArray, t: AnyArray, parameter: float) -> tuple[FloatArray, FloatArray]:
        value, slope = formula({"p": p, "t": t, "parameter": parameter})
        return value, np.broadcast_to(slope, p.shape)

    return loss


_LOSSES = ByHand[Loss](
    {
        "mse": _mse,
        "mae": _mae,
        "huber": _huber,
        "bce": _bce,
        "bce_logits": _bce_logits,
        "poisson_log": _poisson_log,
        "cross_entropy": _cross_entropy,
        "cross_entropy_index": _cross_entropy_index,
        "cross_entropy_probabilities": _cross_entropy_probabilities,
        "cross_entropy_probabilities_index": _cross_entropy_probabilities_index,
    },
    _of_formula,
)
