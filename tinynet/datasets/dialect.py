"""The dialect of a text table: what separates its columns, and whether its first line holds names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinynet.base.checks import member
from tinynet.base.frozen import dataclass
from tinynet.datasets.cells import DECIMALS, as_numbers, is_missing, is_value

DELIMITERS = "\t;, "
"""In the order in which they are tried: a tab is hardly ever part of a cell, a comma now and then, a space often."""

YEARS = (1800, 2100)

_WHOLE = re.compile(r"0|[1-9][0-9]{0,14}")
_DIRECTIVE = re.compile(r"sep=(.)\s*")


@dataclass(frozen=True)
class Dialect:
    """What is said of a text table; the rest is found out.

    Attributes
    ----------
    decimal : {".", ","}
        The decimal mark of its numbers.
    header : bool or None
        Whether its first line holds names; None: that is found out, or asked for where it cannot be.
    missing_words : tuple of str
        Words that stand for a missing value in any column.
    target_gaps : bool
        Whether targets that are numbers may be missing.

    Raises
    ------
    ValueError
        For another decimal mark.
    """

    decimal: str = "."
    header: bool | None = None
    missing_words: tuple[str, ...] = ()
    target_gaps: bool = False

    def __post_init__(self) -> None:
        member("decimal", self.decimal, DECIMALS)


def trimmed(cells: Sequence[str]) -> int:
    """Return the number of cells without blank ones at the end: spreadsheets end lines in separators.

    Examples
    --------
    >>> trimmed(["a", "", "b", "", " "])
    3
    """
    n = len(cells)
    while n and not cells[n - 1].strip():
        n -= 1
    return n


def find_delimiter(lines: Sequence[str], decimal: str) -> str:
    """Return what separates the columns: what makes all lines as long as the first one, if that has several columns.

    Examples
    --------
    >>> find_delimiter(["size; in m,price", "3,5"], "."), find_delimiter(["a;b", "1,5;2"], ",")
    (',', ';')
    """
    # A comma within numbers separates nothing, unless numbers stand in quotes.
    marks = [mark for mark in DELIMITERS if mark != decimal or any('"' in line for line in lines)]
    tables = {mark: rows_of(lines, mark) for mark in marks}
    several = [mark for mark, rows in tables.items() if rows and trimmed(rows[0]) > 1]
    for mark in several:
        n = trimmed(tables[mark][0])
        is_text = mark == " " and len(tables[mark]) == 1  # A line of words alone is no table.
        if not is_text and all(len(row) >= n >= trimmed(row) for row in tables[mark]):
            return mark
    otherwise = ";" if decimal == "," else ","
    return next((mark for mark in several if mark != " "), otherwise)


def directive(line: str) -> str | None:
    """Return the separator that a first line such as ``sep=;`` tells spreadsheets, or None.

    Examples
    --------
    >>> directive("sep=;"), directive("a;b")
    (';', None)
    """
    found = _DIRECTIVE.fullmatch(line)
    return found[1] if found else None


def rows_of(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the rows of some lines, but blank ones."""
    rows = []
    try:
        for row in reader(lines, delimiter):
            if trimmed(row):
                rows.append(row)
    except csv.Error:
        pass  # A cell goes on below these lines, or this is not what separates them.
    return rows


def reader(lines: Iterable[str], delimiter: str) -> Any:
    """Return a ``csv.reader`` of lines."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)


def has_names(first: Sequence[str], rows: Sequence[Sequence[str]], decimal: str = ".") -> bool | None:
    """Tell whether a first line holds names; None where it may as well hold numbers.

    It does if it has no number, or a word above numbers. Names may be numbers, too. They are for certain where several
    are years and no other line has any, or where they rise by equal steps and are the only whole numbers, or are
    positions from 0 or 1 on. It cannot be told where they rise by equal steps and most other lines do not.

    Parameters
    ----------
    first : list of str
        Its cells.
    rows : list of list of str
        The cells of some lines below it.
    decimal : str

    Examples
    --------
    >>> has_names(["5.1", "setosa"], [["4.9", "setosa"]]), has_names(["1990", "2000"], [["5.3", "5.5"]] * 3)
    (False, True)
    """
    if not any(is_value(cell, decimal) for cell in first):
        return True
    columns = list(zip(*rows, strict=True)) or [()] * len(first)
    if any(
        _is_word(name, decimal) and _holds_values(cells, decimal) for name, cells in zip(first, columns, strict=True)
    ):
        return True
    places = [place for place, name in enumerate(first) if is_value(name, decimal)]
    words = [place for place in range(len(first)) if place not in places]
    if not rows or any(first[place] in columns[place] for place in words):
        return False
    names = [first[place].strip() for place in places]
    return _are_names(names, [[row[place].strip() for place in places] for row in rows], bool(words))


def _are_names(names: list[str], rows: list[list[str]], beside_words: bool) -> bool | None:
    """Tell whether numbers stand above ``rows`` as names; see ``has_names``."""
    n = len(names)
    whole = [int(name) for name in names if _WHOLE.fullmatch(name)]
    below = [int(cell) for row in rows for cell in row if _WHOLE.fullmatch(cell)]
    if n == len(set(whole)):
        alone = not below and _rise_evenly(names)
        if alone or (all(map(_is_year, whole)) and not any(map(_is_year, below))):
            return True if n > 1 and len(rows) > 2 else None if n > 1 or beside_words else False
    count_on = n > 2 or (len(whole) == n == 2 and beside_words and whole[1] == whole[0] + 1)
    if not count_on or not _rise_evenly(names) or 2 * sum(_rise_evenly(row) for row in rows if n > 2) >= len(rows):
        return False
    return True if n > 4 and whole in (list(range(n)), list(range(1, n + 1))) else None


def _is_year(value: int) -> bool:
    return YEARS[0] <= value <= YEARS[1]


def _rise_evenly(cells: Sequence[str]) -> bool:
    """Tell whether numbers rise by equal steps."""
    values = as_numbers([cell.replace(",", ".") for cell in cells])
    if values is None:
        return False
    steps = np.diff(values)
    return bool((steps > 0).all() and np.allclose(steps, steps[:1]))


def _is_word(cell: str, decimal: str) -> bool:
    return not is_value(cell, decimal) and not is_missing(cell)


def _holds_values(cells: Sequence[str], decimal: str) -> bool:
    """Tell whether the first cell that says something is a number, or true or false."""
    return any(is_value(cell, decimal) for cell in [cell for cell in cells if not is_missing(cell)][:1])
