"""Columns as they were read: numbers, dates and words, with gaps, before they become an array of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass

Kind = Literal["number", "date", "word"]
"""What a column holds; true and false are the numbers 1 and 0."""

KINDS = ("number", "date", "word")


@dataclass(frozen=True)
class Column:
    """A column of one kind.

    Attributes
    ----------
    kind : {"number", "date", "word"}
    values : (n_rows,) array
        Numbers: float64, NaN where one is missing. Dates: datetime64[us], NaT. Words: int64 places in ``levels``, -1.
    levels : tuple of str
        The different words.
    said : bool
        Whether the kind was said, and not found out.

    Examples
    --------
    >>> Column("word", np.array([0, -1, 0]), ("red",)).missing
    array([False,  True, False])
    """

    kind: Kind
    values: NDArray[Any]
    levels: tuple[str, ...] = ()
    said: bool = False

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where nothing stands, (n_rows,)."""
        if self.kind == "word":
            return np.asarray(self.values < 0)
        return np.asarray(np.isnat(self.values) if self.kind == "date" else np.isnan(self.values))

    def rows(self, index: NDArray[np.int64]) -> Column:
        """Return some of the rows."""
        return replace(self, values=self.values[index])


@dataclass(frozen=True)
class Frame:
    """Columns of equal length by name.

    Attributes
    ----------
    columns : dict of str to Column
        In the order of the table.
    matrix : (n_rows, n_columns) float64 array or None
        The same as one array, where all are numbers: then the columns are views of it.
    """

    columns: dict[str, Column]
    matrix: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, names: Sequence[str], columns: Sequence[Column]) -> Frame:
        """Return a frame of columns; numbers alone are put into one array."""
        if not columns or any(column.kind != "number" for column in columns):
            return cls(dict(zip(names, columns, strict=True)))
        return cls.of_numbers(names, np.column_stack([column.values for column in columns]))

    @classmethod
    def of_numbers(cls, names: Sequence[str], matrix: NDArray[np.float64]) -> Frame:
        """Return a frame of numbers, without a copy."""
        return cls({name: Column("number", matrix[:, i]) for i, name in enumerate(names)}, matrix)

    def rows(self, index: NDArray[np.int64]) -> Frame:
        """Return some of the rows."""
        if self.matrix is not None:
            return Frame.of_numbers(list(self.columns), self.matrix[index])
        return Frame({name: column.rows(index) for name, column in self.columns.items()})
