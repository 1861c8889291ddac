"""Log files: a row of figures for each epoch, in a file that outlives crashes and goes on with resumed trainings."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinynet.exchange.atomic import atomic_open, require_place
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs, as_numbers

TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
"""How log files are read and written: what is no UTF-8 comes out as it went in, and so does each end of a line."""


@dataclass
class Row:
    """A line of a file: as it stands, and what it tells, if it is the row of an epoch.

    Attributes
    ----------
    cut : bool
        Whether its end is missing. What may be missing of its last figure is not told.
    width : int
        Cells in it, of a table.
    """

    text: str
    epoch: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    cut: bool = False
    width: int = 0


class LogFile(Callback):
    """What log files have in common: which rows stay when a training begins, and how others are added.

    The file is touched when the first epoch ends, not before. A training that starts afresh then replaces it, or adds
    to it. One that is resumed goes on with its own rows, which are those at the end of the file whose figures are in
    the history of the checkpoint: those that it repeats are replaced, and those that a crash has lost are filled in.
    """

    looks_every = None

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = Path(path), bool(append)
        self._file: IO[str] | None = None

    # -- hooks -------------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs) -> None:
        """Say now, not after the first epoch, that the file cannot be written."""
        self._file = None
        if self._is_stream():
            return
        require_place(type(self).__name__, self.path)
        if self.path.exists():
            with self.path.open("a"):
                pass  # Nothing is written; it is seen whether something could be.
            if self.append:
                self._check(self._text())

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the row; it is on its way to the disk when the hook returns."""
        figures = self._figures(logs)
        if self._file is None:
            self._file = self._begun(epoch, figures)
        else:
            if self._lacks(figures):
                self._file.close()
                text = self._text()
                rows = self._read(text)
                self._extend(figures)
                self._file = self._written(rows, text)
            self._file.write(self._line(epoch, figures))
        self._file.flush()

    def on_train_end(self, logs: Logs) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- what each kind of file does in its own way ------------------------------------------------------------------

    def _figures(self, logs: Logs) -> dict[str, Any]:
        """Return figures as the file has them."""
        raise NotImplementedError

    def _read(self, text: str) -> list[Row]:
        """Return the rows of a file, but for a last one that a crash cut off."""
        raise NotImplementedError

    def _line(self, epoch: int, figures: dict[str, Any]) -> str:
        """Return the row of an epoch."""
        raise NotImplementedError

    def _document(self, rows: list[Row]) -> str:
        """Return a whole file with these rows."""
        return "".join(row.text for row in rows)

    def _lacks(self, figures: dict[str, Any]) -> bool:
        """Tell whether there is no room for some of the names of figures."""
        return False

    def _extend(self, figures: dict[str, Any]) -> None:
        """Make room for the names of figures."""

    def _agree(self, written: Any, figure: Any) -> bool:
        """Tell whether what was read of a file is a figure."""
        return bool(written == figure)

    def _check(self, text: str) -> None:
        """Raise ValueError if no rows can be added to a file."""

    # -- parts -------------------------------------------------------------------------------------------------------

    def _is_stream(self) -> bool:
        """Tell whether the path is that of a pipe or a device, which keeps nothing."""
        return self.path.exists() and not self.path.is_file() and not self.path.is_dir()

    def _text(self) -> str:
        if not self.path.is_file():
            return ""
        with self.path.open(**TEXT) as file:
            return str(file.read())

    def _begun(self, epoch: int, figures: dict[str, Any]) -> IO[str]:
        """Bring the file to where the training stands, with the row of ``epoch`` as its last, and return it."""
        text, resumed = self._text(), self.trainer.resumed
        rows = self._read(text if resumed or self.append else "")
        if resumed:
            rows, own = self._divided(rows, epoch, figures)
            there = {row.epoch for row in own}
            lost = {i: self._figures(self.trainer.history.at(i)) for i in range(epoch) if i not in there}
            for known in lost.values():
                self._extend(known)
            for i, known in lost.items():
                after = [place for place, row in enumerate(own) if row.epoch is not None and row.epoch > i]
                own.insert(after[0] if after else len(own), Row(self._line(i, known), i))
            rows = rows + own
        self._extend(figures)
        return self._written([*rows, Row(self._line(epoch, figures), epoch)], text)

    def _divided(self, rows: list[Row], epoch: int, figures: dict[str, Any]) -> tuple[list[Row], list[Row]]:
        """Return the rows of others that stay, and those of a resumed training that are before its next, ``epoch``."""
        first = last_training(rows)
        if self._is_own(rows[first:], epoch, figures):
            own = [row for row in rows[first:] if not row.cut]
            return rows[:first], [row for row in own if row.epoch is None or row.epoch < epoch]
        return [row for row in rows if self.append or row.epoch is None], []

    def _is_own(self, rows: list[Row], epoch: int, figures: dict[str, Any]) -> bool:
        """Tell whether rows are this training's: whether their figures are those that it knows."""
        history = self.trainer.history
        known = {row.epoch: row for row in rows if row.epoch is not None and row.epoch < epoch}
        if known:
            return all(self._alike(row, self._figures(history.at(i))) for i, row in known.items())
        # A checkpoint within the first epoch has no history; but what is repeated after it comes out the same.
        return any(self._alike(row, figures) for row in rows if row.epoch == epoch)

    def _alike(self, row: Row, figures: dict[str, Any]) -> bool:
        names = figures.keys() & row.figures.keys()
        return bool(names) and all(self._agree(row.figures[name], figures[name]) for name in names)

    def _written(self, rows: list[Row], before: str) -> IO[str]:
        """Let the file hold rows, which held the text ``before``, and return it, open for more."""
        after = self._document(rows)
        added = after[len(before) :] if after.startswith(before) else ""
        if not added and not self._is_stream():
            with atomic_open(self.path) as replaced:
                replaced.write(after.encode("utf-8", "surrogateescape"))
        file: IO[str] = self.path.open("a", **TEXT)
        file.write(added)
        return file


def last_training(rows: list[Row]) -> int:
    """Return where the rows of the last training in a file begin: its epochs rise.

    Examples
    --------
    >>> last_training([Row("", 0), Row("", 1), Row("", 0), Row("# a note"), Row("", 3)])
    2
    """
    first, before = 0, -1
    for place, row in enumerate(rows):
        if row.epoch is not None:
            first, before = (place if row.epoch <= before else first), row.epoch
    return first


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
