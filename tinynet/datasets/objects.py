"""Tables in memory: frames of pandas and polars, lists of rows, columns by name, arrays. None of them is imported."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.arrays import as_real_array
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.frame import Column, Frame, Kind
from tinynet.datasets.parsing import REMEDY, Wanted, codes_of, reason, values_of, writing_for
from tinynet.datasets.tables import Choose, Dataset, Header

SOURCE = "the table"


def read_objects(source: Any, choose: Choose, dialect: Dialect, wanted: Wanted, name: str = SOURCE) -> Dataset:
    """Return the samples in a table that is in memory.

    Parameters
    ----------
    source : frame of pandas or polars, sequence of dicts, dict of columns, or (n_rows, n_columns) array
        Columns of an array are known by their positions. In a row that is a dict, a name that is not there is a gap.
    choose, dialect, wanted
        As for ``read_csv``; columns of texts are read as those of a file.
    name : str
        What to call it in messages.

    Raises
    ------
    TypeError
        If it is none of these, or a column holds something else than numbers, dates, words, true and false.
    ValueError
        If a value is missing, not finite or not what its column holds.
    """
    table, named = _columns(source, name)
    lengths = {len(values) for values in table.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{name} must have at least one row, and columns of one length; got lengths {sorted(lengths)}."
        )
    header = Header(tuple(table), named, name)
    columns = choose(header)
    held = list(table.values())
    labels = tuple(header.label(place) for place in columns.features)
    reader = _Reader(dialect, wanted, name)
    features = [reader.column(held[place], label) for place, label in zip(columns.features, labels, strict=True)]
    targets = [reader.target(held[place], header.label(place)) for place in columns.targets]
    y = targets[0] if len(targets) == 1 else np.column_stack(targets) if targets else None
    names = tuple(header.label(place) for place in columns.targets)
    return Dataset.of_frame(
        Frame.of(labels, features), y, targets=names, source=name, decimal=dialect.decimal, named=named
    )


def _columns(source: Any, name: str) -> tuple[dict[str, Any], bool]:
    """Return columns by name, and whether those are names and not positions."""
    if isinstance(source, Mapping):
        return {str(label): values for label, values in source.items()}, True
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        labels = list(source.columns)
        if len(set(map(str, labels))) < len(labels):
            Header(tuple(map(str, labels)), True, name)  # Says which one is there twice.
        return {str(label): source[label] for label in labels}, True
    if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
        names = dict.fromkeys(label for row in source for label in row)
        return {str(label): [row.get(label) for row in source] for label in names}, True
    array = as_real_array(source, name)
    if array.ndim != 2:
        raise TypeError(
            f"{name} must be a frame of pandas or polars, a list of dicts, a dict of columns, an array of shape (rows, "
            f"columns), or the path of a file; got {type(source).__name__} of shape {array.shape}."
        )
    return {str(place): column for place, column in enumerate(array.T)}, False


def is_gap(value: object) -> bool:
    """Tell whether a value stands for a missing one: None, NaN, NaT, or pandas' NA.

    Examples
    --------
    >>> [is_gap(value) for value in (None, float("nan"), np.datetime64("NaT"), 0, "")]
    [True, True, True, False, False]
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, Real | Decimal) and bool(value != value)


def as_word(value: object) -> str:
    """Return a value as the name of a kind of things: a whole number has no decimals, whatever its type.

    Examples
    --------
    >>> as_word(3.0), as_word(np.int64(3)), as_word(" red ")
    ('3', '3', 'red')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


class _Reader:
    """Reads columns of values."""

    def __init__(self, dialect: Dialect, wanted: Wanted, source: str) -> None:
        self.dialect, self.wanted, self.source = dialect, wanted, source

    def column(self, given: Any, name: str) -> Column:
        """Return a column of features."""
        values = self._array(given, name)
        kind = self.wanted.kind_of(name)
        if kind is None and str(getattr(given, "dtype", "")) == "category":
            kind = "word"
        gaps = _gaps(values)
        made = (
            self._texts(values, gaps, kind, name)
            if _are_texts(values, gaps)
            else self._values(values, gaps, kind, name)
        )
        made = replace(made, said=kind is not None)
        missing = made.missing
        if missing.any() and not self.wanted.gaps:
            raise self._error(int(np.argmax(missing)), name, f"the value is missing. {REMEDY}")
        return made

    def target(self, given: Any, name: str) -> NDArray[Any]:
        """Return a column of targets, as numbers or texts."""
        values = self._array(given, name)
        gaps = _gaps(values)
        if gaps.any() and not self.dialect.target_gaps:
            where = int(np.argmax(gaps))
            raise self._error(where, name, "the target is missing. Fill it in, or drop the row.")
        if values.dtype.kind in "biuf":
            return values
        if values.dtype == object and not any(isinstance(value, str) for value in values):
            return np.asarray(self._values(values, gaps, "number", name).values)
        return np.array(["" if gap else as_word(value) for value, gap in zip(values, gaps, strict=True)], dtype=np.str_)

    def _array(self, given: Any, name: str) -> NDArray[Any]:
        """Return values as an array, of objects where NumPy has no kind for them."""
        zone = getattr(getattr(given, "dtype", None), "time_zone", None) or getattr(
            getattr(given, "dtype", None), "tz", None
        )
        if zone is not None:
            raise self._zoned(name)
        if hasattr(given, "to_numpy"):
            values = np.asarray(given.to_numpy())
        elif isinstance(given, np.ndarray):
            values = given
        else:
            values = np.empty(len(given), dtype=object)
            values[:] = list(given)
        if values.ndim != 1 or values.dtype.kind not in "biufMOUT":
            raise self._wrong(values.dtype, name)
        return values.astype(object) if values.dtype.kind in "UT" else values

    def _texts(self, values: NDArray[Any], gaps: NDArray[np.bool_], kind: Kind | None, name: str) -> Column:
        """Read texts as the cells of a file; a gap is an empty one."""
        cells = ["" if gap else str(value) for value, gap in zip(values, gaps, strict=True)]
        wanted = self.wanted if kind is None else Wanted({name: kind}, self.wanted.gaps)
        writing = writing_for(name, cells, self.dialect, wanted)
        if writing == "word":
            levels: dict[str, int] = {}
            codes = codes_of(cells, self.dialect, levels)
            return Column("word", codes, tuple(levels))
        found = values_of(cells, writing, self.dialect)
        if found is None:
            texts = (reason(cell, writing, self.dialect, name, Wanted(wanted.kinds, True)) for cell in cells)
            where, text = next((row, text) for row, text in enumerate(texts) if text)
            raise self._error(where, name, text)
        return Column("date" if writing == "date" else "number", found)

    def _values(self, values: NDArray[Any], gaps: NDArray[np.bool_], kind: Kind | None, name: str) -> Column:
        """Read what is no text."""
        there = values[~gaps]
        if kind == "word":
            levels: dict[str, int] = {}
            codes = np.full(len(values), -1, dtype=np.int64)
            codes[~gaps] = codes_of(map(as_word, there.tolist()), self.dialect, levels)
            return Column("word", codes, tuple(levels))
        is_date = values.dtype.kind == "M" or any(isinstance(value, datetime.date) for value in there)
        if kind is not None and len(there) and is_date != (kind == "date"):
            got = "dates" if is_date else "numbers"
            raise TypeError(f"{self.source}, column {name!r}: expected {kind}s, as the model was fitted on; got {got}.")
        if is_date:
            return Column("date", self._dates(values, gaps, name))
        numbers = np.full(len(values), np.nan)
        numbers[~gaps] = self._numbers(there, gaps, name)
        return Column("number", numbers)

    def _numbers(self, there: NDArray[Any], gaps: NDArray[np.bool_], name: str) -> NDArray[np.float64]:
        rows = np.flatnonzero(~gaps)
        if there.dtype == object:
            wrong = [not isinstance(value, Real | Decimal | np.bool_) for value in there]
            if any(wrong):
                where = wrong.index(True)
                raise self._error(
                    int(rows[where]),
                    name,
                    f"expected a number, a date, a word, or true or false; got {there[where]!r:.40}.",
                )
        found = there.astype(np.float64)
        infinite = np.flatnonzero(~np.isfinite(found))
        if len(infinite):
            where = int(rows[infinite[0]])
            raise self._error(where, name, f"expected a finite number; got {found[infinite[0]]}. Correct it.")
        return np.asarray(found)

    def _dates(self, values: NDArray[Any], gaps: NDArray[np.bool_], name: str) -> NDArray[np.datetime64]:
        if values.dtype == object:
            zoned = [getattr(value, "tzinfo", None) is not None for value in values]
            if any(zoned):
                raise self._zoned(name)
            wrong = [not gap and not isinstance(value, datetime.date) for value, gap in zip(values, gaps, strict=True)]
            if any(wrong):
                where = wrong.index(True)
                raise self._error(where, name, f"expected a date, as in other rows; got {values[where]!r:.40}.")
            values = np.array([None if gap else value for value, gap in zip(values, gaps, strict=True)])
        return values.astype("datetime64[us]")

    def _error(self, row: int, name: str, text: str) -> ValueError:
        return ValueError(f"{self.source}, row {row}, column {name!r}: {text}")

    def _wrong(self, dtype: Any, name: str) -> TypeError:
        return TypeError(
            f"{self.source}, column {name!r}: expected numbers, dates, words, or true and false; got {dtype}. Convert "
            f"the column, or leave it out: ignore={name!r}."
        )

    def _zoned(self, name: str) -> TypeError:
        return TypeError(
            f"{self.source}, column {name!r}: expected dates without a time zone; got some with one. Convert them to "
            "local time (their hours tell of day and night) or to UTC, and drop the zone."
        )


def _gaps(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([is_gap(value) for value in values], dtype=np.bool_)
    if values.dtype.kind == "M":
        return np.asarray(np.isnat(values), dtype=np.bool_)
    return np.asarray(np.isnan(values), dtype=np.bool_)


def _are_texts(values: NDArray[Any], gaps: NDArray[np.bool_]) -> bool:
    """Tell whether all that is there is text."""
    there = values[~gaps]
    return values.dtype == object and len(there) > 0 and all(isinstance(value, str) for value in there)
