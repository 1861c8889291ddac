"""Independent oracles for the kernels: the definitions, in 60-digit arithmetic, and how far off a kernel may be.

Nothing here is shared with the code under test: no stable forms, no analytic gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

mp.dps = 60

DTYPES = ("float32", "float64")

# Units in the last place by which a kernel may miss the exact result; kernels/README.md states the same. The worst seen
# was 2.6. The rest is room for NumPy's exp, expm1, log1p and tanh on other processors, which can be off by 4. The
# functions below say what the unit is relative to.
VALUE_ULPS = {
    "identity": 0,
    "sigmoid": 5,
    "tanh": 5,
    "relu": 0,
    "leaky_relu": 1,
    "elu": 5,
    "gelu": 6,
    "silu": 6,
    "softplus": 6,
    "exponential": 4,
}
DERIVATIVE_ULPS = {
    "identity": 0,
    "sigmoid": 2,
    "tanh": 2,
    "relu": 0,
    "leaky_relu": 1,
    "elu": 1,
    "gelu": 6,
    "silu": 8,
    "softplus": 5,
    "exponential": 0,
}


def exact(number: Any) -> mpf:
    """Return a floating-point number without rounding it."""
    return mpf(float(number))


def _normal_cdf(z: mpf) -> mpf:
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def _sigmoid(z: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-z))


ACTIVATION: dict[str, Callable[[mpf, mpf], mpf]] = {
    "identity": lambda z, a: z,
    "sigmoid": lambda z, a: _sigmoid(z),
    "tanh": lambda z, a: mpmath.tanh(z),
    "relu": lambda z, a: max(z, mpf(0)),
    "leaky_relu": lambda z, a: z if z > 0 else a * z,
    "elu": lambda z, a: z if z > 0 else a * mpmath.expm1(z),
    "gelu": lambda z, a: z * _normal_cdf(z),
    "silu": lambda z, a: z * _sigmoid(z),
    "softplus": lambda z, a: mpmath.log1p(mpmath.exp(z)) if z < 200 else z + mpmath.exp(-z),
    "exponential": lambda z, a: mpmath.exp(z),
}
"""``f(z, alpha)``."""

# The kinds that read y only are right if they are the exact function of the y that they are given.
DERIVATIVE: dict[str, Callable[[mpf, mpf, mpf], mpf]] = {
    "identity": lambda z, y, a: mpf(1),
    "sigmoid": lambda z, y, a: y - y**2,
    "tanh": lambda z, y, a: 1 - y**2,
    "relu": lambda z, y, a: mpf(y > 0),
    "leaky_relu": lambda z, y, a: mpf(1) if y > 0 else a,
    "elu": lambda z, y, a: mpf(1) if y > 0 else y + a,
    "gelu": lambda z, y, a: _normal_cdf(z) + z * mpmath.npdf(z),
    "silu": lambda z, y, a: _sigmoid(z) + z * _sigmoid(z) * _sigmoid(-z),
    "softplus": lambda z, y, a: -mpmath.expm1(-y),
    "exponential": lambda z, y, a: y,
}
"""``f'(z)``, from ``(z, y, alpha)``."""


# SciPy's erfc is 0 from about here on, where the true value is not yet.
_ERFC_UNDERFLOW = mpf(10) ** -290


def value_unit(kind: str, z: mpf, want: mpf) -> mpf:
    """Return the size that the unit of the value's error is relative to: the result, except in gelu's left tail.

    There rounding the argument of ``erfc`` to ``z / sqrt(2)`` costs ``z**2 / 2`` units in the result.
    """
    if kind == "gelu" and z < 0:
        return max(abs(want) * (1 + z * z), _ERFC_UNDERFLOW)
    return abs(want)


def derivative_unit(kind: str, z: mpf, want: mpf) -> mpf:
    """Return the size that the unit of the derivative's error is relative to: the result, except for those that read z.

    Theirs is a sum that has a zero, so the sizes of its terms count; and for gelu, the roundings of the arguments.
    """
    if kind == "gelu":
        terms = _normal_cdf(z) + abs(z) * mpmath.npdf(z)
        return max(terms * (1 + z * z if abs(z) < 50 else 1), _ERFC_UNDERFLOW)
    if kind == "silu":
        return _sigmoid(z) + abs(z) * _sigmoid(z) * _sigmoid(-z)
    return abs(want)


def error_in_ulps(
    got: Any, want: mpf, unit: mpf, dtype: str, *, flushes: bool = False, argument: mpf | int = 0
) -> float:
    """Return how far off a result is, in units of ``eps * unit``; among subnormal numbers, of a fixed small size.

    Where the kernels flush float32's subnormal numbers to 0, that size is the smallest normal number; and one that is
    flushed on the way to the result, where the argument may be its factor, is no error.
    """
    limits = np.finfo(dtype)
    if not np.isfinite(got):  # only right where the result is beyond all numbers of the dtype
        return 0.0 if got > 0 and want > exact(limits.max) else np.inf
    flushed = flushes and dtype == "float32"
    smallest = exact(limits.tiny) / exact(limits.eps) if flushed else 1024 * exact(limits.tiny)
    lost = exact(limits.tiny) * max(1, abs(argument)) if flushed else 0
    return float(max(0, abs(exact(got) - want) - lost) / (exact(limits.eps) * max(unit, smallest)))


def assert_values_agree(kind: str, z: np.ndarray, got: np.ndarray, want: np.ndarray, *, flushes: bool = False) -> None:
    """Compare two modules' values of an activation: twice the bounds where both are finite, else the same."""
    _assert_close(got, want, 2 * VALUE_ULPS[kind], z if kind == "gelu" else None, False, flushes)


def assert_slopes_agree(kind: str, z: np.ndarray, got: np.ndarray, want: np.ndarray, *, flushes: bool = False) -> None:
    """Compare two modules' derivatives of an activation likewise."""
    cancels = kind in {"gelu", "silu"}
    _assert_close(got, want, 2 * DERIVATIVE_ULPS[kind], z if kind == "gelu" else None, cancels, flushes)


def _assert_close(
    got: np.ndarray, want: np.ndarray, ulps: float, tail: np.ndarray | None, cancels: bool, flushes: bool
) -> None:
    limits = np.finfo(want.dtype)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    smallest = float(limits.tiny) * (1 / limits.eps if flushes and want.dtype == np.float32 else 1024)
    unit = limits.eps * (np.abs(want[finite]).astype(np.float64) + smallest)
    growth = 1.0 if tail is None else 1 + np.clip(tail[finite].astype(np.float64), -40, 40) ** 2
    tolerance = ulps * growth * unit + (ulps * 0.25 * limits.eps if cancels else 0.0)
    if tail is not None:
        tolerance += float(_ERFC_UNDERFLOW)
    assert (np.abs(got[finite] - want[finite]) <= tolerance).all()


_LOG_FLOOR = mpf(-100)


def _clamped_log(p: mpf) -> mpf:
    return max(mpmath.log(p), _LOG_FLOOR) if p > 0 else _LOG_FLOOR


def _huber(d: mpf, delta: mpf) -> mpf:
    return d**2 / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2)


def _log_softmax(z: list[mpf], j: int) -> mpf:
    return z[j] - mpmath.log(mpmath.fsum(mpmath.exp(value) for value in z))


def _each(loss: Callable[[mpf, mpf, mpf], mpf]) -> Callable[[list[mpf], Any, mpf], mpf]:
    return lambda p, t, parameter: mpmath.fsum(loss(a, exact(b), parameter) for a, b in zip(p, t, strict=True))


LOSS: dict[str, Callable[[list[mpf], Any, mpf], mpf]] = {
    "mse": _each(lambda p, t, parameter: (p - t) ** 2),
    "mae": _each(lambda p, t, parameter: abs(p - t)),
    "huber": _each(lambda p, t, parameter: _huber(p - t, parameter)),
    "bce": _each(lambda p, t, parameter: -t * _clamped_log(p) - (1 - t) * _clamped_log(1 - p)),
    "bce_logits": _each(lambda z, t, p: -t * mpmath.log(_sigmoid(z)) - (1 - t) * mpmath.log(_sigmoid(-z))),
    "poisson_log": _each(lambda z, t, p: mpmath.exp(z) - t * z + (t * mpmath.log(t) if t else 0) - t),
    "cross_entropy": lambda z, t, p: -mpmath.fsum(exact(t[j]) * _log_softmax(z, j) for j in range(len(z))),
    "cross_entropy_index": lambda z, c, p: -_log_softmax(z, int(c)),
    "cross_entropy_probabilities": _each(lambda p, t, parameter: -t * _clamped_log(p)),
    "cross_entropy_probabilities_index": lambda p, c, parameter: -_clamped_log(p[int(c)]),
}
"""The loss of one row, from ``(prediction, target, parameter)``."""


def loss_gradient(kind: str, prediction: Iterable[Any], target: Any, parameter: float) -> list[mpf]:
    """Return the derivatives of a row's loss by central differences, which in 60 digits are good to about 30."""
    row = [exact(value) for value in prediction]
    h = mpf(10) ** -30
    result = []
    for j in range(len(row)):
        up, down = list(row), list(row)
        up[j] += h
        down[j] -= h
        difference = LOSS[kind](up, target, exact(parameter)) - LOSS[kind](down, target, exact(parameter))
        result.append(difference / (2 * h))
    return result
