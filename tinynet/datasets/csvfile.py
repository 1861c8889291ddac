"""CSV files: what separates the columns and whether they have names is found out; nothing is guessed about values."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from tinynet.datasets.tables import Choose, Dataset, Header

DELIMITERS = "\t;,"
"""In the order in which they are tried: a comma may be part of a number or a text, a tab hardly ever is."""

MISSING = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
"""What stands for a missing number, in lower case."""

BLOCK_ROWS = 4096
"""Rows that are converted at a time: text takes ten times the memory of numbers."""

Row = tuple[int, list[str]]
"""The number of a line, and its cells."""


def read_csv(path: str | os.PathLike[str], choose: Choose) -> Dataset:
    """Read a CSV file.

    Parameters
    ----------
    path : path
        UTF-8, separated by commas, semicolons or tabs, with or without names in the first line. Names are recognised by
        not being numbers.
    choose : callable
        Chooses features and targets from the columns.

    Returns
    -------
    Dataset
        ``x`` is float64; ``y`` is text, as it stands in the file.

    Raises
    ------
    ValueError
        If a feature is missing or no number, a target is missing, or a line is too long or too short.
    """
    source = repr(os.fspath(path))
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return _read(file, source, choose)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} must be CSV text in UTF-8; it is not ({error.reason}). Convert it first."
        ) from error
    except csv.Error as error:
        raise ValueError(f"{source} is not CSV as expected: {error}. Look for a quote that is never closed.") from error


def _read(file: TextIO, source: str, choose: Choose) -> Dataset:
    rows = _rows(file, source)
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise ValueError(f"{source} is empty; expected rows of numbers.")
    named = _is_header(first[1], None if second is None else second[1])
    names = first[1] if named else [""] * len(first[1])
    header = Header(tuple(name.strip() or str(i) for i, name in enumerate(names)), named, source)
    if second is None and named:
        raise ValueError(f"{source} has names in its first line but no rows. Add data.")
    columns = choose(header)
    x, y, lines = [], [], []
    rows = chain([row for row in ([] if named else [first]) + [second] if row is not None], rows)
    while block := list(islice(rows, BLOCK_ROWS)):
        x.append(_features(block, columns.features, header))
        y += [[cells[place].strip() for place in columns.targets] for _, cells in block]
        lines += [line for line, _ in block]
    targets = np.array(y) if columns.targets else None
    data = Dataset(
        np.concatenate(x),
        targets[:, 0] if targets is not None and len(columns.targets) == 1 else targets,
        features=tuple(header.names[place] for place in columns.features),
        targets=tuple(header.names[place] for place in columns.targets),
        source=source,
        lines=np.array(lines),
    )
    _require_targets(data)
    return data


def _rows(file: TextIO, source: str) -> Iterator[Row]:
    """Yield the lines that are not blank, all as long as the first."""
    head = []
    for line in file:
        head.append(line)
        if line.strip():
            break
    if not head:
        return
    counts = {mark: len(next(csv.reader(head[-1:], delimiter=mark), [])) for mark in DELIMITERS}
    delimiter = next((mark for mark, count in counts.items() if count > 1), ",")
    reader = csv.reader(chain(head, file), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    n_columns = 0
    for cells in reader:
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        n_columns = n_columns or len(cells)
        if len(cells) != n_columns:
            raise ValueError(
                f"{source}, line {reader.line_num}: expected {n_columns} cells as in the first line; got {len(cells)}. "
                "A cell that contains the separator must stand in double quotes."
            )
        yield reader.line_num, cells


def _is_header(first: Sequence[str], second: Sequence[str] | None) -> bool:
    """Tell whether a first line holds names: no number at all, or a text above a number."""
    if not any(_is_number(cell) for cell in first):
        return True
    return any(_is_text(name) and _is_number(cell) for name, cell in zip(first, second or (), strict=False))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _is_text(cell: str) -> bool:
    return not _is_number(cell) and not _is_missing(cell)


def _features(block: list[Row], places: tuple[int, ...], header: Header) -> NDArray[np.float64]:
    """Convert the features of some rows."""
    chosen = itemgetter(*places)
    try:
        x = np.array([chosen(cells) for _, cells in block], dtype=np.float64).reshape(len(block), len(places))
    except ValueError:
        raise _blame(block, places, header) from None
    if not np.isfinite(x).all():
        raise _blame(block, places, header)
    return x


def _blame(block: list[Row], places: tuple[int, ...], header: Header) -> ValueError:
    """Word the error for the first cell that is no finite number."""
    line, place, cell = next(
        (line, place, cells[place])
        for line, cells in block
        for place in places
        if not _is_number(cells[place]) or not np.isfinite(float(cells[place]))
    )
    name = header.names[place]
    where = f"{header.source}, line {line}, column {name!r}"
    if _is_missing(cell):
        return ValueError(f"{where}: the value is missing (got {cell!r}). Fill it in, or drop the line.")
    if _is_number(cell):
        return ValueError(f"{where}: expected a finite number; got {cell!r}. Correct it, or drop the line.")
    return ValueError(
        f"{where}: features must be numbers; got {cell!r}. Encode the column as numbers (one column of 0 and 1 for "
        f"each value), or leave it out: --ignore {name!r}"
    )


def _require_targets(data: Dataset) -> None:
    """Raise ValueError if a target is missing."""
    if data.y is None:
        return
    for place, cell in np.ndenumerate(data.y):
        if not cell or cell.lower() in MISSING - {"none"}:
            name = data.targets[place[1] if len(place) > 1 else 0]
            raise ValueError(
                f"{data.place(place[0])}, column {name!r}: the target is missing (got {str(cell)!r}). "
                "Fill it in, or drop the line."
            )
