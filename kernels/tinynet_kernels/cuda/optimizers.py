"""Optimizer steps: one kernel over the whole flat vector of parameters each."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import THREADS, over_summed_vector, over_vector
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of, own
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

    Waits for the device only where no ``norm`` is given. Those of many models are (n_models, n), and each is scaled by
    itself; ``max_norm`` may then be an (n_models,) float64 array of the device, and there must be such a ``norm``.
    """
    result = scratch(1, np.float64) if norm is None else norm
    n, n_models, real = int(gradients.shape[-1]), count(gradients, 1), REAL[gradients.dtype]
    grid = over_summed_vector(n)
    n_blocks = grid[0][0]
    sums = scratch((n_models, n_blocks, _UNITS), np.float64)
    kernel(_FILE, "squared_norms", real)(*grid_of(grid, n_models), (gradients, np.int64(n), sums))
    one_block = grid_of(((1,), (THREADS,)), n_models)
    kernel(_FILE, "norm_of_sums")(*one_block, (sums, np.int64(n_blocks), result))
    shared, each, limits = own(max_norm, result)
    settings = (np.float64(shared), np.bool_(each), limits)
    kernel(_FILE, "shrink", real)(*grid_of(over_vector(n), n_models), (gradients, np.int64(n), result, *settings))
    return float(result.get()[0]) if norm is None else None


def clip_by_value(gradients: DeviceArray, limit: float) -> None:
    """Clip to ``[-limit, limit]``. See ``tinynet_kernels.reference.clip_by_value``.

    Those of many models are (n_models, n); ``limit`` may then be an (n_models,) array of their dtype.
    """
    n = int(gradients.shape[-1])
    shared, each, limits = own(limit, gradients)
    grid = grid_of(over_vector(n), count(gradients, 1))
    settings = (np.int64(n), gradients.dtype.type(shared), np.bool_(each), limits)
    kernel(_FILE, "clip", REAL[gradients.dtype])(*grid, (gradients, *settings))


def step_of_models(
    kind: str,
    parameters: DeviceArray,
    gradients: DeviceArray,
    moments: DeviceArray,
    numbers: DeviceArray,
    velocities: bool = False,
) -> None:
    """Make an update of many models.

    Parameters
    ----------
    kind : str
    parameters, gradients : (n_models, n) array
        C-contiguous.
    moments : (n_moments, n_models, n) array
        Each of them C-contiguous.
    numbers : (n_models, n_numbers) array
        What ``numbers_of_models`` gives for this update, in the dtype of the parameters.
    velocities : bool
        For "rmsprop": whether any of the models has momentum, and the moments therefore a row for it.
    """
    n_models, n = parameters.shape
    moments_step = int(moments.strides[0]) // int(moments.itemsize) if len(moments) else 0
    arguments: tuple[Any, ...] = (parameters, gradients, moments, np.int64(n), np.int64(moments_step), numbers)
    if kind == "rmsprop":
        arguments = (*arguments, np.bool_(velocities))
    launch = kernel(_FILE, f"{'adam' if kind == 'adamw' else kind}_steps", REAL[parameters.dtype])
    launch(*grid_of(over_vector(n), n_models), arguments)


def numbers_of_models(kind: str, settings: Sequence[Any], steps: Any, rates: Any) -> NDArray[np.float64]:
    """Return what ``step_of_models`` takes for each model: what the step of one model computes from its settings.

    Parameters
    ----------
    kind : str
    settings : sequence of float or (n_models,) array
        In the order of the contract.
    steps : (..., n_models) int array
        Numbers of the updates, from 1.
    rates : (..., n_models) float64 array
        Learning rates.

    Returns
    -------
    numbers : (..., n_models, n_numbers) float64 array
    """
    if kind == "sgd":
        momentum, nesterov, decay = settings
        columns: tuple[Any, ...] = (rates, momentum, nesterov, decay)
    elif kind == "rmsprop":
        alpha, epsilon, decay, momentum, centered = settings
        columns = (rates, alpha, 1.0 - np.asarray(alpha), epsilon, decay, momentum, centered)
    else:
        beta1, beta2, epsilon, decay = (np.asarray(setting, np.float64) for setting in settings[:4])
        rate, root = rates / (1.0 - beta1**steps), 1.0 / np.sqrt(1.0 - beta2**steps)
        coupled, keep = (decay, 1.0) if kind == "adam" else (0.0, 1.0 - rates * decay)
        columns = (rate, root, 1.0 - beta1, beta2, 1.0 - beta2, epsilon, coupled, keep)
    return np.stack(np.broadcast_arrays(*(np.asarray(column, np.float64) for column in columns)), axis=-1)


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
    root = 1.0 / math.sqrt(1.0 - beta2**step)
    if epsilon_hat:
        rate, root = rate / root, 1.0
    numbers = (rate, root, 1.0 - beta1, beta2, 1.0 - beta2, epsilon, weight_decay, keep)
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
        steps = ("sgd_step", "adam_step", "rmsprop_step", "sgd_steps", "adam_steps", "rmsprop_steps")
        for name in (*steps, "l2_penalty", "squared_norms", "shrink", "clip"):
            yield Instance(_FILE, name, (real,))
