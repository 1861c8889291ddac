"""Formulas: every elementwise activation, loss and optimizer step, once, with its derivative beside it.

They compute without branches, and NaN in gives NaN out. ``tinynet_kernels.reference`` has them a second time, written
by hand in NumPy: it is what everything that is generated from here is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinynet_kernels.expressions import Expression, Term, function, select, symbol

E = Expression


class Activation(NamedTuple):
    """``y = f(z)``: ``value(z, alpha)`` and ``derivative(z, y, alpha)``, in which only one of ``READS_Z`` has ``z``."""

    value: Callable[[E, E], Term]
    derivative: Callable[[E, E, E], Term]


class Loss(NamedTuple):
    """The loss of a prediction: ``value(p, t, parameter)``, and ``derivative(p, t, parameter)`` by the prediction."""

    value: Callable[[E, E, E], Term]
    derivative: Callable[[E, E, E], Term]


def exp(x: Term) -> E:
    """Exponential."""
    return function("exp", x)


def log(x: Term) -> E:
    """Natural logarithm."""
    return function("log", x)


# -- activations ------------------------------------------------------------------------------------------------------


def _slope_above_zero(y: E, below: Term) -> E:
    """Return 1 above 0, ``below`` up to 0, and NaN for NaN."""
    return select(y <= 0, below, select(y > 0, 1, y))


def _sigmoid(z: E) -> E:
    """``1 / (1 + exp(-z))``, so that the exponential cannot overflow and the left tail keeps its digits."""
    e = exp(-abs(z))
    return select(z < 0, e, 1) / (1 + e)


def _normal_cdf(z: E) -> E:
    """By ``erfc``: ``1 + erf`` has no digits in the left tail."""
    return 0.5 * function("erfc", -0.7071067811865476 * z)


def _gelu(z: E, alpha: E) -> E:
    """``z Phi(z)`` (Hendrycks and Gimpel, 2016). Below -40 the tail is 0; -inf must not become -inf * 0."""
    z = select(z < -40, -40, z)
    return z * _normal_cdf(z)


def _gelu_derivative(z: E, y: E, alpha: E) -> E:
    """``Phi(z) + z phi(z)``."""
    z = select(z < -40, -40, z)
    z = select(z > 40, 40, z)
    return _normal_cdf(z) + z * (0.3989422804014327 * exp(-0.5 * z * z))


def _silu(z: E, alpha: E) -> E:
    """``z sigmoid(z)`` (Hendrycks and Gimpel, 2016; also called swish). ``exp(-800)`` is 0 in both dtypes."""
    z = select(z < -800, -800, z)
    return z * _sigmoid(z)


def _silu_derivative(z: E, y: E, alpha: E) -> E:
    """``s (1 + z (1 - s))`` with ``s = sigmoid(z)``; ``1 - s = sigmoid(-z)`` keeps its digits."""
    z = select(z < -800, -800, z)
    z = select(z > 800, 800, z)
    e = exp(-abs(z))
    large = 1 / (1 + e)
    small = e * large
    return select(z < 0, small, large) * (1 + z * select(z < 0, large, small))


def _softplus(z: E, alpha: E) -> E:
    """``log(1 + exp(z))``, so that the exponential cannot overflow."""
    return select(z <= 0, 0, z) + function("log1p_fraction", exp(-abs(z)))


def _elu(z: E, alpha: E) -> E:
    """Clevert, Unterthiner and Hochreiter (2016), equation 15."""
    return select(z <= 0, alpha * function("expm1_nonpositive", select(z <= 0, z, 0)), z)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda z, alpha: z, lambda z, y, alpha: 1.0),
    "sigmoid": Activation(lambda z, alpha: _sigmoid(z), lambda z, y, alpha: y * (1 - y)),
    # Factored: near y = 1 the square would lose half the digits.
    "tanh": Activation(lambda z, alpha: function("tanh", z), lambda z, y, alpha: (1 - y) * (1 + y)),
    "relu": Activation(lambda z, alpha: select(z <= 0, 0, z), lambda z, y, alpha: _slope_above_zero(y, 0)),
    "leaky_relu": Activation(
        lambda z, alpha: select(z <= 0, alpha * z, z), lambda z, y, alpha: _slope_above_zero(y, alpha)
    ),
    "elu": Activation(_elu, lambda z, y, alpha: _slope_above_zero(y, y + alpha)),
    "gelu": Activation(_gelu, _gelu_derivative),
    "silu": Activation(_silu, _silu_derivative),
    # sigmoid(z) = 1 - exp(-y)
    "softplus": Activation(_softplus, lambda z, y, alpha: -function("expm1_nonpositive", -y)),
    "exponential": Activation(lambda z, alpha: exp(z), lambda z, y, alpha: y),
}
"""Every elementwise activation, by kind."""


# -- losses -----------------------------------------------------------------------------------------------------------


def _huber(p: E, t: E, delta: E) -> E:
    """Huber (1964), in PyTorch's scaling."""
    size = abs(p - t)
    return select(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta))


def _huber_derivative(p: E, t: E, delta: E) -> E:
    d = p - t
    return select(d > delta, delta, select(d < -delta, -delta, d))


def _bounded(log_p: E) -> E:
    """Return the logarithm of a probability, at least -100: PyTorch's bound."""
    return select(log_p <= -100, -100, log_p)


def _log_likelihood(p: E, t: E, parameter: E) -> E:
    return -(t * _bounded(log(p)))


def _log_likelihood_derivative(p: E, t: E, parameter: E) -> E:
    """``-t / p``, and 0 where the logarithm is bounded."""
    return select(log(p) <= -100, 0, -(t / p))


def _bce(p: E, t: E, parameter: E) -> E:
    """``-(t log p + (1 - t) log(1 - p))``."""
    return _log_likelihood(p, t, parameter) - (1 - t) * _bounded(function("log1p", -p))


def _bce_derivative(p: E, t: E, parameter: E) -> E:
    other = select(function("log1p", -p) <= -100, 0, (1 - t) / (1 - p))
    return other + _log_likelihood_derivative(p, t, parameter)


def _bce_logits(z: E, t: E, parameter: E) -> E:
    """``log(1 + exp(z)) - t z``, as a sum of terms of one sign for t = 0 and t = 1: small losses keep their digits."""
    return function("log1p_fraction", exp(-abs(z))) + abs(z) * select(z > 0, 1 - t, t)


def _bce_logits_derivative(z: E, t: E, parameter: E) -> E:
    """``sigmoid(z) - t``."""
    e = exp(-abs(z))
    tail = e / (1 + e)
    return select(z > 0, (1 - t) - tail, tail - t)


def _poisson_log(z: E, t: E, parameter: E) -> E:
    """Half the Poisson deviance of the rate ``exp(z)`` (McCullagh and Nelder, 1989, section 2.3)."""
    return (exp(z) - t) - t * (z - log(select(t > 0, t, 1)))


def _sign(d: E) -> E:
    """Return -1, 0 or 1, and NaN for NaN."""
    return select(d > 0, 1, select(d < 0, -1, d))


LOSSES: dict[str, Loss] = {
    "mse": Loss(lambda p, t, _: (p - t) * (p - t), lambda p, t, _: 2 * (p - t)),
    "mae": Loss(lambda p, t, _: abs(p - t), lambda p, t, _: _sign(p - t)),
    "huber": Loss(_huber, _huber_derivative),
    "bce": Loss(_bce, _bce_derivative),
    "bce_logits": Loss(_bce_logits, _bce_logits_derivative),
    "poisson_log": Loss(_poisson_log, lambda z, t, _: exp(z) - t),
    "cross_entropy_probabilities": Loss(_log_likelihood, _log_likelihood_derivative),
}
"""Every elementwise loss, by kind."""


def _huber_curvature(p: E, t: E, delta: E) -> E:
    """The slope over the distance: the parabola that touches the loss from above (Huber 1981, section 7.8)."""
    size = abs(p - t)
    return delta / select(size > delta, size, delta)


def _bce_logits_curvature(z: E, t: E, parameter: E) -> E:
    """``sigmoid(z) (1 - sigmoid(z))``."""
    e = exp(-abs(z))
    return e / ((1 + e) * (1 + e))


CURVATURES: dict[str, Callable[[E, E, E], Term]] = {
    "mse": lambda p, t, _: 2.0,
    "huber": _huber_curvature,
    "bce_logits": _bce_logits_curvature,
    "poisson_log": lambda z, t, _: exp(z),
}
"""Second derivatives by the prediction of the losses that are convex in each element of it."""


# -- optimizers -------------------------------------------------------------------------------------------------------


class Update(NamedTuple):
    """A parameter after a step, and what the optimizer remembers of it, in the order of the rows of ``moments``."""

    parameter: E
    moments: tuple[E, ...] = ()


def sgd(p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, momentum: bool, nesterov: bool, decay: bool) -> Update:
    """Gradient descent; with momentum as PyTorch has it, and Nesterov's of Sutskever et al. (2013) in that form."""
    if decay:
        g = g + s["decay"] * p
    if not momentum:
        return Update(p - s["rate"] * g)
    velocity = s["momentum"] * moments[0] + g
    return Update(p - s["rate"] * (g + s["momentum"] * velocity if nesterov else velocity), (velocity,))


def adam(p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, decay: bool, decoupled: bool) -> Update:
    """Adam (Kingma and Ba, 2015, algorithm 1); with ``decoupled`` decay AdamW (Loshchilov and Hutter, 2019).

    ``rate`` is that of the step over ``1 - beta1**t``, ``root`` is ``1 / sqrt(1 - beta2**t)``, ``new1`` and ``new2``
    are 1 less the betas, and ``keep`` is 1 less rate times decay.
    """
    if decay:
        g = g + s["decay"] * p
    if decoupled:
        p = p * s["keep"]
    first = moments[0] + s["new1"] * (g - moments[0])
    second = s["beta2"] * moments[1] + s["new2"] * g * g
    return Update(p - s["rate"] * (first / (function("sqrt", second) * s["root"] + s["epsilon"])), (first, second))


def rmsprop(
    p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, decay: bool, momentum: bool, centered: bool
) -> Update:
    """RMSprop (Tieleman and Hinton, 2012, lecture 6.5); centered as in Graves (2013), equations 38-45.

    The centered variance is kept from falling below 0 by rounding, where PyTorch's square root gives NaN.
    """
    if decay:
        g = g + s["decay"] * p
    square = s["alpha"] * moments[0] + s["new"] * g * g
    kept, variance = [square], square
    average = None
    if centered:
        average = moments[-1] + s["new"] * (g - moments[-1])
        difference = square - average * average
        variance = select(difference < 0, 0, difference)
    direction = g / (function("sqrt", variance) + s["epsilon"])
    if momentum:
        direction = s["momentum"] * moments[1] + direction
        kept.append(direction)
    if average is not None:
        kept.append(average)
    return Update(p - s["rate"] * direction, tuple(kept))


__all__ = [
    "ACTIVATIONS",
    "CURVATURES",
    "LOSSES",
    "Activation",
    "E",
    "Loss",
    "Update",
    "adam",
    "rmsprop",
    "sgd",
    "symbol",
]
