"""Optimizer steps: one pass over the parameters each, and no temporary arrays.

The update of a parameter is a formula (``tinynet_kernels.updates``). What it does is settled when the loop is made
(with momentum or without, ...), so that the loop has no branches.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from tinynet_kernels._results import given
from tinynet_kernels._typing import FloatArray, ValueArray
from tinynet_kernels.cpu.compiling import Kernel, compiled, compiled_sum, inlined
from tinynet_kernels.cpu.linked import update
from tinynet_kernels.updates import n_moments


def sgd_step(
    parameters: FloatArray,
    gradients: FloatArray,
    moments: FloatArray,
    step: int,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum. See ``tinynet_kernels.reference.sgd_step``."""
    kernel = _sgd(momentum != 0, bool(nesterov), weight_decay != 0)
    kernel(parameters, gradients, moments, learning_rate, momentum, weight_decay)


def adam_step(
    parameters: FloatArray,
    gradients: FloatArray,
    moments: FloatArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    epsilon_hat: bool = False,
) -> None:
    """Adam. See ``tinynet_kernels.reference.adam_step``."""
    correct = _bias_correction_hat if epsilon_hat else _bias_correction
    rate, correction = correct(step, learning_rate, beta1, beta2)
    kernel = _adam(weight_decay != 0, False)
    kernel(parameters, gradients, moments, rate, correction, beta1, beta2, epsilon, weight_decay)


def adamw_step(
    parameters: FloatArray,
    gradients: FloatArray,
    moments: FloatArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """Adam with decoupled weight decay. See ``tinynet_kernels.reference.adamw_step``."""
    rate, correction = _bias_correction(step, learning_rate, beta1, beta2)
    keep = 1.0 - learning_rate * weight_decay
    kernel = _adam(False, True)
    kernel(parameters, gradients, moments, rate, correction, beta1, beta2, epsilon, keep)


def rmsprop_step(
    parameters: FloatArray,
    gradients: FloatArray,
    moments: FloatArray,
    step: int,
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    """RMSprop. See ``tinynet_kernels.reference.rmsprop_step``."""
    kernel = _rmsprop(weight_decay != 0, momentum != 0, bool(centered))
    kernel(parameters, gradients, moments, learning_rate, alpha, epsilon, weight_decay, momentum)


def l2_penalty(
    weights: FloatArray, gradients: FloatArray, strength: float, squares: ValueArray | None = None
) -> float | None:
    """Add the gradient of an L2 penalty; return the sum of squares. See ``tinynet_kernels.reference.l2_penalty``."""
    return given(float(_l2_penalty(weights, gradients, strength)), squares)


def clip_by_norm(gradients: FloatArray, max_norm: float, norm: ValueArray | None = None) -> float | None:
    """Scale so that the 2-norm is at most ``max_norm``. See ``tinynet_kernels.reference.clip_by_norm``."""
    found = _norm(gradients)
    coefficient = max_norm / (found + 1e-6)
    if not coefficient >= 1:
        _scale(gradients, coefficient)
    return given(found, norm)


def clip_by_value(gradients: FloatArray, limit: float) -> None:
    """Clip to ``[-limit, limit]``. See ``tinynet_kernels.reference.clip_by_value``."""
    _clip(gradients, limit)


def _bias_correction(step: int, learning_rate: float, beta1: float, beta2: float) -> tuple[float, float]:
    return learning_rate / (1.0 - beta1**step), math.sqrt(1.0 - beta2**step)


def _bias_correction_hat(step: int, learning_rate: float, beta1: float, beta2: float) -> tuple[float, float]:
    """With the correction of the second moment in the rate, so that epsilon meets the uncorrected one."""
    return learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step), 1.0


@cache
def _sgd(has_momentum: bool, nesterov: bool, decays: bool) -> Kernel:
    """Arguments of the kernel: parameters, gradients, moments, rate, momentum, decay."""
    return _stepping("sgd", _same, momentum=has_momentum, nesterov=nesterov, decay=decays)


@cache
def _adam(decays: bool, decoupled: bool) -> Kernel:
    """Arguments of the kernel: parameters, gradients, moments, rate, correction, betas, epsilon, decay or what stays.

    The correction is the square root by which the second moment is divided.
    """
    return _stepping("adamw" if decoupled else "adam", _of_adam, decay=decays)


@cache
def _rmsprop(decays: bool, has_momentum: bool, centered: bool) -> Kernel:
    """Arguments of the kernel: parameters, gradients, moments, rate, alpha, epsilon, decay, momentum."""
    return _stepping("rmsprop", _of_rmsprop, decay=decays, momentum=has_momentum, centered=centered)


def _stepping(kind: str, numbers_of: Kernel, **on: bool) -> Kernel:
    flags = tuple(name for name, value in on.items() if value)
    step, count = " ".join((kind, *flags)), n_moments(kind, flags)

    def stepping(parameters: FloatArray, gradients: FloatArray, moments: FloatArray, *settings: float) -> None:
        real = parameters.dtype.type
        numbers, zero = numbers_of(real, *settings), real(0)
        for i in range(parameters.size):
            m0 = moments[0, i] if count > 0 else zero
            m1 = moments[1, i] if count > 1 else zero
            m2 = moments[2, i] if count > 2 else zero
            parameters[i], m0, m1, m2 = update(step, parameters[i], gradients[i], m0, m1, m2, numbers)
            if count > 0:
                moments[0, i] = m0
            if count > 1:
                moments[1, i] = m1
            if count > 2:
                moments[2, i] = m2

    return compiled(stepping)


# The numbers of each formula, see `tinynet_kernels.updates.NUMBERS`, from the settings.


@inlined
def _same(real: Any, rate: float, momentum: float, decay: float) -> Any:
    return real(rate), real(momentum), real(decay)


@inlined
def _of_adam(
    real: Any, rate: float, correction: float, beta1: float, beta2: float, epsilon: float, decay: float
) -> Any:
    new1, new2 = real(1.0 - beta1), real(1.0 - beta2)
    return real(rate), real(1.0 / correction), new1, real(beta2), new2, real(epsilon), real(decay), real(decay)


@inlined
def _of_rmsprop(real: Any, rate: float, alpha: float, epsilon: float, decay: float, momentum: float) -> Any:
    return real(rate), real(alpha), real(1.0 - alpha), real(epsilon), real(decay), real(momentum)


def _norm(gradients: FloatArray) -> float:
    """2-norm in float64; a second pass, scaled, only where squares overflow or vanish."""
    total = float(_sum_of_squares(gradients, 1.0))
    if 1e-280 < total < math.inf:
        return math.sqrt(total)
    peak = float(_peak(gradients))
    if peak == 0.0 or not math.isfinite(peak):
        return peak
    return peak * math.sqrt(_sum_of_squares(gradients, peak))


@compiled_sum
def _l2_penalty(weights: FloatArray, gradients: FloatArray, strength: float) -> float:
    flat, g = weights.ravel(), gradients.ravel()
    factor = weights.dtype.type(strength)
    total = 0.0
    for i in range(flat.size):
        value = np.float64(flat[i])
        total += value * value
        g[i] += factor * flat[i]
    return total


@compiled_sum
def _sum_of_squares(values: FloatArray, unit: float) -> float:
    total = 0.0
    for i in range(values.size):
        value = float(values[i]) / unit
        total += value * value
    return total


@compiled
def _peak(values: FloatArray) -> float:
    peak = 0.0
    for i in range(values.size):
        size = float(abs(values[i]))
        if not size <= peak:
            peak = size
        if peak != peak:
            return peak
    return peak


@compiled
def _scale(values: FloatArray, coefficient: float) -> None:
    factor = values.dtype.type(coefficient)
    for i in range(values.size):
        values[i] *= factor


@compiled
def _clip(values: FloatArray, limit: float) -> None:
    high = values.dtype.type(limit)
    for i in range(values.size):
        value = values[i]
        value = high if value > high else value
        values[i] = -high if value < -high else value
