"""Functions that a formula can be written with, each made of ``expressions.FUNCTIONS`` so that it is right everywhere.

They take numbers, too, and return formulas. ``tinynet.math`` has them for users.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels.expressions import Expression, Term, function, select

E = Expression


def where(condition: E, a: Term, b: Term) -> E:
    """Return ``a`` where a comparison holds, else ``b``; both are computed. Where an operand of it is NaN, ``b``."""
    return select(condition, a, b)


def _below(x: E) -> E:
    """Return ``-|x|`` for functions that are smooth at 0: its slope there is 1, that of the branch up to 0.

    The slope of ``abs``, 0, would be neither branch's.
    """
    return select(x <= 0, x, -x)


def exp(x: Term) -> E:
    """Return the exponential."""
    return function("exp", x)


def expm1(x: Term) -> E:
    """Return ``exp(x) - 1``, with all digits near 0: above 0 as ``exp(x) (1 - exp(-x))``."""
    x = _expression(x)
    below = function("expm1_nonpositive", _below(x))
    return select(x <= 0, below, -(below * exp(x)))


def log(x: Term) -> E:
    """Return the natural logarithm."""
    return function("log", x)


def log1p(x: Term) -> E:
    """Return ``log(1 + x)``, with all digits near 0."""
    return function("log1p", x)


def sqrt(x: Term) -> E:
    """Return the square root."""
    return function("sqrt", x)


def square(x: Term) -> E:
    """Return ``x * x``."""
    x = _expression(x)
    return x * x


def tanh(x: Term) -> E:
    """Return the hyperbolic tangent."""
    return function("tanh", x)


def sigmoid(x: Term) -> E:
    """Return ``1 / (1 + exp(-x))``, so that the exponential cannot overflow and the left tail keeps its digits."""
    x = _expression(x)
    e = exp(_below(x))
    return select(x <= 0, e, 1) / (1 + e)


def softplus(x: Term) -> E:
    """Return ``log(1 + exp(x))``, so that the exponential cannot overflow."""
    x = _expression(x)
    return select(x <= 0, 0, x) + function("log1p_fraction", exp(_below(x)))


def erfc(x: Term) -> E:
    """Return the complementary error function."""
    return function("erfc", x)


def erf(x: Term) -> E:
    """Return the error function; near 0 its error is that of numbers near 1."""
    return 1 - erfc(x)


def absolute(x: Term) -> E:
    """Return ``|x|``; its slope at 0 is 0."""
    return function("abs", x)


def maximum(a: Term, b: Term) -> E:
    """Return the larger of two numbers, and NaN if one of them is."""
    a, b = _expression(a), _expression(b)
    return select(a < b, b, select(b <= a, a, a + b))


def minimum(a: Term, b: Term) -> E:
    """Return the smaller of two numbers, and NaN if one of them is."""
    a, b = _expression(a), _expression(b)
    return select(a <= b, a, select(b < a, b, a + b))


def _expression(x: Term) -> E:
    return x if isinstance(x, Expression) else Expression("number", content=float(x))


def _compared(sign: str) -> Callable[[Term, Term], E]:
    return lambda a, b: Expression(sign, (_expression(a), _expression(b)))


UFUNCS: dict[str, Callable[..., E]] = {
    "add": lambda a, b: _expression(a) + b,
    "subtract": lambda a, b: _expression(a) - b,
    "multiply": lambda a, b: _expression(a) * b,
    "divide": lambda a, b: _expression(a) / b,
    "negative": lambda x: -x,
    "power": lambda x, exponent: x**exponent,
    "less": _compared("<"),
    "less_equal": _compared("<="),
    "greater": _compared(">"),
    "greater_equal": lambda a, b: _compared("<=")(b, a),
    "equal": _compared("=="),
    "absolute": absolute,
    "fabs": absolute,
    "square": square,
    "sqrt": sqrt,
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "maximum": maximum,
    "minimum": minimum,
    "reciprocal": lambda x: 1 / x,
    "sinh": lambda x: 0.5 * (expm1(x) - expm1(-x)),
    "cosh": lambda x: 0.5 * (exp(x) + exp(-x)),
    "log2": lambda x: log(x) * (1 / math.log(2)),
    "log10": lambda x: log(x) * (1 / math.log(10)),
}
"""The functions of NumPy that stand in a formula for one of these, by name."""
