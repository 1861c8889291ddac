"""Optimizer steps: one kernel over the whole flat vector of parameters each."""

import math
from collections.abc import Iterator

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import THREADS, over_summed_vector, over_vector
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.scratch import scratch

_FILE = "optimizers.cu"

# What `squared_norms` leaves of each block: the sum of squares in three units.
_UNITS = 3


def sgd_step(
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    step: int,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum. See ``tinynet_kernels.reference.sgd_step``."""
    real = parameters.dtype.type
    settings = (real(learning_rate), real(momentum), np.bool_(nesterov), real(weight_decay))
    _step("sgd_step", parameters, gradients, moments, settings)


def adam_step(
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    epsilon_hat: bool = False,
) -> None:
    """Adam. See ``tinynet_kernels.reference.adam_step``."""
    _adam(parameters, gradients, moments, step, learning_rate, beta1, beta2, epsilon, weight_decay, 1.0, epsilon_hat)


def adamw_step(
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """Adam with decoupled weight decay. See ``tinynet_kernels.reference.adamw_step``."""
    keep = 1.0 - float(learning_rate) * float(weight_decay)
    _adam(parameters, gradients, moments, step, learning_rate, beta1, beta2, epsilon, 0.0, keep)


def rmsprop_step(
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    step: int,
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    """RMSprop. See ``tinynet_kernels.reference.rmsprop_step``."""
    real = parameters.dtype.type
    numbers = (learning_rate, alpha, 1.0 - float(alpha), epsilon, weight_decay, momentum)
    settings = (*(real(number) for number in numbers), np.bool_(centered))
    _step("rmsprop_step", parameters, gradients, moments, settings)


def l2_penalty(
    weights: DeviceArray, gradients: DeviceArray, strength: float, squares: DeviceArray | None = None
) -> float | None:
    """Add the gradient of an L2 penalty; return the sum of squares. See ``tinynet_kernels.reference.l2_penalty``.

    Waits for the device only where no ``squares`` are given.
    """
    result = scratch(1, np.float64) if squares is None else squares
    n, real = weights.size, weights.dtype.type
    grid, block = over_summed_vector(n)
    sums = scratch(grid[0], np.float64)
    launch = kernel(_FILE, "l2_penalty", REAL[weights.dtype])
    launch(grid, block, (weights, gradients, np.int64(n), real(strength), sums))
    kernel("reductions.cu", "total")((1,), (THREADS,), (sums, np.int64(grid[0]), np.float64(1.0), result))
    return float(result.get()[0]) if squares is None else None


def clip_by_norm(gradients: DeviceArray, max_norm: float, norm: DeviceArray | None = None) -> float | None:
    """Scale so that the 2-norm is at most ``max_norm``. See ``tinynet_kernels.reference.clip_by_norm``.

    Waits for the device only where no ``norm`` is given.
    """
    result = scratch(1, np.float64) if norm is None else norm
    n, real = np.int64(gradients.size), REAL[gradients.dtype]
    grid, block = over_summed_vector(gradients.size)
    sums = scratch((grid[0], _UNITS), np.float64)
    kernel(_FILE, "squared_norms", real)(grid, block, (gradients, n, sums))
    kernel(_FILE, "norm_of_sums")((1,), (THREADS,), (sums, np.int64(grid[0]), result))
    kernel(_FILE, "shrink", real)(*over_vector(gradients.size), (gradients, n, result, np.float64(max_norm)))
    return float(result.get()[0]) if norm is None else None


def clip_by_value(gradients: DeviceArray, limit: float) -> None:
    """Clip to ``[-limit, limit]``. See ``tinynet_kernels.reference.clip_by_value``."""
    launch = kernel(_FILE, "clip", REAL[gradients.dtype])
    launch(*over_vector(gradients.size), (gradients, np.int64(gradients.size), gradients.dtype.type(limit)))


def _adam(
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    keep: float,
    epsilon_hat: bool = False,
) -> None:
    beta1, beta2 = float(beta1), float(beta2)
    rate = float(learning_rate) / (1.0 - beta1**step)
    correction = math.sqrt(1.0 - beta2**step)
    if epsilon_hat:
        rate, correction = rate * correction, 1.0
    numbers = (rate, correction, 1.0 - beta1, beta2, 1.0 - beta2, epsilon, weight_decay, keep)
    real = parameters.dtype.type
    _step("adam_step", parameters, gradients, moments, tuple(real(number) for number in numbers))


def _step(
    name: str,
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    settings: tuple[np.generic, ...],
) -> None:
    n = parameters.size
    launch = kernel(_FILE, name, REAL[parameters.dtype])
    launch(*over_vector(n), (parameters, gradients, moments, np.int64(n), *settings))


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch."""
    yield Instance(_FILE, "norm_of_sums")
    for real in REAL.values():
        for name in ("sgd_step", "adam_step", "rmsprop_step", "l2_penalty", "squared_norms", "shrink", "clip"):
            yield Instance(_FILE, name, (real,))
