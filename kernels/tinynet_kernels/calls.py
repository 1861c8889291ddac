"""Calls: functions of numbers at an address of this process, in the place of a formula.

Whoever has compiled a function of doubles, and keeps it, makes a kind of its address: ``called(value, slope)``. Only
the generated code knows what to do with it. A kind of an address means nothing to another process, and is in no file.
"""

from __future__ import annotations

from tinynet_kernels.expressions import Expression

PREFIX = "called"

CALL = "call"
"""The operation: its first operand is an address."""

MEASURED = "measured_"
"""What the kind of a loss begins with that is 0 where the target is NaN: where nothing was measured."""


def called(value: int, slope: int) -> str:
    """Return the kind of a function and its derivative.

    Examples
    --------
    >>> called(4096, 8192)
    'called_4096_8192'
    """
    return f"{PREFIX}_{value}_{slope}"


def is_called(kind: object) -> bool:
    """Whether a kind, or a text that has one in it, is made of addresses."""
    return isinstance(kind, str) and f"{PREFIX}_" in kind


def terms_of(kind: str, *symbols: Expression) -> tuple[Expression, Expression]:
    """Return the calls of the function and of its derivative."""
    value, slope = kind.removeprefix(f"{PREFIX}_").split("_")
    return _call(int(value), symbols), _call(int(slope), symbols)


def _call(address: int, symbols: tuple[Expression, ...]) -> Expression:
    # Addresses have 57 bits at most, of which the lowest are 0: as a double they are exact.
    assert int(float(address)) == address, "an address that is no double"
    return Expression(CALL, (Expression("number", content=float(address)), *symbols))
