"""Trackers: callbacks that hand the figures of each epoch to TensorBoard, or to a function of one's own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.base.checks import whole
from tinynet.base.errors import requires
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs, as_finite_numbers


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

    A training that is resumed hands over its epochs from the checkpoint on, also those that were handed over before it
    was cut off: ``step`` tells which they are, and the figures are the same. ``start`` lets a tracker drop what it has
    of them.

    Parameters
    ----------
    log : callable
    every : int
        Epochs between two calls: a tracker on the network takes longer than an epoch of a small net.
    start : callable, optional
        ``start(step)`` is called before the first figures are handed over, with their step: 0, or the epoch in which a
        resumed training goes on.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 1))
    >>> history = net.fit([[0.0]], [[0.0]], callbacks=[LambdaSink(lambda figures, step: print(step, figures["loss"]))])
    0 0.0
    """

    looks_every = None
    first_rank_only = True

    def __init__(
        self,
        log: Callable[[dict[str, float], int], object],
        every: int = 1,
        start: Callable[[int], object] | None = None,
    ) -> None:
        for name, function in (("log(figures, step)", log), ("start(step)", start)):
            if not callable(function) and not (function is None and name == "start(step)"):
                raise TypeError(f"LambdaSink expects a function {name}; got {function!r}.")
        self.log, self.every, self.start = log, whole("every", every), start
        self._started = False

    def on_train_begin(self, logs: Logs) -> None:
        """Wait for the first epoch."""
        self._started = False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Call the function if it is time; the last epoch always is."""
        if not self._started and self.start is not None:
            self.start(epoch)
        self._started = True
        if epoch % self.every == 0 or epoch + 1 == self.trainer.epochs:
            self.log(as_finite_numbers(logs), epoch)


class TensorBoardLogger(Callback):
    """Write the figures of each epoch for TensorBoard (``tensorboard --logdir FOLDER``); needs tensorboardX.

    Of an ensemble there is a curve for each model that is still trained, "loss/0", "loss/1" and so on, and beyond 32
    models "loss/min", "loss/median" and "loss/max"; histograms of the weights are of all models together.

    Parameters
    ----------
    folder : path
        One for each training; it is created. A resumed training goes on with its folder, where it hides what was
        logged after its checkpoint.
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

    first_rank_only = True

    def __init__(self, folder: str | os.PathLike[str], weights_every: int | None = None) -> None:
        self.folder = Path(folder)
        self.weights_every = None if weights_every is None else whole("weights_every", weights_every)
        self.looks_every = self.weights_every
        self._events: Any = None
        _check_installed()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the figures, and the histograms if it is time; both are on their way to the disk when it returns."""
        from tensorboardX.summary import histogram, scalar

        if self._events is None:
            self._events = _events(self.folder, epoch if self.trainer.resumed else None)
        for name, value in as_finite_numbers(logs).items():
            _write(self._events, epoch, summary=scalar(name, value))
        if self.weights_every is not None and (epoch + 1) % self.weights_every == 0:
            layers = enumerate(self.model.layers)
            names = [f"layer{position}.{name}" for position, layer in layers for name in layer.trainable_names]
            for name, values in zip(names, self.model.get_weights(), strict=True):
                _write(self._events, epoch, summary=histogram(name, values, BINS))
        self._events.flush()

    def on_train_end(self, logs: Logs) -> None:
        """Close the file."""
        if self._events is not None:
            self._events.close()
            self._events = None


_POSITIVE = 1e-12 * 1.1 ** np.arange(774)

BINS = [*(-_POSITIVE[::-1]).tolist(), 0.0, *_POSITIVE.tolist()]
"""Where the bins of histograms end, as TensorBoard's own do: 1e-12 to 1e20, each 1.1 times the one before."""


def _events(folder: Path, resumed_at: int | None) -> Any:
    """Return a new file of events; of a training that is resumed, it hides what the ones before have from there on.

    It is written to at once. tensorboardX's ``SummaryWriter`` hands events to a thread, and a process that is killed
    loses those of up to two minutes. Its files are named by the second, and one that is there is overwritten.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import SessionLog

    folder.mkdir(parents=True, exist_ok=True)
    events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
    if resumed_at is not None:
        _write(events, resumed_at, session_log=SessionLog(status=SessionLog.START))
    return events


def _write(events: Any, step: int, **what: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    events.write_event(Event(wall_time=time.time(), step=step, **what))


def _check_installed() -> None:
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise requires("tensorboardX", "TensorBoardLogger", "pip install tensorboardX") from error
