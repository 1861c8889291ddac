"""Expressions: formulas as data, which each language has its own way to write.

A formula is a Python function that is called with symbols instead of numbers. What it returns is a tree over a dozen
operations, each of which has an entry in the table of whoever turns it into code.
"""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

COMPARISONS = frozenset({"<", "<=", ">", "=="})
"""What has a truth value; where an operand is NaN, it does not hold."""

FUNCTIONS = frozenset({"abs", "sqrt", "exp", "expm1_nonpositive", "log", "log1p", "log1p_fraction", "tanh", "erfc"})
"""Functions of one number. ``expm1_nonpositive`` takes what is not above 0, ``log1p_fraction`` what lies in [0, 1]."""

ARITY: dict[str, int] = {
    **dict.fromkeys(("+", "-", "*", "/", *sorted(COMPARISONS)), 2),
    **dict.fromkeys(("negative", *sorted(FUNCTIONS)), 1),
    "select": 3,
}
"""What formulas are made of, beside symbols and numbers, and to how many operands each is applied."""

MOST_POWERS = 64
"""The largest whole exponent that is written as products."""


SHOWN_DEPTH = 8
"""How far down a formula is written where it is shown: what it has twice would be written twice at every level."""


class Expression:
    """An operation and what it is applied to.

    Attributes
    ----------
    operation : str
        One of ``ARITY``, or ``"symbol"`` or ``"number"``.
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
    __hash__ = object.__hash__

    def __init__(self, operation: str, operands: tuple[Expression, ...] = (), content: Any = None) -> None:
        self.operation, self.operands, self.content = operation, operands, content

    def __repr__(self) -> str:
        return self._shown(SHOWN_DEPTH)

    def _shown(self, depth: int) -> str:
        if self.operation == "number":
            return repr(self.content).removesuffix(".0")
        if self.operation == "symbol":
            return str(self.content)
        if not depth:
            return "..."
        parts = [operand._shown(depth - 1) for operand in self.operands]
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

    def __ge__(self, other: Term) -> Expression:
        return _made("<=", other, self)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return _made("==", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        raise TypeError("a formula has no !=; choose by == and swap what is chosen.")

    def __abs__(self) -> Expression:
        return _made("abs", self)

    def __pow__(self, exponent: float) -> Expression:
        """Return a power: of a whole exponent by products, else of a positive number by its logarithm."""
        if isinstance(exponent, Expression):
            return _made("exp", exponent * _made("log", self))
        if exponent == 0.5:
            return _made("sqrt", self)
        if exponent != int(exponent) or abs(exponent) > MOST_POWERS:
            return _made("exp", exponent * _made("log", self))
        power, base, left = None, self, abs(int(exponent))
        while left:
            if left & 1:
                power = base if power is None else power * base
            base, left = base * base, left >> 1
        power = _expression(1.0) if power is None else power
        return 1 / power if exponent < 0 else power

    def __rpow__(self, base: float) -> Expression:
        return _made("exp", self * math.log(base))

    def __bool__(self) -> bool:
        raise TypeError(
            f"a formula is written before its numbers are known, so it cannot branch on {self!r}. Choose by "
            "tn.math.where(condition, a, b) instead of if, and, or, not, min and max."
        )

    def __float__(self) -> float:
        raise TypeError(
            f"a formula is written before its numbers are known, so {self!r} is no number. Take the functions of "
            "tn.math instead of those of math."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Expression:
        """Return what a function of NumPy makes of it, for the functions of ``tinynet_kernels.functions``."""
        from tinynet_kernels.functions import UFUNCS

        if method != "__call__" or options or ufunc.__name__ not in UFUNCS:
            raise TypeError(f"a formula cannot have np.{ufunc.__name__} in it; it can have the functions of tn.math.")
        return UFUNCS[ufunc.__name__](*(o if isinstance(o, Expression) else float(o) for o in operands))


Term = Expression | float
"""An expression or a number."""


def symbol(name: str) -> Expression:
    """Return what stands for a number that is known later."""
    return Expression("symbol", content=name)


def select(condition: Expression, a: Term, b: Term) -> Expression:
    """Return ``a`` where the condition holds, else ``b``; where an operand of it is NaN, ``b``."""
    return _made("select", condition, a, b)


def function(name: str, x: Term) -> Expression:
    """Return one of ``FUNCTIONS`` of a number."""
    return _made(name, x)


def _made(operation: str, *operands: Any) -> Expression:
    return Expression(operation, tuple(map(_expression, operands)))


def _expression(term: Any) -> Expression:
    if isinstance(term, Expression):
        return term
    if not isinstance(term, SupportsFloat) or isinstance(term, str | bytes):
        raise TypeError(f"a formula is made of numbers and of what stands for them; got {term!r}.")
    return Expression("number", content=float(term))
