"""What a cell of a table says: a number, true or false, nothing, or a word.

Python's own ``float`` reads more than tables mean: ``1_01`` as 101, the words ``inf`` and ``nan``, digits of all
scripts. Here a number is what people and programs write as one: digits of ASCII, a sign, a decimal mark, an exponent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DECIMALS = (".", ",")

TRUTH = {"True": 1.0, "true": 1.0, "TRUE": 1.0, "False": 0.0, "false": 0.0, "FALSE": 0.0}
"""Truth values, as Python, JSON and spreadsheets write them."""

MISSING = frozenset({"", "?", "-", ".", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none"})
"""What stands for a missing value where numbers are expected, in lower case; among words it is a word."""

INFINITE = frozenset({"inf", "infinity"})

_NUMBER = {mark: re.compile(rf"[+-]?([0-9]+[{mark}]?[0-9]*|[{mark}][0-9]+)([eE][+-]?[0-9]+)?") for mark in DECIMALS}

_MARKS = {mark: f"0123456789+-eE \t{mark}".encode() for mark in DECIMALS}
"""All that a number is made of: what ``float`` reads of these characters alone is a number."""


def is_number(cell: str, decimal: str = ".") -> bool:
    """Tell whether a cell is a number, with or without white space around it.

    Examples
    --------
    >>> [is_number(cell) for cell in ("-1.5e3", " 7 ", "1_01", "nan", "1,5", "\u0665")]
    [True, True, False, False, False, False]
    """
    return _NUMBER[decimal].fullmatch(cell.strip()) is not None


def is_missing(cell: str) -> bool:
    """Tell whether a cell stands for a missing number."""
    return cell.strip().lower() in MISSING


def is_value(cell: str, decimal: str = ".") -> bool:
    """Tell whether a cell is a number, or true or false."""
    return is_number(cell, decimal) or cell.strip() in TRUTH


def shown(cell: str, most: int = 40) -> str:
    """Return a cell for a message, not all of it if it is long.

    Examples
    --------
    >>> shown("red"), shown("1" * 50, 3)
    ("'red'", "'111...'")
    """
    return repr(cell if len(cell) <= most else f"{cell[:most]}...")


def is_infinite(cell: str) -> bool:
    """Tell whether a cell is the word for infinity."""
    return cell.strip().lower().lstrip("+-") in INFINITE


def as_numbers(cells: Sequence[str], decimal: str = ".") -> NDArray[np.float64] | None:
    """Return cells as numbers, or None if one is none; a number beyond float64 comes out infinite.

    Examples
    --------
    >>> as_numbers(["1", "2,5"], ","), as_numbers(["1", "2_5"])
    (array([1. , 2.5]), None)
    """
    if not _made_of_digits(cells, decimal):
        cells = [cell.strip() for cell in cells]  # White space other than ASCII's.
        if not _made_of_digits(cells, decimal):
            return None
    try:
        return np.array(cells if decimal == "." else [cell.replace(decimal, ".") for cell in cells], dtype=np.float64)
    except ValueError:
        return None


def as_values(cells: Sequence[str], decimal: str = ".") -> NDArray[np.float64] | None:
    """Return a column as numbers: 1 and 0 where all its cells are true or false; None if a cell is no number.

    Examples
    --------
    >>> as_values(["True", "False"]), as_values(["True", "1"])
    (array([1., 0.]), None)
    """
    if cells and cells[0].strip() in TRUTH:
        values = [TRUTH.get(cell.strip()) for cell in cells]
        return None if None in values else np.array(values, dtype=np.float64)
    return as_numbers(cells, decimal)


def _made_of_digits(cells: Sequence[str], decimal: str) -> bool:
    text = "".join(cells)
    return text.isascii() and not text.encode().translate(None, _MARKS[decimal])
