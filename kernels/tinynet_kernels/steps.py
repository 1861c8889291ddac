"""Steps: formulas as lists of operations, each on what came before it, and as text that names such a list.

What formulas have in common is one step, so that a list is never longer than the formula that was written. Everything
that turns formulas into code, numbers or other formulas goes through such a list from its start to its end.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from tinynet_kernels.expressions import ARITY, COMPARISONS, Expression, Term, symbol


class Place(NamedTuple):
    """The result of a step, by its number in the list."""

    number: int


Operand = Place | str | float
"""The result of a step, a symbol by its name, or a number."""


class Step(NamedTuple):
    """An operation of ``expressions.ARITY``, and what it is applied to."""

    operation: str
    operands: tuple[Operand, ...]


def steps_of(*terms: Term) -> tuple[list[Step], list[Operand]]:
    """Return the steps of some formulas, and where the result of each formula is.

    Examples
    --------
    >>> z = symbol("z")
    >>> steps, results = steps_of(abs(z) * 2, abs(z))
    >>> steps
    [Step(operation='abs', operands=('z',)), Step(operation='*', operands=(Place(number=0), 2.0))]
    >>> results
    [Place(number=1), Place(number=0)]
    """
    steps: list[Step] = []
    known: dict[Any, Place] = {}
    seen: dict[int, Operand] = {}
    waiting: list[Term] = list(reversed(terms))
    # Without recursion: formulas may be deeper than Python's stack.
    while waiting:
        term = waiting[-1]
        if not isinstance(term, Expression) or id(term) in seen:
            waiting.pop()
        elif term.operation in ("number", "symbol"):
            seen[id(term)] = term.content
        elif missing := [o for o in term.operands if id(o) not in seen]:
            waiting += reversed(missing)
        else:
            step = Step(term.operation, tuple(seen[id(operand)] for operand in term.operands))
            key = step.operation, *map(repr, step.operands)  # 0.0 and -0.0 are equal, but not the same.
            if key not in known:
                known[key] = Place(len(steps))
                steps.append(step)
            seen[id(term)] = known[key]
    return steps, [seen[id(term)] if isinstance(term, Expression) else float(term) for term in terms]


Made = TypeVar("Made")


def follow(
    terms: Sequence[Term], symbols: Mapping[str, Made], number: Callable[[float], Made], apply: Callable[..., Made]
) -> list[Made]:
    """Return what becomes of formulas if ``apply(operation, *operands)`` is done step by step.

    Examples
    --------
    >>> z = symbol("z")
    >>> follow([abs(z) * 2], {"z": "z"}, str, lambda operation, *operands: f"({operation} {' '.join(operands)})")
    ['(* (abs z) 2.0)']
    """
    return walk(*steps_of(*terms), symbols, number, apply)


def walk(
    steps: Sequence[Step],
    results: Sequence[Operand],
    symbols: Mapping[str, Made],
    number: Callable[[float], Made],
    apply: Callable[..., Made],
) -> list[Made]:
    """Do what ``follow`` does, with steps that are known: a formula that is computed again is not taken apart again."""
    found: list[Made] = []

    def made(operand: Operand) -> Made:
        if isinstance(operand, Place):
            return found[operand.number]
        return symbols[operand] if isinstance(operand, str) else number(operand)

    for step in steps:
        found.append(apply(step.operation, *map(made, step.operands)))
    return [made(result) for result in results]


# -- as text ----------------------------------------------------------------------------------------------------------

PREFIX = "formula"
"""What the text of a formula begins with."""

MOST_STEPS = 1000
"""Longer formulas are refused: each step is an instruction for every number of a network."""

_NAMES = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    "==": "equal",
}
_OPERATIONS = {_NAMES.get(operation, operation): operation for operation in ARITY}


def text_of(term: Term, symbols: Sequence[str]) -> str:
    """Return a formula as text, which is a valid identifier in every language.

    Parameters
    ----------
    term : Term
    symbols : sequence of str
        What the formula may depend on, and must: at least the first of them.

    Raises
    ------
    ValueError
        If it is too long, does not depend on the first symbol, is a truth value, or has numbers that are not finite.

    Examples
    --------
    >>> text_of(abs(symbol("z")) * 2, ["z"])
    'formula__abs_z__multiply_0_x4000000000000000'
    """
    if isinstance(term, Expression) and term.operation == "symbol":
        term = term * 1.0  # The text of a list without steps would be empty.
    steps, _ = steps_of(term)
    if not any(symbols[0] in step.operands for step in steps):
        raise ValueError(f"a formula must depend on what it is a function of; got {term!r}.")
    if len(steps) > MOST_STEPS:
        raise ValueError(f"a formula has at most {MOST_STEPS} operations; got {len(steps)}. Write a layer in Python.")
    words = [PREFIX]
    for step in steps:
        name = _NAMES.get(step.operation, step.operation)
        words.append("_".join([name, *(_word(operand) for operand in step.operands)]))
    text = "__".join(words)
    term_of(text, tuple(symbols))
    return text


def is_text(kind: object) -> bool:
    """Whether the name of a kind is the text of a formula."""
    return isinstance(kind, str) and kind.startswith(f"{PREFIX}__")


@lru_cache(maxsize=1024)
def term_of(text: str, symbols: tuple[str, ...]) -> Expression:
    """Return the formula that a text names. Nothing in it is run: it is a list of operations that are all known.

    Raises
    ------
    ValueError
        If it is no such text.

    Examples
    --------
    >>> term_of("formula__abs_z__multiply_0_x4000000000000000", ("z",))
    (abs(z) * 2)
    """
    head, *lines = text.split("__") if isinstance(text, str) else [""]
    if head != PREFIX or not 0 < len(lines) <= MOST_STEPS:
        raise ValueError(f"expected the text of a formula, of 1 to {MOST_STEPS} operations; got {text!r:.100}.")
    found: list[Expression] = []
    for line in lines:
        found.append(_expression_of(line, found, symbols))
    if found[-1].operation in COMPARISONS:
        raise ValueError("a formula is a number; got a truth value. Choose between two numbers by it.")
    return found[-1]


def _word(operand: Operand) -> str:
    if isinstance(operand, Place):
        return str(operand.number)
    if isinstance(operand, str):
        return operand
    return "x" + struct.pack(">d", operand).hex()


def _expression_of(line: str, before: Sequence[Expression], symbols: Sequence[str]) -> Expression:
    words = line.split("_")
    for cut in range(1, len(words)):
        operation = _OPERATIONS.get("_".join(words[:cut]))
        if operation is not None and ARITY[operation] == len(words) - cut:
            operands = tuple(_operand_of(word, before, symbols) for word in words[cut:])
            truths = [operand.operation in COMPARISONS for operand in operands]
            if truths != [operation == "select" and i == 0 for i in range(len(operands))]:
                raise ValueError(f"a formula chooses by a comparison, and computes with numbers; got {line!r:.100}.")
            return Expression(operation, operands)
    raise ValueError(f"expected an operation of a formula with its operands; got {line!r:.100}.")


def _operand_of(word: str, before: Sequence[Expression], symbols: Sequence[str]) -> Expression:
    if word in symbols:
        return symbol(word)
    if word.isascii() and word.isdigit() and int(word) < len(before):
        return before[int(word)]
    if word[:1] == "x" and len(word) == 17:
        try:
            (value,) = struct.unpack(">d", bytes.fromhex(word[1:]))
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return Expression("number", content=value)
    raise ValueError(f"expected an operand of a formula, a finite number among them; got {word!r:.100}.")
