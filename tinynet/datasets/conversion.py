"""From the cells of a text table to features and targets; what cannot be read is named with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tinynet.datasets.cells import DECIMALS, TRUTH, as_numbers, is_infinite, is_missing, is_number, shown
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.tables import Columns, Header

Row = tuple[int, list[str]]
"""The number of a line, and its cells."""


class Converter:
    """Converts rows of a table.

    A column of features whose first cell is true or false holds such values throughout, any other one numbers.

    Parameters
    ----------
    header : Header
    columns : Columns
    dialect : Dialect
    first : list of str
        The cells of the first row.
    """

    def __init__(self, header: Header, columns: Columns, dialect: Dialect, first: Sequence[str]) -> None:
        self.header, self.columns, self.dialect = header, columns, dialect
        is_truth = [first[place].strip() in TRUTH for place in columns.features]
        self.truths = [i for i, found in enumerate(is_truth) if found]
        self.numbers = [i for i, found in enumerate(is_truth) if not found]

    def features(self, block: Sequence[Row]) -> NDArray[np.float64]:
        """Return the features of some rows, (n_rows, n_features).

        Raises
        ------
        ValueError
            If a cell is missing or not what its column holds, or a column without a name has a value.
        """
        x = np.empty((len(block), len(self.columns.features)))
        places = [self.columns.features[i] for i in self.numbers]
        cells = [cells[place] for _, cells in block for place in places]
        numbers = as_numbers(cells, self.dialect.decimal)
        if numbers is None or not np.isfinite(numbers).all() or self._stand_for_missing(cells):
            raise self._blame(block)
        x[:, self.numbers] = numbers.reshape(len(block), len(places))
        for i in self.truths:
            place = self.columns.features[i]
            values = [TRUTH.get(cells[place].strip()) for _, cells in block]
            if None in values:
                raise self._blame(block)
            x[:, i] = values
        for line, place, cell in self._cells(block, self.columns.empty):
            if cell.strip():
                raise ValueError(
                    f"{self.header.source}, line {line}: expected nothing in column {place}, which has no name; got "
                    f"{shown(cell)}. If it is an index, leave it out: --ignore {place}; else name it."
                )
        return x

    def targets(self, block: Sequence[Row]) -> list[list[str]]:
        """Return the targets of some rows, as they stand in the file.

        Raises
        ------
        ValueError
            If one is missing.
        """
        for line, place, cell in self._cells(block, self.columns.targets):
            if not cell.strip() or self._stand_for_missing([cell]):
                where = self._where(line, place)
                raise ValueError(
                    f"{where}: the target is missing (got {shown(cell.strip())}). Fill it in, or drop the line."
                )
        return [[cells[place].strip() for place in self.columns.targets] for _, cells in block]

    def _stand_for_missing(self, cells: Sequence[str]) -> bool:
        words = self.dialect.missing
        return bool(words) and any(cell.strip() in words for cell in cells)

    def _cells(self, block: Sequence[Row], places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Yield the line, the column and the text of cells, row by row."""
        return ((line, place, cells[place]) for line, cells in block for place in places)

    def _where(self, line: int, place: int) -> str:
        return f"{self.header.source}, line {line}, column {self.header.label(place)!r}"

    def _blame(self, block: Sequence[Row]) -> ValueError:
        """Word the error for the first cell that cannot be read."""
        truths = {self.columns.features[i] for i in self.truths}
        for line, place, cell in self._cells(block, self.columns.features):
            reason = self._reason(cell, place in truths, self.header.label(place))
            if reason:
                return ValueError(f"{self._where(line, place)}: {reason}")
        raise AssertionError("a block was refused that can be read")

    def _reason(self, cell: str, is_truth: bool, name: str) -> str:
        """Tell why a cell cannot be read, and what to do; an empty text if it can."""
        decimal = self.dialect.decimal
        if self._stand_for_missing([cell]) or is_missing(cell):
            return f"the value is missing (got {shown(cell)}). Fill it in, or drop the line."
        if is_truth:
            known = cell.strip() in TRUTH
            return (
                ""
                if known
                else f"expected true or false, as in the first row; got {shown(cell)}. Write 0 and 1 throughout."
            )
        value = as_numbers([cell], decimal)
        if value is not None and np.isfinite(value).all():
            return ""
        if value is not None or is_infinite(cell):
            return f"expected a finite number; got {shown(cell)}. Correct it, or drop the line."
        other = DECIMALS[1 - DECIMALS.index(decimal)]
        if is_number(cell, other):
            return (
                f"features must be numbers; got {shown(cell)}. If {other!r} is the decimal mark of this file, say "
                f"--decimal {other}; if it groups thousands, leave it out of the numbers."
            )
        return (
            f"features must be numbers; got {shown(cell)}. Encode the column as numbers (one column of 0 and 1 for "
            f"each value), or leave it out: --ignore {name!r}"
        )
