"""Losses and their gradients, in one pass over the predictions."""

import math
from functools import cache
from typing import Any

from tinynet_kernels._results import given
from tinynet_kernels._typing import AnyArray, FloatArray, IndexArray, ValueArray
from tinynet_kernels.cpu.activations import copy, exp_in_place, shift_rows
from tinynet_kernels.cpu.compiling import Kernel, compiled, inlined
from tinynet_kernels.cpu.elementary import exp, log, log1p, log1p_fraction
from tinynet_kernels.cpu.generic import Real, number, select
from tinynet_kernels.kinds import LOSSES


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
    """Loss summed over everything, and its gradient. See ``tinynet_kernels.reference.loss_forward_backward``."""
    return given(float(_loss(kind)(prediction, target, weight, d_prediction, scale, parameter)), value)


@inlined
def _mse(p: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    d = p - t
    return d * d, d + d


@inlined
def _mae(p: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    """The gradient at 0 is 0."""
    d = p - t
    slope = select(d < 0, number(d, -1), d)
    return abs(d), select(d > 0, number(d, 1), slope)


@inlined
def _huber(p: Real, t: Real, delta: Real) -> tuple[Real, Real]:
    """Huber (1964), in PyTorch's scaling."""
    d = p - t
    half = number(d, 0.5)
    size = abs(d)
    value = select(size <= delta, half * d * d, delta * (size - half * delta))
    slope = select(d < -delta, -delta, d)
    return value, select(d > delta, delta, slope)


@inlined
def _bce(p: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    """``-(t log p + (1 - t) log(1 - p))``, each logarithm at least -100."""
    one = number(p, 1)
    value_1, slope_1 = _clamped(log(p), p, t)
    value_0, slope_0 = _clamped(log1p(-p), one - p, one - t)
    return -value_1 - value_0, slope_0 - slope_1


@inlined
def _bce_logits(z: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    """``log(1 + exp(z)) - t z``, and ``sigmoid(z) - t``; see the reference for this form."""
    one = number(z, 1)
    e = exp(-abs(z))
    tail = e / (one + e)
    value = log1p_fraction(e) + abs(z) * select(z > 0, one - t, t)
    return value, select(z > 0, (one - t) - tail, tail - t)


@inlined
def _poisson_log(z: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    """Half the Poisson deviance of the rate ``exp(z)``, and ``exp(z) - t``; see the reference."""
    log_t = log(select(t > 0, t, number(t, 1)))
    d = exp(z) - t
    return d - t * (z - log_t), d


@inlined
def _cross_entropy_probabilities(p: Real, t: Real, parameter: Real) -> tuple[Real, Real]:
    """``-t log p``, the logarithm at least -100; where it is clamped the gradient is 0."""
    value, slope = _clamped(log(p), p, t)
    return -value, -slope


@inlined
def _clamped(log_p: Real, p: Real, t: Real) -> tuple[Real, Real]:
    """``t * max(log p, -100)``, PyTorch's bound, and its derivative with respect to ``p``."""
    clamped = log_p <= -100
    return t * select(clamped, number(p, -100), log_p), select(clamped, number(p, 0), t / p)


SCALARS: dict[str, Kernel] = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "bce": _bce,
    "bce_logits": _bce_logits,
    "poisson_log": _poisson_log,
    "cross_entropy_probabilities": _cross_entropy_probabilities,
}
"""Every elementwise loss, by kind: from prediction, target and parameter, its value and derivative."""


@cache
def _loss(kind: str) -> Kernel:
    return _elementwise(kind) if LOSSES[kind].elementwise else compiled(_ROWWISE[kind])


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
        real: Any = prediction.dtype.type
        p = real(parameter)
        total = 0.0
        for i in range(prediction.shape[0]):
            factor = _factor(scale, weight, i, p)
            row = 0.0
            for j in range(prediction.shape[1]):
                value, slope = scalar(prediction[i, j], target[i, j], p)
                row += value
                d_prediction[i, j] = factor * slope
            total += row if weight is None else row * weight[i]
        return scale * total

    return compiled(loss)


@inlined
def _factor(scale: float, weight: FloatArray | None, i: int, like: Any) -> Any:
    """``scale * weight[i]`` in the type of ``like``."""
    factor = type(like)(scale)
    if weight is not None:
        factor *= weight[i]
    return factor


def _cross_entropy(
    prediction: FloatArray,
    target: FloatArray,
    weight: FloatArray | None,
    d_prediction: FloatArray,
    scale: float,
    parameter: float,
) -> float:
    """``-sum_j t_j log softmax(z)_j``, whose gradient is ``softmax(z) * sum(t) - t``."""
    d = d_prediction
    real: Any = prediction.dtype.type
    zero = real(0)
    total = 0.0
    copy(prediction, d)
    shift_rows(d)
    for i in range(d.shape[0]):
        dot = zero
        for j in range(d.shape[1]):
            dot += target[i, j] * d[i, j]
        total -= dot if weight is None else float(dot) * weight[i]
    exp_in_place(d)
    for i in range(d.shape[0]):
        factor = _factor(scale, weight, i, zero)
        e_sum, t_sum = zero, zero
        for j in range(d.shape[1]):
            e_sum += d[i, j]
            t_sum += target[i, j]
        for j in range(d.shape[1]):
            d[i, j] = factor * (d[i, j] / e_sum * t_sum - target[i, j])
        value = real(math.log(e_sum)) * t_sum
        total += value if weight is None else float(value) * weight[i]
    return scale * total


def _cross_entropy_index(
    prediction: FloatArray,
    target: IndexArray,
    weight: FloatArray | None,
    d_prediction: FloatArray,
    scale: float,
    parameter: float,
) -> float:
    """``-log softmax(z)_c``."""
    d = d_prediction
    real: Any = prediction.dtype.type
    zero, one = real(0), real(1)
    total = 0.0
    copy(prediction, d)
    shift_rows(d)
    for i in range(d.shape[0]):
        shifted = d[i, target[i]]
        total -= shifted if weight is None else float(shifted) * weight[i]
    exp_in_place(d)
    for i in range(d.shape[0]):
        factor = _factor(scale, weight, i, zero)
        e_sum = zero
        for j in range(d.shape[1]):
            e_sum += d[i, j]
        for j in range(d.shape[1]):
            d[i, j] = factor * (d[i, j] / e_sum - (one if j == target[i] else zero))
        value = real(math.log(e_sum))
        total += value if weight is None else float(value) * weight[i]
    return scale * total


def _cross_entropy_probabilities_index(
    prediction: FloatArray,
    target: IndexArray,
    weight: FloatArray | None,
    d_prediction: FloatArray,
    scale: float,
    parameter: float,
) -> float:
    """``-log p_c``, the logarithm at least -100; where it is clamped the gradient is 0."""
    real: Any = prediction.dtype.type
    zero, one = real(0), real(1)
    total = 0.0
    for i in range(prediction.shape[0]):
        factor = _factor(scale, weight, i, zero)
        value, slope = _cross_entropy_probabilities(prediction[i, target[i]], one, zero)
        for j in range(prediction.shape[1]):
            d_prediction[i, j] = factor * zero
        d_prediction[i, target[i]] = factor * slope
        total += value if weight is None else float(value) * weight[i]
    return scale * total


_ROWWISE: dict[str, Kernel] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_index": _cross_entropy_index,
    "cross_entropy_probabilities_index": _cross_entropy_probabilities_index,
}
