"""Callbacks: what hooks into the fit loop. The names of the hooks are Keras's."""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member, number, whole
from tinynet.training.logs import Logs, as_numbers, as_text
from tinynet.training.metrics import rises

if TYPE_CHECKING:
    from tinynet.models.sequential import Sequential
    from tinynet.training.trainer import Trainer


class Callback:
    """Base class. Override the hooks that you need.

    Attributes
    ----------
    model : Sequential
        The model that is trained, or the Ensemble: then figures in ``logs`` are (n_models,) arrays, NaN for models that
        have stopped. ``model.stop_training = True`` ends training after this epoch.
    trainer : Trainer
    looks_every : int or None
        After this many epochs the callback needs to see the model as it is. Between two looks several epochs run in one
        call, and their hooks are called afterwards, with the right logs. None: it reads only logs.
    """

    looks_every: int | None = 1
    model: Sequential
    trainer: Trainer

    def on_train_begin(self, logs: Logs) -> None:
        """Run before the first epoch."""

    def on_train_end(self, logs: Logs) -> None:
        """Run after the last epoch, also when training is interrupted or fails."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after an epoch with its figures."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """Run before an update. Overriding this makes training run one update at a time."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Run after an update with its loss. Overriding this makes training run one update at a time."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep: numbers, strings, lists and NumPy arrays by name."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""

    @property
    def wants_batches(self) -> bool:
        """Whether a hook on single updates is overridden."""
        hooks = ("on_train_batch_begin", "on_train_batch_end")
        return any(getattr(type(self), hook) is not getattr(Callback, hook) for hook in hooks)


class _Monitor(Callback):
    """Watches one figure for improvement."""

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        self.monitor = monitor
        self.min_delta = number("min_delta", min_delta, at_least=0.0)
        self.mode = member("mode", mode, ("auto", "min", "max"))
        if self.mode == "auto":
            self.mode = "max" if rises(monitor) else "min"
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.best = math.inf if self.mode == "min" else -math.inf
        self.best_epoch = -1
        self.wait = 0

    def on_train_begin(self, logs: Logs) -> None:
        """Start afresh."""
        self.reset()

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Note the figure of an epoch; tell whether it is the best so far."""
        if self.monitor not in logs:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}; this training reports {', '.join(logs)}. "
                "Pass validation_data for figures that start with val_, or monitor another."
            )
        value = float(logs[self.monitor])
        better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        if better:
            self.best, self.best_epoch, self.wait = value, epoch, 0
        else:
            self.wait += 1
        return better

    def state(self) -> dict[str, Any]:
        """Return the best figure and how long ago it was."""
        return {"best": self.best, "best_epoch": self.best_epoch, "wait": self.wait}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.best, self.best_epoch, self.wait = float(state["best"]), int(state["best_epoch"]), int(state["wait"])


class EarlyStopping(_Monitor):
    """Stop when a figure has not improved for ``patience`` epochs (Prechelt 1998, criterion UP).

    Parameters
    ----------
    monitor : str
        "val_loss", "loss", or a metric's name.
    patience : int
        Epochs without improvement that are waited for.
    min_delta : float
        What counts as an improvement must exceed this.
    mode : {"auto", "min", "max"}
        "auto": accuracy and r2 should grow, all else should fall.
    restore_best : bool
        Leave the model with the weights of its best epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = whole("patience", patience, at_least=0)
        self.restore_best = bool(restore_best)
        self.best_parameters: NDArray[Any] | None = None

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self.best_parameters = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and stop when patience is at its end."""
        if self.improved(epoch, logs):
            self.best_parameters = self.model.flat_parameters() if self.restore_best else None
        elif self.wait > self.patience:
            self.model.stop_training = True
            self.trainer.history.stop_reason = f"{self.monitor} has not improved since epoch {self.best_epoch}"

    def on_train_end(self, logs: Logs) -> None:
        """Restore the best weights."""
        if self.best_parameters is not None:
            self.model.set_flat_parameters(self.best_parameters)

    def state(self) -> dict[str, Any]:
        """Return the best figure and the best weights."""
        kept = super().state()
        return kept if self.best_parameters is None else {**kept, "best_parameters": self.best_parameters}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        super().load_state(state)
        best = state.get("best_parameters")
        if best is not None and best.shape != (self.model.n_parameters,):
            raise ValueError(f"the best weights have shape {best.shape}; expected {(self.model.n_parameters,)}")
        self.best_parameters = best


class ReduceLROnPlateau(_Monitor):
    """Multiply the learning rate by ``factor`` when a figure has not improved for ``patience`` epochs.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        As for ``EarlyStopping``.
    factor : float
        In (0, 1).
    min_learning_rate : float
        The rate is not reduced below this.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        min_learning_rate: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.factor = number("factor", factor, above=0.0, below=1.0)
        self.patience = whole("patience", patience, at_least=1)
        self.min_learning_rate = number("min_learning_rate", min_learning_rate, at_least=0.0)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and reduce when patience is at its end."""
        if not self.improved(epoch, logs) and self.wait >= self.patience:
            self.wait = 0
            rate = logs["learning_rate"]
            self.trainer.rate_factor *= max(self.factor, min(1.0, self.min_learning_rate / rate))


class Checkpoint(Callback):
    """Keep what is needed to go on after a crash: ``net.fit(..., resume_from=path)`` ends as if nothing had happened.

    Parameters
    ----------
    path : path
        The file; it is replaced atomically.
    every : int
        Number of epochs or updates between two checkpoints.
    unit : {"epoch", "update"}
    best_path : path, optional
        Where to keep the model (not a checkpoint) of the best epoch.
    monitor : str
        Which figure makes an epoch the best, for ``best_path``.
    mode : {"auto", "min", "max"}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        unit: str = "epoch",
        best_path: str | os.PathLike[str] | None = None,
        monitor: str = "val_loss",
        mode: str = "auto",
    ) -> None:
        self.path = Path(path)
        self.every = whole("every", every)
        self.unit = member("unit", unit, ("epoch", "update"))
        self.best_path = best_path
        self._watch = _Monitor(monitor, 0.0, mode)
        self.looks_every = 1 if best_path is not None or unit == "update" else self.every

    def on_train_begin(self, logs: Logs) -> None:
        """Say now, not after hours, that the folder is missing or the name of the best model is none for a model."""
        from tinynet.exchange.modelfile import check_name, is_safetensors

        if is_safetensors(self.path):
            raise ValueError(
                f"Checkpoint writes .npz files; got {str(self.path)!r}. Only best_path may be safetensors."
            )
        if self.best_path is not None:
            check_name(self.best_path)
        paths = [self.path] if self.best_path is None else [self.path, Path(self.best_path)]
        for path in paths:
            folder = path.resolve().parent
            if not folder.is_dir():
                raise FileNotFoundError(f"Checkpoint expects an existing folder; got {str(folder)!r}. Create it first.")
        self._watch.reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save if it is time."""
        if self.best_path is not None and self._watch.improved(epoch, logs):
            self.model.save(self.best_path)
        updates = self.trainer.updates
        due = (epoch + 1) % self.every if self.unit == "epoch" else updates % self.every
        if due == 0 or (self.unit == "epoch" and epoch + 1 == self.trainer.epochs):
            self.trainer.save_checkpoint(self.path)

    def state(self) -> dict[str, Any]:
        """Return the best figure."""
        return self._watch.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self._watch.load_state(state)


class LambdaCallback(Callback):
    """Hooks from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs["loss"]))``.

    Parameters
    ----------
    hooks : callables by the name of the hook
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, hook in hooks.items():
            member("hook", name, [n for n in dir(Callback) if n.startswith("on_")])
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects a function for {name}; got {hook!r}.")
            setattr(self, name, hook)
        self._batches = any("batch" in name for name in hooks)

    @property
    def wants_batches(self) -> bool:
        """Whether a hook on single updates was given."""
        return self._batches


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


class ProgressBar(Callback):
    """Show progress: a bar if ``rich`` is installed and the output is a terminal, else a line now and then.

    Of an ensemble it tells how many models are still trained, and the lowest, the median and the highest figure.

    Parameters
    ----------
    every_epoch : bool
        Print one line for every epoch instead (``verbose=2``).
    """

    looks_every = None
    refresh_seconds = 1.0

    def __init__(self, every_epoch: bool = False) -> None:
        self.every_epoch = every_epoch

    def on_train_begin(self, logs: Logs) -> None:
        """Start the display."""
        self._bar: Any = None
        self._last = -math.inf
        self._width = len(str(self.trainer.epochs))
        if not self.every_epoch and sys.stdout.isatty():
            self._bar = rich_bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.trainer.epochs, completed=self.trainer.epoch)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Show the figures of the epoch."""
        figures = as_text(logs)
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch + 1, description=figures)
            return
        now = time.monotonic()
        if self.every_epoch or now - self._last >= self.refresh_seconds or epoch + 1 == self.trainer.epochs:
            self._last = now
            print(f"epoch {epoch + 1:{self._width}d}/{self.trainer.epochs}  {figures}", flush=True)

    def on_train_end(self, logs: Logs) -> None:
        """End the display."""
        if self._bar is not None:
            self._bar.stop()


def rich_bar() -> Any:
    """Return a bar of the package rich, or None where it is not installed."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    return Progress(*columns, refresh_per_second=8)


def split_state(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Split a callback's state into what JSON holds and its arrays."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if name not in arrays}, arrays
