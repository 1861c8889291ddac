"""Optimizer steps: one pass over the parameters each, and no temporary arrays.

What a step does is settled when its loop is made (with momentum or without, ...), so that the loop has no branches.
"""

import math
from functools import cache

import numpy as np

from tinynet_kernels._results import given
from tinynet_kernels._typing import FloatArray, ValueArray
from tinynet_kernels.cpu.compiling import Kernel, compiled, compiled_sum, inlined


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
    return given(shrink_to_norm(gradients, max_norm), norm)


@inlined
def shrink_to_norm(gradients: FloatArray, max_norm: float) -> float:
    """``clip_by_norm`` for compiled code: always returns the norm."""
    norm: float = _norm(gradients)
    coefficient = max_norm / (norm + 1e-6)
    if not coefficient >= 1:
        _scale(gradients, coefficient)
    return norm


def clip_by_value(gradients: FloatArray, limit: float) -> None:
    """Clip to ``[-limit, limit]``. See ``tinynet_kernels.reference.clip_by_value``."""
    _clip(gradients, limit)


@inlined
def _bias_correction(step: int, learning_rate: float, beta1: float, beta2: float) -> tuple[float, float]:
    return learning_rate / (1.0 - beta1**step), math.sqrt(1.0 - beta2**step)


@inlined
def _bias_correction_hat(step: int, learning_rate: float, beta1: float, beta2: float) -> tuple[float, float]:
    """With the correction of the second moment in the rate, so that epsilon meets the uncorrected one."""
    return learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step), 1.0


@cache
def _sgd(has_momentum: bool, nesterov: bool, decays: bool) -> Kernel:
    def sgd(
        parameters: FloatArray,
        gradients: FloatArray,
        moments: FloatArray,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        real = parameters.dtype.type
        rate, m, decay = real(learning_rate), real(momentum), real(weight_decay)
        for i in range(parameters.size):
            g = gradients[i]
            if decays:
                g += decay * parameters[i]
            if has_momentum:
                velocity = m * moments[0, i] + g
                moments[0, i] = velocity
                g = g + m * velocity if nesterov else velocity
            parameters[i] -= rate * g

    return compiled(sgd)


@cache
def _adam(decays: bool, decoupled: bool) -> Kernel:
    def adam(
        parameters: FloatArray,
        gradients: FloatArray,
        moments: FloatArray,
        rate: float,
        correction: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        decay: float,
    ) -> None:
        real = parameters.dtype.type
        step, root, eps, wd = real(rate), real(correction), real(epsilon), real(decay)
        new1, old2, new2 = real(1.0 - beta1), real(beta2), real(1.0 - beta2)
        for i in range(parameters.size):
            g, p = gradients[i], parameters[i]
            if decays:
                g += wd * p
            if decoupled:
                p *= wd
            first = moments[0, i]
            first += new1 * (g - first)
            second = old2 * moments[1, i] + new2 * g * g
            moments[0, i] = first
            moments[1, i] = second
            parameters[i] = p - step * (first / (real(math.sqrt(second)) / root + eps))

    return compiled(adam)


@cache
def _rmsprop(decays: bool, has_momentum: bool, centered: bool) -> Kernel:
    def rmsprop(
        parameters: FloatArray,
        gradients: FloatArray,
        moments: FloatArray,
        learning_rate: float,
        alpha: float,
        epsilon: float,
        weight_decay: float,
        momentum: float,
    ) -> None:
        real = parameters.dtype.type
        rate, eps, decay, m = real(learning_rate), real(epsilon), real(weight_decay), real(momentum)
        old, new = real(alpha), real(1.0 - alpha)
        last = moments.shape[0] - 1
        for i in range(parameters.size):
            g = gradients[i]
            if decays:
                g += decay * parameters[i]
            variance = old * moments[0, i] + new * g * g
            moments[0, i] = variance
            if centered:
                average = moments[last, i]
                average += new * (g - average)
                moments[last, i] = average
                variance -= average * average
                variance = real(0) if variance < 0 else variance
            direction = g / (real(math.sqrt(variance)) + eps)
            if has_momentum:
                direction += m * moments[1, i]
                moments[1, i] = direction
            parameters[i] -= rate * direction

    return compiled(rmsprop)


@inlined
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
