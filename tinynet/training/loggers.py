"""Loggers: log files of two kinds, tables in CSV and lines of JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from typing import Any

import numpy as np

from tinynet.training.logfiles import LogFile, Row
from tinynet.training.logs import Logs, as_numbers


class CSVLogger(LogFile):
    """Write a row of figures for each epoch to a CSV file, in UTF-8.

    A row is on its way to the disk when its epoch ends. A figure that comes up later gets a column, which is empty in
    the rows before. Of an ensemble each figure has a column for every model, "loss/0", "loss/1" and so on; with more
    than 32 models, three: "loss/min", "loss/median" and "loss/max" over those that are still trained. ``JSONLogger``
    writes all.

    A training that is resumed (``fit(resume_from=...)``) goes on with the file, so that each epoch has one row: what it
    repeats is replaced, and what a crash has lost is filled in from the checkpoint.

    Parameters
    ----------
    path : path
    append : bool
        Let a training that starts afresh add to the file instead of replacing it.

    Raises
    ------
    OSError
        When training begins, if the file cannot be written.
    ValueError
        When training begins, if the file that is to be added to has no column "epoch".

    Examples
    --------
    >>> import tempfile, pathlib, tinynet as tn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "log.csv")
    ...     _ = tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[CSVLogger(path)])
    ...     print(path.read_text().split())
    ['epoch,loss,learning_rate', '0,0.0,0.001']
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        super().__init__(path, append)
        self._head, self._columns = "", ["epoch"]

    def _figures(self, logs: Logs) -> dict[str, Any]:
        return as_numbers(logs)

    def _read(self, text: str) -> list[Row]:
        self._head, self._columns = "", ["epoch"]
        lines, place, rows = list(io.StringIO(text, newline="")), 0, []
        reader = csv.reader(lines)
        for cells in reader:
            raw, place = "".join(lines[place : reader.line_num]), reader.line_num
            if not self._head:
                columns = _names(cells)
                if "epoch" not in columns or (place == len(lines) and not raw.endswith("\n")):
                    return []  # It is another file, or a crash has left not even the names.
                self._head, self._columns = raw, columns
            else:
                rows.append(self._row(raw, cells))
        if rows and rows[-1].cut and rows[-1].width < len(self._columns):
            rows.pop()
        return rows

    def _row(self, raw: str, cells: list[str]) -> Row:
        cut = not raw.endswith("\n")
        figures = dict(zip(self._columns, cells[:-1] if cut else cells, strict=False))
        text = figures.pop("epoch", "")
        epoch = int(text) if text.isdecimal() and len(text) < 19 else None
        return Row(raw, epoch, figures, cut, len(cells))

    def _line(self, epoch: int, figures: dict[str, Any]) -> str:
        row = {"epoch": epoch, **figures}
        return _csv([row.get(name, "") for name in self._columns])

    def _document(self, rows: list[Row]) -> str:
        # A head of which nothing is left has got more columns than the rows that were read.
        n = 0 if self._head else len(self._columns)
        return "".join([self._head or _csv(self._columns), *(_padded(row, n) for row in rows)])

    def _lacks(self, figures: dict[str, Any]) -> bool:
        return not figures.keys() <= set(self._columns)

    def _extend(self, figures: dict[str, Any]) -> None:
        if self._lacks(figures):
            new = [name for name in figures if name not in self._columns]
            self._columns, self._head = [*self._columns, *new], ""

    def _agree(self, written: str, figure: float) -> bool:
        try:
            return float(written) == figure or (math.isnan(float(written)) and math.isnan(figure))
        except ValueError:
            return False

    def _check(self, text: str) -> None:
        first = next(csv.reader(io.StringIO(text, newline="")), ["epoch"])
        if "epoch" not in _names(first):
            raise ValueError(
                f"CSVLogger(append=True) expects a file with a column 'epoch'; {os.fspath(self.path)!r} begins with "
                f"{','.join(first)[:80]!r}. Give another path, or append=False to replace it."
            )


def _names(cells: list[str]) -> list[str]:
    """Return the names of columns; a spreadsheet may have put a mark of UTF-8 in front."""
    return [name.removeprefix("\ufeff") for name in cells]


def _csv(cells: list[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _padded(row: Row, n_columns: int) -> str:
    """Return a row that was read with so many cells, the last ones empty; a new one has as many as it needs."""
    bare = row.text.rstrip("\r\n")
    empty = "," * (n_columns - row.width) if row.width else ""
    end = row.text[len(bare) :] or "\r\n"
    return f"{bare}{empty}{end}"


class JSONLogger(LogFile):
    """Write a line of JSON for each epoch, such as ``{"epoch": 0, "loss": 0.25, "learning_rate": 0.001}``.

    A line is on its way to the disk when its epoch ends. ``pandas.read_json(path, lines=True)`` reads the file. A
    figure that is not finite becomes ``null``, as JSON has no word for it. A figure of an ensemble is a list, with an
    entry for each model: ``null`` for those that have stopped.

    A training that is resumed (``fit(resume_from=...)``) goes on with the file, so that each epoch has one line: what
    it repeats is replaced, and what a crash has lost is filled in from the checkpoint.

    Parameters
    ----------
    path : path
    append : bool
        Let a training that starts afresh add to the file instead of replacing it.

    Raises
    ------
    OSError
        When training begins, if the file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib, tinynet as tn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "log.jsonl")
    ...     _ = tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[JSONLogger(path)])
    ...     print(path.read_text(), end="")
    {"epoch": 0, "loss": 0.0, "learning_rate": 0.001}
    """

    def _figures(self, logs: Logs) -> dict[str, Any]:
        return {name: _plain(np.asarray(value, np.float64).tolist()) for name, value in logs.items()}

    def _read(self, text: str) -> list[Row]:
        rows = []
        for line in io.StringIO(text, newline=""):
            cut = not line.endswith("\n")
            try:
                figures = json.loads(line)
            except (ValueError, RecursionError):
                rows += [] if cut else [Row(line)]
                continue
            epoch = figures.pop("epoch", None) if isinstance(figures, dict) else None
            told = type(epoch) is int and epoch >= 0
            rows.append(Row(line + "\n" * cut, epoch if told else None, figures if told else {}, cut))
        return rows

    def _line(self, epoch: int, figures: dict[str, Any]) -> str:
        return json.dumps({"epoch": epoch, **figures}, allow_nan=False) + "\n"


def _plain(value: float | list[float]) -> Any:
    """Return numbers as JSON has them."""
    if isinstance(value, list):
        return [_plain(number) for number in value]
    return value if math.isfinite(value) else None
