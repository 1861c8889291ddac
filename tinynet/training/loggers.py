"""Loggers: callbacks that hand the figures of each epoch to a file or to an experiment tracker."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinynet.base.checks import whole
from tinynet.base.errors import requires
from tinynet.exchange.atomic import atomic_open
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs, as_finite_numbers, as_numbers


class CSVLogger(Callback):
    """Write a row of figures for each epoch to a CSV file.

    Of an ensemble each figure has a column for every model, "loss/0", "loss/1" and so on; with more than 32 models,
    three: "loss/min", "loss/median" and "loss/max" over those that are still trained. ``JSONLogger`` writes all.

    Parameters
    ----------
    path : path
    append : bool
        Go on with an existing file.
    """

    looks_every = None

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._columns: list[str] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        """Open the file."""
        self._columns = None
        if self.append and self.path.exists() and self.path.stat().st_size:
            with self.path.open(newline="") as file:
                self._columns = next(csv.reader(file))
        else:
            self.path.write_text("")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Append the row; it is on its way to the disk when the hook returns."""
        figures = as_numbers(logs)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if self._columns is None:
                self._columns = ["epoch", *figures]
                writer.writerow(self._columns)
            row = {"epoch": epoch, **figures}
            writer.writerow([row.get(name, "") for name in self._columns])


class JSONLogger(Callback):
    """Write a line of JSON for each epoch, such as ``{"epoch": 0, "loss": 0.25, "learning_rate": 0.001}``.

    A line is on its way to the disk when its epoch ends. ``pandas.read_json(path, lines=True)`` reads the file. A
    figure that is not finite becomes ``null``, as JSON has no word for it. A figure of an ensemble is a list, with an
    entry for each model: ``null`` for those that have stopped.

    A training that is resumed (``fit(resume_from=...)``) goes on with the file: what it repeats replaces what was
    logged after its checkpoint, so that each epoch has one line.

    Parameters
    ----------
    path : path
    append : bool
        Let a training that starts afresh add to the file instead of replacing it.

    Examples
    --------
    >>> import tempfile, pathlib, tinynet as tn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "log.jsonl")
    ...     _ = tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[JSONLogger(path)])
    ...     print(path.read_text(), end="")
    {"epoch": 0, "loss": 0.0, "learning_rate": 0.001}
    """

    looks_every = None

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = Path(path), bool(append)
        self._file: IO[str] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        """Say now, not after the first epoch, that the file cannot be written."""
        with self.path.open("a"):
            self._file = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the line."""
        if self._file is None:
            self._file = self._opened(epoch)
        figures = {name: _plain(np.asarray(value, np.float64).tolist()) for name, value in logs.items()}
        self._file.write(json.dumps({"epoch": epoch, **figures}, allow_nan=False) + "\n")
        self._file.flush()

    def on_train_end(self, logs: Logs) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self, epoch: int) -> IO[str]:
        """Open the file for a training whose first epoch is ``epoch``: one that is above 0 is a resumed training."""
        if epoch > 0 or self.append:
            kept = _lines_before(self.path.read_text(encoding="utf-8"), epoch)
            with atomic_open(self.path) as file:
                file.write("".join(kept).encode())
        return self.path.open("a" if epoch > 0 or self.append else "w", encoding="utf-8")


def _plain(value: float | list[float]) -> Any:
    """Return numbers as JSON has them."""
    if isinstance(value, list):
        return [_plain(number) for number in value]
    return value if math.isfinite(value) else None


def _lines_before(text: str, epoch: int) -> list[str]:
    """Return the lines of a log without a last one that a crash cut off and, above 0, those of ``epoch`` and later."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    while epoch > 0 and lines and _epoch_of(lines[-1]) >= epoch:
        lines.pop()
    return lines


def _epoch_of(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return -math.inf  # Not ours, so it stays.


class LambdaSink(Callback):
    """Hand the figures of each epoch to a function, ``log(figures, step)``: one for every experiment tracker.

    ``figures`` is a new dict of float by name, ``step`` the epoch, counted from 0. Of an ensemble the names are
    "loss/0", "loss/1" and so on, for the models that are still trained; of more than 32 models "loss/min",
    "loss/median" and "loss/max". ``LambdaCallback(on_epoch_end=...)`` gets the arrays. Weights & Biases and MLflow have
    functions with these arguments::

        run = wandb.init(project="surrogate")
        net.fit(x, y, epochs=100, callbacks=[tn.LambdaSink(run.log)])

        with mlflow.start_run():
            net.fit(x, y, epochs=100, callbacks=[tn.LambdaSink(mlflow.log_metrics)])

    Parameters
    ----------
    log : callable
    every : int
        Epochs between two calls: a tracker on the network takes longer than an epoch of a small net.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 1))
    >>> history = net.fit([[0.0]], [[0.0]], callbacks=[LambdaSink(lambda figures, step: print(step, figures["loss"]))])
    0 0.0
    """

    looks_every = None

    def __init__(self, log: Callable[[dict[str, float], int], object], every: int = 1) -> None:
        if not callable(log):
            raise TypeError(f"LambdaSink expects a function log(figures, step); got {log!r}.")
        self.log, self.every = log, whole("every", every)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Call the function if it is time; the last epoch always is."""
        if epoch % self.every == 0 or epoch + 1 == self.trainer.epochs:
            self.log(as_finite_numbers(logs), epoch)


class TensorBoardLogger(Callback):
    """Write the figures of each epoch for TensorBoard (``tensorboard --logdir FOLDER``); needs tensorboardX.

    Of an ensemble there is a curve for each model that is still trained, "loss/0", "loss/1" and so on, and beyond 32
    models "loss/min", "loss/median" and "loss/max"; histograms of the weights are of all models together.

    Parameters
    ----------
    folder : path
        One for each training; it is created. A resumed training goes on with its folder.
    weights_every : int, optional
        Write histograms of the weights and biases after this many epochs; by default never.

    Raises
    ------
    DependencyError
        If tensorboardX is not installed. Neither TensorBoard nor TensorFlow is needed to write.

    Examples
    --------
    >>> import tempfile, os, tinynet as tn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = tn.Sequential(tn.Linear(1, 1)).fit([[0.0]], [[0.0]], callbacks=[TensorBoardLogger(folder)])
    ...     print(os.listdir(folder)[0][:20])
    events.out.tfevents.
    """

    def __init__(self, folder: str | os.PathLike[str], weights_every: int | None = None) -> None:
        self.folder = Path(folder)
        self.weights_every = None if weights_every is None else whole("weights_every", weights_every)
        self.looks_every = self.weights_every
        self._writer: Any = None
        _summary_writer()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the figures, and the histograms if it is time."""
        if self._writer is None:
            # TensorBoard drops what an interrupted training logged from this epoch on.
            resumed = {"purge_step": epoch} if epoch > 0 else {}
            self._writer = _summary_writer()(str(self.folder), **resumed)
        for name, value in as_finite_numbers(logs).items():
            self._writer.add_scalar(name, value, epoch)
        if self.weights_every is not None and (epoch + 1) % self.weights_every == 0:
            layers = enumerate(self.model.layers)
            names = [f"layer{position}.{name}" for position, layer in layers for name in layer.trainable_names]
            for name, values in zip(names, self.model.get_weights(), strict=True):
                self._writer.add_histogram(name, values, epoch)

    def on_train_end(self, logs: Logs) -> None:
        """Write what is left, and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise requires("tensorboardX", "TensorBoardLogger", "pip install tensorboardX") from error
    return SummaryWriter
