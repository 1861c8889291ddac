"""Slopes: the derivative of a formula, as a formula."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.expressions import COMPARISONS, Expression, Term, function, select
from tinynet_kernels.steps import Place, steps_of

Rule = Callable[..., Term]


def slope_of(term: Term, variable: str) -> Term:
    """Return the derivative of a formula by one of its symbols.

    Where a formula has a kink it is that of the branch that the comparison takes, and 0 for ``abs`` at 0.

    Examples
    --------
    >>> from tinynet_kernels.expressions import symbol
    >>> slope_of(function("tanh", 2 * symbol("z")), "z")
    (((1 - tanh((2 * z))) * (1 + tanh((2 * z)))) * 2)
    """
    if not isinstance(term, Expression):
        return 0.0
    steps, results = steps_of(term)
    values: list[Expression] = []
    slopes: list[Term] = []
    for step in steps:
        operands = tuple(
            values[o.number]
            if isinstance(o, Place)
            else Expression("symbol" if isinstance(o, str) else "number", (), o)
            for o in step.operands
        )
        moving = [slopes[o.number] if isinstance(o, Place) else float(o == variable) for o in step.operands]
        value = Expression(step.operation, operands)
        values.append(value)
        slopes.append(_slope(value, moving))
    (result,) = results
    return slopes[result.number] if isinstance(result, Place) else float(result == variable)


def _slope(value: Expression, moving: list[Term]) -> Term:
    """Return the slope of an operation from those of its operands."""
    operation, operands = value.operation, value.operands
    if operation in COMPARISONS or all(_is(slope, 0) for slope in moving):
        return 0.0
    if operation == "select":
        same = _is(moving[1], 0) and _is(moving[2], 0)
        return 0.0 if same else select(operands[0], moving[1], moving[2])
    if operation in _ARITHMETIC:
        return _ARITHMETIC[operation](value, *operands, *moving)
    return _times(_FUNCTIONS[operation](value, *operands), moving[0])


def _is(term: Term, number: float) -> bool:
    return (term.content if isinstance(term, Expression) else term) == number


def _plus(a: Term, b: Term) -> Term:
    return b if _is(a, 0) else a if _is(b, 0) else a + b


def _less(a: Term, b: Term) -> Term:
    return a if _is(b, 0) else -b if _is(a, 0) else a - b


def _times(a: Term, b: Term) -> Term:
    if _is(a, 0) or _is(b, 0):
        return 0.0
    return b if _is(a, 1) else a if _is(b, 1) else a * b


def _over(a: Term, b: Term) -> Term:
    return 0.0 if _is(a, 0) else a / b


_ARITHMETIC: dict[str, Rule] = {
    "+": lambda value, a, b, da, db: _plus(da, db),
    "-": lambda value, a, b, da, db: _less(da, db),
    "*": lambda value, a, b, da, db: _plus(_times(da, b), _times(a, db)),
    "/": lambda value, a, b, da, db: _over(_less(da, _times(value, db)), b),
    "negative": lambda value, a, da: _less(0.0, da),
}

_FUNCTIONS: dict[str, Rule] = {
    "abs": lambda value, x: select(x > 0, 1, select(x < 0, -1, x - x)),  # At 0 it stays 0, NaN is NaN.
    "sqrt": lambda value, x: 0.5 / value,
    "exp": lambda value, x: value,
    "expm1_nonpositive": lambda value, x: function("exp", x),
    "log": lambda value, x: 1 / x,
    "log1p": lambda value, x: 1 / (1 + x),
    "log1p_fraction": lambda value, x: 1 / (1 + x),
    "tanh": lambda value, x: (1 - value) * (1 + value),
    "erfc": lambda value, x: -1.1283791670955126 * function("exp", -(x * x)),
}
"""The derivative of each function, from its value and its argument."""
