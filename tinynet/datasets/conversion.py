"""From the cells of a text table to columns and targets; what cannot be read is named with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.datasets.cells import shown
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.frame import Column, Frame, Kind
from tinynet.datasets.parsing import Wanted, codes_of, is_gap, reason, values_of, writing_for
from tinynet.datasets.tables import Columns, Header

Row = tuple[int, list[str]]
"""The number of a line, and its cells."""


class Converter:
    """Converts the rows of a table, block by block.

    Parameters
    ----------
    header : Header
    columns : Columns
    dialect : Dialect
    wanted : Wanted
    first : list of Row
        The first block, which tells what each column holds; one that is all gaps there holds numbers.
    """

    def __init__(
        self, header: Header, columns: Columns, dialect: Dialect, wanted: Wanted, first: Sequence[Row]
    ) -> None:
        self.header, self.columns, self.dialect, self.wanted = header, columns, dialect, wanted
        self.names = tuple(header.label(place) for place in columns.features)
        self.writings = [
            writing_for(name, [cells[place] for _, cells in first], dialect, wanted)
            for name, place in zip(self.names, columns.features, strict=True)
        ]
        self.matrix = [i for i, writing in enumerate(self.writings) if writing in ("number", "truth")]
        self.levels: dict[int, dict[str, int]] = {i: {} for i, kind in enumerate(self.writings) if kind == "word"}
        self._numbers: list[NDArray[np.float64]] = []
        self._others: dict[int, list[NDArray[Any]]] = {i: [] for i in range(len(self.names)) if i not in self.matrix}

    def add(self, block: Sequence[Row]) -> None:
        """Convert the features of some rows.

        Raises
        ------
        ValueError
            If a cell is missing or not what its column holds, or a column without a name has a value.
        """
        self._numbers.append(self._matrix_of(block))
        for i, parts in self._others.items():
            cells = [cells[self.columns.features[i]] for _, cells in block]
            parts.append(self._values(i, cells, block))
        for line, place, cell in self._cells(block, self.columns.empty):
            if cell.strip():
                raise ValueError(
                    f"{self.header.source}, line {line}: expected nothing in column {place}, which has no name; got "
                    f"{shown(cell)}. If it is an index, leave it out: --ignore {place}; else name it."
                )

    def frame(self) -> Frame:
        """Return all that was converted."""
        matrix = np.concatenate(self._numbers)
        if not self._others:
            return Frame.of_numbers(self.names, matrix)
        columns: dict[int, Column] = {i: Column("number", matrix[:, j]) for j, i in enumerate(self.matrix)}
        for i, parts in self._others.items():
            kind: Kind = "word" if i in self.levels else "date"
            said = self.wanted.kind_of(self.names[i]) is not None
            columns[i] = Column(kind, np.concatenate(parts), tuple(self.levels.get(i, ())), said)
        return Frame.of(self.names, [columns[i] for i in range(len(self.names))])

    def targets(self, block: Sequence[Row]) -> list[list[str]]:
        """Return the targets of some rows, as they stand in the file.

        Raises
        ------
        ValueError
            If one is missing.
        """
        for line, place, cell in self._cells(block, self.columns.targets):
            if is_gap(cell, "word", self.dialect) and not self.dialect.target_gaps:
                where = self._where(line, place)
                raise ValueError(
                    f"{where}: the target is missing (got {shown(cell.strip())}). Fill it in, or drop the line."
                )
        texts = [[cells[place].strip() for place in self.columns.targets] for _, cells in block]
        # A word of the user's for what is missing is one that all know.
        words = self.dialect.missing_words
        return [["" if cell in words else cell for cell in row] for row in texts] if words else texts

    def _matrix_of(self, block: Sequence[Row]) -> NDArray[np.float64]:
        """Return the columns of numbers, (n_rows, n_columns): all cells at once, where there are no gaps."""
        x = np.empty((len(block), len(self.matrix)))
        plain = [j for j, i in enumerate(self.matrix) if self.writings[i] == "number"]
        places = [self.columns.features[self.matrix[j]] for j in plain]
        numbers = values_of([cells[place] for _, cells in block for place in places], "number", self.dialect)
        at_once = numbers is not None and not np.isnan(numbers).any()
        if numbers is not None and at_once:
            x[:, plain] = numbers.reshape(len(block), len(places))
        for j, i in enumerate(self.matrix):
            if not (at_once and j in plain):
                x[:, j] = self._values(i, [cells[self.columns.features[i]] for _, cells in block], block)
        return x

    def _values(self, i: int, cells: Sequence[str], block: Sequence[Row]) -> NDArray[Any]:
        """Return the values of a column, or say which cell is none."""
        if self.writings[i] == "word":
            codes = codes_of(cells, self.dialect, self.levels[i])
            if self.wanted.gaps or (codes >= 0).all():
                return codes
        else:
            values = values_of(cells, self.writings[i], self.dialect)
            if values is not None and (self.wanted.gaps or not np.isnan(values).any()):
                return values
        raise self._blame(block)

    def _cells(self, block: Sequence[Row], places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Yield the line, the column and the text of cells, row by row."""
        return ((line, place, cells[place]) for line, cells in block for place in places)

    def _where(self, line: int, place: int) -> str:
        return f"{self.header.source}, line {line}, column {self.header.label(place)!r}"

    def _blame(self, block: Sequence[Row]) -> ValueError:
        """Word the error for the first cell that cannot be read."""
        writings = dict(zip(self.columns.features, self.writings, strict=True))
        for line, place, cell in self._cells(block, self.columns.features):
            text = reason(cell, writings[place], self.dialect, self.header.label(place), self.wanted)
            if text:
                return ValueError(f"{self._where(line, place)}: {text}")
        raise AssertionError("a block was refused that can be read")
