"""Losses and their gradients, in one pass over the predictions."""

import math
from functools import cache

from tinynet_kernels._typing import AnyArray, FloatArray, IndexArray
from tinynet_kernels.cpu.activations import Kernel
from tinynet_kernels.cpu.compiling import compiled, inlined
from tinynet_kernels.cpu.elementary import exp, log1p
from tinynet_kernels.kinds import LOSSES


def loss_forward_backward(
    kind: str,
    prediction: FloatArray,
    target: AnyArray,
    weight: FloatArray | None,
    d_prediction: FloatArray,
    scale: float = 1.0,
    parameter: float = 0.0,
) -> float:
    """Loss summed over everything, and its gradient. See ``tinynet_kernels.reference.loss_forward_backward``."""
    return float(_loss(kind)(prediction, target, weight, d_prediction, scale, parameter))


@inlined
def _mse(p: float, t: float, parameter: float) -> tuple[float, float]:
    d = p - t
    return d * d, d + d


@inlined
def _mae(p: float, t: float, parameter: float) -> tuple[float, float]:
    """The gradient at 0 is 0."""
    d = p - t
    slope = type(d)(-1) if d < 0 else d
    return abs(d), type(d)(1) if d > 0 else slope


@inlined
def _huber(p: float, t: float, delta: float) -> tuple[float, float]:
    """Huber (1964), in PyTorch's scaling."""
    d = p - t
    half = type(d)(0.5)
    size = abs(d)
    value = half * d * d if size <= delta else delta * (size - half * delta)
    slope = -delta if d < -delta else d
    return value, delta if d > delta else slope


@inlined
def _bce(p: float, t: float, parameter: float) -> tuple[float, float]:
    """``-(t log p + (1 - t) log(1 - p))``, each logarithm at least -100."""
    one = type(p)(1)
    value_1, slope_1 = _clamped(type(p)(math.log(p)), p, t)
    value_0, slope_0 = _clamped(log1p(-p), one - p, one - t)
    return -value_1 - value_0, slope_0 - slope_1


@inlined
def _bce_logits(z: float, t: float, parameter: float) -> tuple[float, float]:
    """``log(1 + exp(z)) - t z``, and ``sigmoid(z) - t``; see the reference for this form."""
    one = type(z)(1)
    e = exp(-abs(z))
    tail = e / (one + e)
    value = log1p(e) + abs(z) * (one - t if z > 0 else t)
    return value, (one - t) - tail if z > 0 else tail - t


@inlined
def _probability(p: float, t: float, parameter: float) -> tuple[float, float]:
    """``-t log p``, the logarithm at least -100; where it is clamped the gradient is 0."""
    value, slope = _clamped(type(p)(math.log(p)), p, t)
    return -value, -slope


@inlined
def _clamped(log_p: float, p: float, t: float) -> tuple[float, float]:
    """``t * max(log p, -100)``, PyTorch's bound, and its derivative with respect to ``p``."""
    clamped = log_p <= -100
    slope = t / p
    return t * (type(p)(-100) if clamped else log_p), type(p)(0) if clamped else slope


SCALARS: dict[str, Kernel] = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "bce": _bce,
    "bce_logits": _bce_logits,
    "cross_entropy_probabilities": _probability,
}
"""Every elementwise loss, by kind: from prediction, target and parameter, its value and derivative."""


@inlined
def cross_entropy_row(z: FloatArray, t: FloatArray, factor: float, dz: FloatArray) -> float:
    """``-sum_j t_j log softmax(z)_j`` of one row, and ``factor`` times its gradient. ``dz`` may be ``z``."""
    zero = type(factor)(0)
    peak = _peak(z)
    e_sum, t_sum, dot = zero, zero, zero
    for j in range(z.size):
        shifted = z[j] - peak
        t_sum += t[j]
        dot += t[j] * shifted
        e = exp(shifted)
        e_sum += e
        dz[j] = e
    share = t_sum / e_sum
    for j in range(z.size):
        dz[j] = factor * (dz[j] * share - t[j])
    return type(factor)(math.log(e_sum)) * t_sum - dot


@inlined
def cross_entropy_index_row(z: FloatArray, c: int, factor: float, dz: FloatArray) -> float:
    """``-log softmax(z)_c`` of one row, and ``factor`` times its gradient. ``dz`` may be ``z``."""
    peak = _peak(z)
    shifted = z[c] - peak
    e_sum = type(factor)(0)
    for j in range(z.size):
        e = exp(z[j] - peak)
        e_sum += e
        dz[j] = e
    for j in range(z.size):
        dz[j] = factor * (dz[j] / e_sum - type(factor)(j == c))
    return type(factor)(math.log(e_sum)) - shifted


@inlined
def probability_index_row(p: FloatArray, c: int, factor: float, dp: FloatArray) -> float:
    """``-log p_c`` of one row, the logarithm at least -100. ``dp`` may be ``p``."""
    zero = type(factor)(0)
    value, slope = _probability(p[c], type(factor)(1), zero)
    for j in range(dp.size):
        dp[j] = factor * zero
    dp[c] = factor * slope
    return value


@inlined
def _peak(z: FloatArray) -> float:
    peak = z[0]
    for j in range(1, z.size):
        peak = z[j] if z[j] > peak else peak
    return peak


ROWS: dict[str, Kernel] = {
    "cross_entropy": cross_entropy_row,
    "cross_entropy_index": cross_entropy_index_row,
    "cross_entropy_probabilities_index": probability_index_row,
}
"""Every other loss, by kind: from a row, its target and a factor, the value; fills the gradient times the factor."""


@cache
def _loss(kind: str) -> Kernel:
    return _elementwise(kind) if LOSSES[kind].elementwise else _rowwise(kind)


def _elementwise(kind: str) -> Kernel:
    scalar = SCALARS[kind]

    def loss(
        prediction: FloatArray,
        target: FloatArray,
        weight: FloatArray | None,
        d_prediction: FloatArray,
        scale: float,
        parameter: float,
    ) -> float:
        real = prediction.dtype.type
        p = real(parameter)
        total = 0.0
        for i in range(prediction.shape[0]):
            factor = real(scale)
            if weight is not None:
                factor *= weight[i]
            row = 0.0
            for j in range(prediction.shape[1]):
                value, slope = scalar(prediction[i, j], target[i, j], p)
                row += value
                d_prediction[i, j] = factor * slope
            total += row if weight is None else row * weight[i]
        return scale * total

    return compiled(loss)


def _rowwise(kind: str) -> Kernel:
    row_loss = ROWS[kind]

    def loss(
        prediction: FloatArray,
        target: FloatArray | IndexArray,
        weight: FloatArray | None,
        d_prediction: FloatArray,
        scale: float,
        parameter: float,
    ) -> float:
        total = 0.0
        for i in range(prediction.shape[0]):
            factor = prediction.dtype.type(scale)
            if weight is not None:
                factor *= weight[i]
            value = row_loss(prediction[i], target[i], factor, d_prediction[i])
            total += value if weight is None else float(value) * weight[i]
        return scale * total

    return compiled(loss)
