"""Columns of text: what their cells hold, and the values of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.datasets.cells import DECIMALS, TRUTH, as_numbers, is_infinite, is_missing, is_number, shown
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.frame import Kind

Writing = Literal["number", "truth", "date", "word"]
"""How the cells of a column are written."""

REMEDY = "Fill it in, or drop the line; --missing mean or --missing indicator trains a model that takes gaps."

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?")
"""ISO 8601 without an offset from UTC; what is written otherwise may be read in two ways."""

_LIKE_A_NUMBER = re.compile(r"\s*[+-]?[.,]?[0-9]")


@dataclass(frozen=True)
class Wanted:
    """What the features of a table are to be.

    Attributes
    ----------
    kinds : dict of str to Kind, optional
        Of the columns by name; one that is not among them tells by its cells.
    gaps : bool
        Whether values may be missing.
    otherwise : Kind, optional
        The kind of those that are not among them; by default their cells tell.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    gaps: bool = False
    otherwise: Kind | None = None

    def kind_of(self, name: str) -> Kind | None:
        """Return what a column is to be, None if its cells tell."""
        return self.kinds.get(name, self.otherwise)


def is_gap(cell: str, writing: Writing, dialect: Dialect) -> bool:
    """Tell whether a cell stands for a missing value; ``NA`` among words is a word, unless it is said to be none."""
    if cell.strip() in dialect.missing_words:
        return True
    return not cell.strip() if writing == "word" else is_missing(cell)


def writing_of(cells: Iterable[str], dialect: Dialect) -> Writing:
    """Tell how a column is written, by its cells.

    The first cell tells of true and false. Dates are dates throughout, and words are words throughout, none of which
    begins as a number does: a word in a column of numbers is likelier a slip than one of its values.

    Examples
    --------
    >>> [writing_of(cells, Dialect()) for cells in (["1", ""], ["red", "NA"], ["2026-01-31", "NA"], ["red", "1.5"])]
    ['number', 'word', 'date', 'number']
    """
    said = [cell for cell in cells if not is_gap(cell, "number", dialect)]
    if said and said[0].strip() in TRUTH:
        return "truth"
    if said and all(_DATE.fullmatch(cell.strip()) for cell in said):
        return "date"
    if said and not any(_LIKE_A_NUMBER.match(cell) or cell.strip() in TRUTH or is_infinite(cell) for cell in said):
        return "word"
    return "number"


def writing_for(name: str, cells: Sequence[str], dialect: Dialect, wanted: Wanted) -> Writing:
    """Tell how a column is written: by what it is to be, and else by its cells."""
    kind = wanted.kind_of(name)
    if kind != "number":
        return kind or writing_of(cells, dialect)
    first = next((cell for cell in cells if not is_gap(cell, "number", dialect)), "")
    return "truth" if first.strip() in TRUTH else "number"


def values_of(cells: Sequence[str], writing: Writing, dialect: Dialect) -> NDArray[Any] | None:
    """Return the values of cells that are not words; None if one is not what the column holds.

    Returns
    -------
    (n_cells,) array or None
        float64, NaN for a gap; or datetime64[us], NaT.
    """
    if writing == "number":
        numbers = as_numbers(cells, dialect.decimal)
        if numbers is not None and np.isfinite(numbers).all() and not _are_gaps(cells, dialect):
            return numbers
    there = np.array([not is_gap(cell, writing, dialect) for cell in cells], dtype=bool)
    found = _read([cell for cell, is_there in zip(cells, there, strict=True) if is_there], writing, dialect)
    if found is None:
        return None
    values = np.full(len(cells), np.datetime64("NaT", "us") if writing == "date" else np.nan)
    values[there] = found
    return values


def codes_of(cells: Iterable[str], dialect: Dialect, levels: dict[str, int]) -> NDArray[np.int64]:
    """Return the places of words in ``levels``, which those that are new are added to; -1 for a gap."""
    return np.array(
        [-1 if is_gap(cell, "word", dialect) else levels.setdefault(cell.strip(), len(levels)) for cell in cells],
        dtype=np.int64,
    )


def _are_gaps(cells: Sequence[str], dialect: Dialect) -> bool:
    """Tell whether numbers are among the words for a gap, as -999 may be."""
    return bool(dialect.missing_words) and any(cell.strip() in dialect.missing_words for cell in cells)


def _read(cells: list[str], writing: Writing, dialect: Dialect) -> NDArray[Any] | None:
    if writing == "truth":
        truths = [TRUTH.get(cell.strip()) for cell in cells]
        return None if None in truths else np.array(truths, dtype=np.float64)
    if writing == "date":
        return as_dates(cells)
    numbers = as_numbers(cells, dialect.decimal)
    return None if numbers is None or not np.isfinite(numbers).all() else numbers


def as_dates(cells: Sequence[str]) -> NDArray[np.datetime64] | None:
    """Return dates of ISO 8601, or None if one is none.

    Examples
    --------
    >>> as_dates(["2026-01-31", "2026-01-31 13:00"]).astype("M8[h]").tolist()[1].hour, as_dates(["2026-02-30"])
    (13, None)
    """
    texts = [cell.strip() for cell in cells]
    if not all(_DATE.fullmatch(text) for text in texts):
        return None
    try:
        return np.array(texts, dtype="datetime64[us]")
    except ValueError:
        return None  # There is no such day.


def reason(cell: str, writing: Writing, dialect: Dialect, name: str, wanted: Wanted) -> str:
    """Tell why a cell cannot be read, and what to do; an empty text if it can."""
    if is_gap(cell, writing, dialect):
        return "" if wanted.gaps else f"the value is missing (got {shown(cell)}). {REMEDY}"
    if writing == "word" or _read([cell], writing, dialect) is not None:
        return ""
    if writing == "truth":
        return f"expected true or false, as in the first row; got {shown(cell)}. Write 0 and 1 throughout."
    if writing == "date":
        example = "a date such as 2026-01-31 or 2026-01-31 13:00"
        return f"expected {example}, as in the first rows; got {shown(cell)}. Correct it."
    if is_infinite(cell) or as_numbers([cell], dialect.decimal) is not None:
        return f"expected a finite number; got {shown(cell)}. Correct it, or drop the line."
    other = DECIMALS[1 - DECIMALS.index(dialect.decimal)]
    if is_number(cell, other):
        return (
            f"features must be numbers; got {shown(cell)}. If {other!r} is the decimal mark of this file, say "
            f"--decimal {other}; if it groups thousands, leave it out of the numbers."
        )
    if wanted.kind_of(name) is not None:
        return f"features must be numbers, as in training; got {shown(cell)}. Correct it, or drop the line."
    return (
        f"features must be numbers; got {shown(cell)}. If that is a gap, say --missing-words {shown(cell)}; if the "
        f"column names kinds of things, say --categorical {name!r} (one column of 0 and 1 for each); or leave it out: "
        f"--ignore {name!r}."
    )
