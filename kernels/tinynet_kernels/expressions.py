"""Expressions: formulas as data, which each language has its own way to write.

A formula is a Python function that is called with symbols instead of numbers. What it returns is a tree over a dozen
operations, each of which has an entry in the table of whoever turns it into code.
"""

from __future__ import annotations

from typing import Any

OPERATIONS = frozenset({"+", "-", "*", "/", "negative", "<", "<=", ">", "==", "select"})
"""What formulas are made of, beside symbols, numbers and ``FUNCTIONS``."""

FUNCTIONS = frozenset({"abs", "sqrt", "exp", "expm1_nonpositive", "log", "log1p", "log1p_fraction", "tanh", "erfc"})
"""Functions of one number. ``expm1_nonpositive`` takes what is not above 0, ``log1p_fraction`` what lies in [0, 1]."""


class Expression:
    """An operation and what it is applied to.

    Attributes
    ----------
    operation : str
        One of ``OPERATIONS`` or ``FUNCTIONS``, or ``"symbol"`` or ``"number"``.
    operands : tuple of Expression
        None for a symbol and a number.
    content : str or float
        The name of a symbol, the value of a number.

    Examples
    --------
    >>> z = symbol("z")
    >>> select(z <= 0, 0, 2 * z)
    select((z <= 0), 0, (2 * z))
    """

    __slots__ = ("content", "operands", "operation")

    def __init__(self, operation: str, operands: tuple[Expression, ...] = (), content: Any = None) -> None:
        self.operation, self.operands, self.content = operation, operands, content

    def __repr__(self) -> str:
        parts = [repr(operand) for operand in self.operands]
        if self.operation in ("symbol", "number"):
            return str(self.content)
        if len(parts) == 2:
            return f"({parts[0]} {self.operation} {parts[1]})"
        return f"{self.operation}({', '.join(parts)})"

    def __add__(self, other: Term) -> Expression:
        return _made("+", self, other)

    def __radd__(self, other: Term) -> Expression:
        return _made("+", other, self)

    def __sub__(self, other: Term) -> Expression:
        return _made("-", self, other)

    def __rsub__(self, other: Term) -> Expression:
        return _made("-", other, self)

    def __mul__(self, other: Term) -> Expression:
        return _made("*", self, other)

    def __rmul__(self, other: Term) -> Expression:
        return _made("*", other, self)

    def __truediv__(self, other: Term) -> Expression:
        return _made("/", self, other)

    def __rtruediv__(self, other: Term) -> Expression:
        return _made("/", other, self)

    def __neg__(self) -> Expression:
        return _made("negative", self)

    def __lt__(self, other: Term) -> Expression:
        return _made("<", self, other)

    def __le__(self, other: Term) -> Expression:
        return _made("<=", self, other)

    def __gt__(self, other: Term) -> Expression:
        return _made(">", self, other)

    def __abs__(self) -> Expression:
        return _made("abs", self)


Term = Expression | float
"""An expression or a number."""


def symbol(name: str) -> Expression:
    """Return what stands for a number that is known later."""
    return Expression("symbol", content=name)


def select(condition: Expression, a: Term, b: Term) -> Expression:
    """Return ``a`` where the condition holds, else ``b``; where an operand of it is NaN, ``b``."""
    return _made("select", condition, a, b)


def equal(a: Term, b: Term) -> Expression:
    """Return whether two numbers are equal."""
    return _made("==", a, b)


def function(name: str, x: Term) -> Expression:
    """Return one of ``FUNCTIONS`` of a number."""
    return _made(name, x)


def _made(operation: str, *operands: Term) -> Expression:
    return Expression(operation, tuple(map(_expression, operands)))


def _expression(term: Term) -> Expression:
    return term if isinstance(term, Expression) else Expression("number", content=term)
