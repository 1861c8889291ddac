"""The progress of a training: a bar of the package rich, or lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from typing import Any

from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs, as_text


class CompilerNotice(Callback):
    """Tell what there is to wait for, while machine code is made; beside the output, not in it."""

    looks_every = None
    first_rank_only = True

    def on_compile(self, what: str) -> None:
        """Tell it."""
        print(what, file=sys.stderr, flush=True)


def notices(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return those that may tell of the compiler before training begins: they do nothing else, or need no beginning."""
    return [callback for callback in callbacks if isinstance(callback, CompilerNotice)]


class ProgressBar(CompilerNotice):
    """Show progress: a bar if ``rich`` is installed and the output is a terminal, else a line now and then.

    Of an ensemble it tells how many models are still trained, and the lowest, the median and the highest figure.

    Parameters
    ----------
    every_epoch : bool
        Print one line for every epoch instead (``verbose=2``).
    """

    refresh_seconds = 1.0
    _bar: Any = None
    _unshown: tuple[int, Logs] | None = None

    def __init__(self, every_epoch: bool = False) -> None:
        self.every_epoch = every_epoch

    def on_train_begin(self, logs: Logs) -> None:
        """Start the display."""
        self._bar = None
        self._last, self._unshown = -math.inf, None
        self._width = len(str(self.trainer.epochs))
        if not self.every_epoch and sys.stdout.isatty():
            self._bar = rich_bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.trainer.epochs, completed=self.trainer.epoch)

    def on_compile(self, what: str) -> None:
        """Tell what there is to wait for."""
        if self._bar is None:
            super().on_compile(what)
        else:
            self._bar.update(self._task, description=what, refresh=True)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Show the figures of the epoch."""
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch + 1, description=as_text(logs))
            return
        now = time.monotonic()
        if self.every_epoch or now - self._last >= self.refresh_seconds:
            self._last = now
            self._print(epoch, logs)
        else:
            self._unshown = epoch, logs

    def on_train_end(self, logs: Logs) -> None:
        """End the display, with the last epoch, whichever it was."""
        if self._bar is not None:
            self._bar.stop()
        elif self._unshown is not None:
            self._print(*self._unshown)

    def _print(self, epoch: int, logs: Logs) -> None:
        print(f"epoch {epoch + 1:{self._width}d}/{self.trainer.epochs}  {as_text(logs)}", flush=True)
        self._unshown = None


def rich_bar() -> Any:
    """Return a bar of the package rich, or None where it is not installed."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    return Progress(*columns, refresh_per_second=8)
