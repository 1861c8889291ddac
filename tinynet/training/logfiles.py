"""LogFile: a row of figures for each epoch, in a file that outlives crashes and goes on with resumed trainings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tinynet.exchange.atomic import atomic_open, require_place
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs

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
    first_rank_only = True

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
