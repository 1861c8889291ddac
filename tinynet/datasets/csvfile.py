"""CSV files: how a table is laid out is found out, or asked for; nothing is guessed about values."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TextIO

import numpy as np

from tinynet.datasets.cells import is_value, shown
from tinynet.datasets.conversion import Converter, Row
from tinynet.datasets.dialect import Dialect, directive, find_delimiter, has_names, reader, rows_of, trimmed
from tinynet.datasets.files import opened_text, source_of
from tinynet.datasets.parsing import Wanted
from tinynet.datasets.tables import Choose, Dataset, Header

SAMPLE_LINES = 100
"""Lines that are looked at to find out what separates columns, and whether they have names."""

Progress = Callable[[int], None]

BLOCK_ROWS = 4096
"""Rows that are converted at a time: text takes ten times the memory of numbers."""


def read_csv(
    path: str | os.PathLike[str],
    choose: Choose,
    dialect: Dialect | None = None,
    known: Sequence[str] | None = None,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a CSV file.

    Parameters
    ----------
    path : path
        UTF-8 (or UTF-16 with a byte order mark), gzipped or not, separated by commas, semicolons, tabs or spaces, with
        or without names in the first line. White space around a cell is not part of it; blank lines hold nothing; a
        line of ``#`` above the table is a comment, or the names if it has as many as there are columns.
    choose : callable
        Chooses features and targets from the columns.
    dialect : Dialect, optional
        The decimal mark, whether there are names, and what stands for a missing value.
    known : sequence of str, optional
        Names that a model expects: a first line that has them all holds names, and where it could not be told from
        numbers, it does not.
    wanted : Wanted, optional
        What the columns hold, where it is known, and whether values may be missing.
    progress : callable, optional
        Is told now and then how many rows are read.

    Returns
    -------
    Dataset
        ``frame`` has the features, with 1 and 0 for columns of true and false; ``y`` is text, as it stands in the file.

    Raises
    ------
    ValueError
        If a feature is missing or no number, a target is missing, a line is too long or too short, or it cannot be told
        whether the first line holds names.
    """
    source = source_of(path)
    try:
        with opened_text(path) as file:
            return _read(file, source, choose, dialect or Dialect(), known, wanted or Wanted(), progress)
    except csv.Error as error:
        raise ValueError(f"{source} is not CSV as expected: {error}. Look for a quote that is never closed.") from error


def _read(
    file: TextIO,
    source: str,
    choose: Choose,
    dialect: Dialect,
    known: Sequence[str] | None,
    wanted: Wanted,
    progress: Progress | None,
) -> Dataset:
    rows = _rows(file, source, dialect.decimal)
    head = list(islice(rows, SAMPLE_LINES))
    if not head:
        raise ValueError(f"{source} is empty; expected rows of numbers.")
    header = _header(head, source, dialect, known)
    if header.named:
        head = head[1:]
    if not head:
        raise ValueError(f"{source} has names in its first line but no rows. Add data.")
    columns = choose(header)
    rows = chain(head, rows)
    block = list(islice(rows, BLOCK_ROWS))
    table = Converter(header, columns, dialect, wanted, block)
    y, lines = [], []
    while block:
        table.add(block)
        y += table.targets(block)
        lines += [line for line, _ in block]
        if progress is not None:
            progress(len(lines))
        block = list(islice(rows, BLOCK_ROWS))
    targets = np.array(y) if columns.targets else None
    return Dataset.of_frame(
        table.frame(),
        targets[:, 0] if targets is not None and len(columns.targets) == 1 else targets,
        targets=tuple(header.label(place) for place in columns.targets),
        source=source,
        lines=np.array(lines),
        decimal=dialect.decimal,
        named=header.named,
    )


def _header(head: Sequence[Row], source: str, dialect: Dialect, known: Sequence[str] | None) -> Header:
    """Return the names of the columns, or their positions where the first line has none.

    Raises
    ------
    ValueError
        If it cannot be told whether it has.
    """
    first = tuple(cell.strip() for cell in head[0][1])
    named = dialect.header
    if named is None:
        named = (
            True if known and set(known) <= set(first) else has_names(first, [c for _, c in head[1:]], dialect.decimal)
        )
    if named is None and known is None:
        shown = ", ".join(first[:6]) + ", ..." * (len(first) > 6)
        raise ValueError(
            f"{source}: expected names or numbers in the first line; it may hold either ({shown}). Say --header yes or "
            "--header no (in Python, header=True or header=False)."
        )
    return Header(first if named else tuple(str(place) for place in range(len(first))), bool(named), source)


def _rows(file: TextIO, source: str, decimal: str) -> Iterator[Row]:
    """Yield the lines that are not blank, all as long as the first."""
    sample = list(islice(file, SAMPLE_LINES))
    delimiter = directive(sample[0]) if sample else None
    skipped = int(delimiter is not None)
    delimiter = delimiter or find_delimiter(sample[_comments(sample) :], decimal)
    names, n_above = _names_above(sample[skipped:], delimiter, decimal)
    skipped += n_above
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for line in chain(names, sample[skipped + len(names) :], file):
            last = line
            yield line

    n_columns = n_first = 0
    table = reader(lines(), delimiter)
    for cells in table:
        if not last.strip() or (not n_columns and not trimmed(cells)):
            continue
        line = skipped + table.line_num
        if not n_columns:
            n_columns, n_first = trimmed(cells), len(cells)
        if len(cells) < n_columns or trimmed(cells[n_columns:]):
            raise _ragged(source, line, cells, n_columns, n_first)
        yield line, cells[:n_columns]


def _ragged(source: str, line: int, cells: list[str], n_columns: int, n_first: int) -> ValueError:
    """Word the error for a line that is longer or shorter than the first one."""
    if n_columns < len(cells) <= n_first:
        place = n_columns + next(i for i, cell in enumerate(cells[n_columns:]) if cell.strip())
        return ValueError(
            f"{source}, line {line}: expected nothing in column {place}, which is empty in the first line; got "
            f"{shown(cells[place])}. Give all columns names, and all rows values."
        )
    remedy = "A cell that contains the separator must stand in double quotes; row names need a name in the first line."
    if cells[0].startswith("#"):
        remedy = "Comments may stand above the table only."
    return ValueError(
        f"{source}, line {line}: expected {n_columns} cells as in the first line; got {len(cells)}. {remedy}"
    )


def _comments(lines: Sequence[str]) -> int:
    """Return how many lines at the top are comments, or blank among them; 0 if no other line follows."""
    n = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    return n if any(line.startswith("#") for line in lines[:n]) else 0


def _names_above(lines: Sequence[str], delimiter: str, decimal: str) -> tuple[list[str], int]:
    """Return the line of names if it is a comment, as of ``numpy.savetxt``, and how many lines are above the table."""
    n = _comments(lines)
    if not n:
        return [], 0
    names = max(i for i, line in enumerate(lines[:n]) if line.startswith("#"))
    above, below = (rows_of([line.lstrip("# ")], delimiter) for line in (lines[names], lines[n]))
    if (
        above
        and below
        and 1 < trimmed(above[0]) == trimmed(below[0])
        and any(is_value(cell, decimal) for cell in below[0])
    ):
        return [lines[names].lstrip("# ")], n - 1
    return [], n
