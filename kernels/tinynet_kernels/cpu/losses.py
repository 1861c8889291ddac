"""Losses and their gradients, in one pass over the predictions."""

import math
from functools import cache
from typing import Any

from tinynet_kernels import reference
from tinynet_kernels._results import given
from tinynet_kernels._typing import AnyArray, FloatArray, IndexArray, ValueArray
from tinynet_kernels.cpu.activations import copy, exp_in_place, shift_rows
from tinynet_kernels.cpu.compiling import Kernel, compiled, compiled_sum, inlined
from tinynet_kernels.cpu.linked import loss
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
    """Loss summed over everything, and its gradient. See ``tinynet_kernels.reference.loss_forward_backward``.

    Losses of several outputs for each target are computed by NumPy: only what is not generated comes here with them.
    """
    if LOSSES[kind].outputs > 1:
        return reference.loss_forward_backward(kind, prediction, target, weight, d_prediction, scale, parameter, value)
    return given(float(_loss(kind)(prediction, target, weight, d_prediction, scale, parameter)), value)


@cache
def _loss(kind: str) -> Kernel:
    return _elementwise(kind) if LOSSES[kind].elementwise else compiled(_ROWWISE[kind])


def _elementwise(kind: str) -> Kernel:
    # What may be summed in any order is the values; the formulas are linked in with their own rules.
    def summed(
        prediction: FloatArray,
        target: FloatArray,
        weight: FloatArray | None,
        d_prediction: FloatArray,
        scale: float,
        parameter: float,
    ) -> float:
        real: Any = prediction.dtype.type
        p, total = real(parameter), 0.0
        if weight is None:
            factor, flat, t, d = real(scale), prediction.ravel(), target.ravel(), d_prediction.ravel()
            for i in range(flat.size):
                value, slope = loss(kind, flat[i], t[i], p)
                total += value
                d[i] = factor * slope
            return scale * total
        for i in range(prediction.shape[0]):
            factor, row = _factor(scale, weight, i, p), 0.0
            for j in range(prediction.shape[1]):
                value, slope = loss(kind, prediction[i, j], target[i, j], p)
                row += value
                d_prediction[i, j] = factor * slope
            total += row * weight[i]
        return scale * total

    return compiled_sum(summed)


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
        value, slope = loss("cross_entropy_probabilities", prediction[i, target[i]], one, zero)
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
