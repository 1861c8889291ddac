"""Formulas as statements of C and of what is like C: C99, CUDA C++."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tinynet_kernels.expressions import COMPARISONS, Term
from tinynet_kernels.steps import Operand, Place, Step, steps_of

FUNCTIONS = {
    "abs": "fabs",
    "sqrt": "sqrt",
    "exp": "exp",
    "expm1_nonpositive": "expm1",
    "log": "log",
    "log1p": "log1p",
    "log1p_fraction": "log1p",
    "tanh": "tanh",
    "erfc": "erfc",
}
"""What C calls the functions of formulas."""


class Language(NamedTuple):
    """How a language writes numbers.

    Attributes
    ----------
    real : str
        The type.
    literal : callable
        Writes a number as a constant of this type.
    function : callable
        Returns the name of a function of C, for this type.
    truth : str
        The type of a comparison.
    """

    real: str
    literal: Callable[[float], str]
    function: Callable[[str], str]
    truth: str = "int"


def statements(language: Language, terms: Sequence[Term], symbols: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return statements that compute what formulas have in common, and an expression for each formula.

    Parameters
    ----------
    language : Language
    terms : sequence of Term
    symbols : mapping of str to str
        What the symbols are called there.

    Examples
    --------
    >>> from tinynet_kernels.expressions import function, symbol
    >>> e = function("exp", -abs(symbol("z")))
    >>> statements(Language("double", repr, str), [e / (1 + e)], {"z": "z"})
    (['const double v2 = exp(-fabs(z));'], ['v2 / (1.0 + v2)'])
    """
    steps, results = steps_of(*terms)
    uses = Counter(operand for step in steps for operand in step.operands if isinstance(operand, Place))
    uses.update(operand for operand in results if isinstance(operand, Place))
    lines: list[str] = []
    written: list[str] = []

    def text(operand: Operand, *, inner: bool) -> str:
        if isinstance(operand, Place):
            found = written[operand.number]
            return f"({found})" if inner and not _is_whole(found) else found
        return symbols[operand] if isinstance(operand, str) else language.literal(operand)

    for number, step in enumerate(steps):
        found = _text(language, step, [text(o, inner=step.operation not in FUNCTIONS) for o in step.operands])
        if uses[Place(number)] > 1:
            kind = language.truth if step.operation in COMPARISONS else language.real
            lines.append(f"const {kind} v{number} = {found};")
            found = f"v{number}"
        written.append(found)
    return lines, [text(result, inner=False) for result in results]


def _is_whole(text: str) -> bool:
    """Whether a text is a name or a call, from its start to its end, and so needs no parentheses."""
    name, opened, rest = text.removeprefix("::").partition("(")
    if not opened or not name.isidentifier():
        return name.isidentifier() and not opened
    depth = 1
    for place, sign in enumerate(rest):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return place == len(rest) - 1
    return False


def _text(language: Language, step: Step, operands: Sequence[str]) -> str:
    if step.operation in FUNCTIONS:
        return f"{language.function(FUNCTIONS[step.operation])}({operands[0]})"
    if step.operation == "negative":
        return f"-{operands[0]}"
    if step.operation == "select":
        return "{} ? {} : {}".format(*operands)
    return f"{operands[0]} {step.operation} {operands[1]}"
