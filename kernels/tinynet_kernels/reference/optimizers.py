"""Optimizer steps over one flat vector of parameters, and gradient clipping.

The formulas are those of PyTorch's documentation of ``torch.optim``. Every step takes

    parameters : (n,) array, updated in place
    gradients : (n,) array, only read: weight decay is added to what is used, not to what is stored
    moments : (n_moments, n) array, updated in place; zeros before the first step
    step : int, counted from 1
"""

import math

import numpy as np

from tinynet_kernels._results import given
from tinynet_kernels._typing import FloatArray, ValueArray


@np.errstate(all="ignore")
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
    """Gradient descent, with PyTorch's form of momentum: the learning rate multiplies the velocity.

    Parameters
    ----------
    parameters, gradients : (n,) array
    moments : (1, n) array
        The velocity; ``(0, n)`` where ``momentum`` is 0.
    step : int
        Not used.
    learning_rate, momentum, weight_decay : float
    nesterov : bool
        Sutskever et al. (2013), in PyTorch's form: look ahead by one velocity. Needs momentum.
    """
    g = _decayed(parameters, gradients, weight_decay)
    if momentum:
        velocity = moments[0]
        velocity[...] = float(momentum) * velocity + g
        g = g + float(momentum) * velocity if nesterov else velocity
    parameters -= float(learning_rate) * g


@np.errstate(all="ignore")
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
    """Adam (Kingma and Ba, 2015, algorithm 1); epsilon is added after the bias correction.

    Parameters
    ----------
    parameters, gradients : (n,) array
    moments : (2, n) array
        The first and the second moment.
    step : int
        Number of this step, from 1: corrects the bias of the moments.
    learning_rate, beta1, beta2, epsilon : float
    weight_decay : float
        Adds ``weight_decay * parameters`` to the gradient (an L2 penalty).
    epsilon_hat : bool
        The reordered form at the end of the paper's section 2: epsilon is added before the bias correction, so that
        early steps, whose second moments are small, feel more of it.
    """
    g = _decayed(parameters, gradients, weight_decay)
    first, second = moments
    first += (1.0 - float(beta1)) * (g - first)
    second[...] = float(beta2) * second + (1.0 - float(beta2)) * g * g
    rate = float(learning_rate) / (1.0 - float(beta1) ** step)
    correction = math.sqrt(1.0 - float(beta2) ** step)
    if epsilon_hat:
        rate, correction = rate * correction, 1.0
    parameters -= rate * (first / (np.sqrt(second) / correction + float(epsilon)))


@np.errstate(all="ignore")
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
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2).

    Parameters
    ----------
    parameters, gradients, moments, step, learning_rate, beta1, beta2, epsilon
        As in ``adam_step``.
    weight_decay : float
        Multiplies the parameters by ``1 - learning_rate * weight_decay`` before Adam's step, as PyTorch does.
    """
    parameters *= 1.0 - float(learning_rate) * float(weight_decay)
    adam_step(parameters, gradients, moments, step, learning_rate, beta1, beta2, epsilon, 0.0)


@np.errstate(all="ignore")
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
    """RMSprop (Tieleman and Hinton, 2012, lecture 6.5); centered as in Graves (2013), equations 38-45.

    Departs from PyTorch in one point: the centered variance is kept from falling below 0 by rounding, where PyTorch's
    square root gives NaN.

    Parameters
    ----------
    parameters, gradients : (n,) array
    moments : (1 + (momentum != 0) + centered, n) array
        The average of the squares; then the velocity if ``momentum`` is not 0; then, if ``centered``, the average of
        the gradients.
    step : int
        Not used.
    learning_rate, alpha, epsilon, weight_decay, momentum : float
    centered : bool
        Divide by the standard deviation of the gradients instead of their root mean square.
    """
    g = _decayed(parameters, gradients, weight_decay)
    square = moments[0]
    square[...] = float(alpha) * square + (1.0 - float(alpha)) * g * g
    variance = square
    if centered:
        average = moments[-1]
        average += (1.0 - float(alpha)) * (g - average)
        variance = np.maximum(square - average * average, 0)
    direction = g / (np.sqrt(variance) + float(epsilon))
    if momentum:
        velocity = moments[1]
        velocity[...] = float(momentum) * velocity + direction
        direction = velocity
    parameters -= float(learning_rate) * direction


@np.errstate(all="ignore")
def l2_penalty(
    weights: FloatArray, gradients: FloatArray, strength: float, squares: ValueArray | None = None
) -> float | None:
    """Add the gradient of ``strength / 2 * sum(weights**2)``: ``gradients += strength * weights``.

    Parameters
    ----------
    weights : (n_in, n_out) array
    gradients : (n_in, n_out) array
        Updated in place.
    strength : float
    squares : (1,) float64 array of the module, optional
        Gets the sum of squares; nothing is then returned, and on a GPU nobody waits.

    Returns
    -------
    float
        ``sum(weights**2)``, in float64.
    """
    gradients += float(strength) * weights
    return given(float(np.sum(np.square(weights, dtype=np.float64))), squares)


@np.errstate(all="ignore")
def clip_by_norm(gradients: FloatArray, max_norm: float, norm: ValueArray | None = None) -> float | None:
    """Scale a vector in place so that its 2-norm is at most ``max_norm``, as PyTorch's ``clip_grad_norm_``.

    The factor is ``max_norm / (norm + 1e-6)``, applied where it is below 1. A NaN anywhere makes everything NaN.

    Parameters
    ----------
    gradients : (n,) array
        Scaled in place.
    max_norm : float
    norm : (1,) float64 array, optional
        Overwritten with the norm, which is then not returned: on a GPU, a number would have to be waited for.

    Returns
    -------
    float or None
        The norm before, computed in float64; None where it went to ``norm``.
    """
    before = _norm(gradients)
    coefficient = float(max_norm) / (before + 1e-6)
    if not coefficient >= 1:
        gradients *= coefficient
    return given(before, norm)


@np.errstate(all="ignore")
def clip_by_value(gradients: FloatArray, limit: float) -> None:
    """Clip a vector in place to ``[-limit, limit]``. NaN stays NaN.

    Parameters
    ----------
    gradients : (n,) array
        Clipped in place.
    limit : float
        Not negative.
    """
    np.clip(gradients, -float(limit), float(limit), out=gradients)


def _decayed(parameters: FloatArray, gradients: FloatArray, weight_decay: float) -> FloatArray:
    return gradients + float(weight_decay) * parameters if weight_decay else gradients


def _norm(gradients: FloatArray) -> float:
    """2-norm in float64, scaled by the largest element so that no square overflows or vanishes."""
    values = gradients.astype(np.float64)
    peak = float(np.max(np.abs(values), initial=0.0))
    if peak == 0.0 or not math.isfinite(peak):
        return peak
    return peak * math.sqrt(float(np.sum((values / peak) ** 2)))
