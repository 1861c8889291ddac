"""History: what training recorded, one number per epoch and name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import requires
from tinynet.base.hints import HintingAttributes, did_you_mean
from tinynet.base.text import figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class History(HintingAttributes):
    """The record of a training.

    Attributes
    ----------
    history : dict of str to list of float
        "loss", and with validation data "val_loss"; each metric by its name; "learning_rate".
    epoch : list of int
        The epochs, counted from 0.
    plan : str
        Which plan ran and why.
    stop_reason : str or None
        Why training ended before its last epoch, if it did.
    compile_seconds : float
        How long it took to load a compiler, and to make machine code that was not there yet.

    Examples
    --------
    >>> history = History()
    >>> history.record(0, {"loss": 2.0})
    >>> history["loss"]
    [2.0]
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.plan = ""
        self.stop_reason: str | None = None
        self.compile_seconds = 0.0

    def begin(self, names: Iterable[str]) -> None:
        """Tell which figures there are to be: of a training without an epoch they are empty."""
        for name in names:
            self.history.setdefault(name, [])

    def record(self, epoch: int, logs: dict[str, float]) -> None:
        """Append one epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def cut(self, n_epochs: int) -> None:
        """Drop what was recorded after so many epochs, also of one that was recorded in part."""
        del self.epoch[n_epochs:]
        for values in self.history.values():
            del values[n_epochs:]

    def plot(self, path: str | os.PathLike[str] | None = None, figures: str | Iterable[str] = "loss") -> Figure:
        """Plot figures over the epochs; needs matplotlib.

        Parameters
        ----------
        path : path, optional
            Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file there is replaced atomically.
        figures : str or iterable of str
            Names of what was recorded, each with a plot of its own; with a figure comes the same of the validation.
            The scale is logarithmic where figures are above 0 and differ by a factor of 10.

        Returns
        -------
        matplotlib.figure.Figure
            Jupyter shows it; ``figure.axes[0]`` takes changes.

        Raises
        ------
        DependencyError
            If matplotlib is not installed.
        ValueError
            If there is no such figure.

        Examples
        --------
        >>> history = History()
        >>> history.record(0, {"loss": 2.0})
        >>> history.plot().axes[0].get_xlabel()
        'epoch'
        """
        from tinynet.plotting.history import plot_history

        return plot_history(self, path, figures)

    def to_pandas(self) -> pandas.DataFrame:
        """Return all figures as a frame of pandas, with a row for each epoch, by its number from 0.

        Raises
        ------
        DependencyError
            If pandas is not installed.

        Examples
        --------
        >>> history = History()
        >>> history.record(0, {"loss": 2.0, "val_loss": 3.0})
        >>> history.to_pandas()  # doctest: +NORMALIZE_WHITESPACE
               loss  val_loss
        epoch
        0       2.0       3.0
        """
        return _frames().DataFrame(self.history, index=_frames().Index(self.epoch, name="epoch"))

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self.history[name]
        except KeyError:
            raise KeyError(
                f"{name!r} was not recorded; there is {', '.join(map(repr, self.history)) or 'nothing'}."
                + did_you_mean(str(name), self.history)
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.history

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __len__(self) -> int:
        return len(self.epoch)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"history": self.history, "epoch": self.epoch}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.history = {name: [float(value) for value in values] for name, values in state["history"].items()}
        self.epoch = [int(epoch) for epoch in state["epoch"]]

    def take(self, other: History) -> None:
        """Be the record of a training that goes on, on the plan of this one."""
        self.history, self.epoch, self.stop_reason = other.history, other.epoch, other.stop_reason

    def at(self, epoch: int) -> dict[str, float]:
        """Return the figures of an epoch, by name."""
        return {name: values[epoch] for name, values in self.history.items()}

    def _meant(self, name: str) -> str:
        """Return a sentence that says what was meant, with a blank before it; or nothing."""
        return f" It is history[{name!r}]." if name in self.__dict__.get("history", {}) else super()._meant(name)

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name} {figure(values[-1])}" for name, values in self.history.items())
        stopped = f"; stopped: {self.stop_reason}" if self.stop_reason else ""
        return f"History({len(self)} {'epoch' if len(self) == 1 else 'epochs'}; last: {last}{stopped})"


class EnsembleHistory:
    """The record of the training of many models: one number per epoch, model and name.

    Attributes
    ----------
    epoch : list of int
        The epochs, counted from 0.
    stopped : (n_models,) int array
        The last epoch of each model that stopped before the others; -1 for those that went on to the end.
    diverged : list of int
        Models whose loss or weights became infinite or NaN. They hold the best weights that were seen before.
    plan : str
        Which plan ran and why.
    stop_reason : str or None
        Why training ended before its last epoch, if it did.
    compile_seconds : float
        How long it took to load a compiler, and to make machine code that was not there yet.
    """

    def __init__(self, n_models: int) -> None:
        self.n_models = n_models
        self.epoch: list[int] = []
        self.stopped = np.full(n_models, -1)
        self.diverged: list[int] = []
        self.plan = ""
        self.stop_reason: str | None = None
        self.compile_seconds = 0.0
        self._rows: dict[str, list[NDArray[np.float64]]] = {}

    def begin(self, names: Iterable[str]) -> None:
        """Tell which figures there are to be; see ``History.begin``."""
        for name in names:
            self._rows.setdefault(name, [])

    def record(self, epoch: int, logs: dict[str, NDArray[np.float64]]) -> None:
        """Append one epoch: (n_models,) numbers by name, NaN for models that were not trained any more."""
        self.epoch.append(epoch)
        for name, values in logs.items():
            self._rows.setdefault(name, []).append(values)

    def cut(self, n_epochs: int) -> None:
        """Drop what was recorded after so many epochs, also of one that was recorded in part."""
        del self.epoch[n_epochs:]
        for rows in self._rows.values():
            del rows[n_epochs:]

    @property
    def history(self) -> dict[str, NDArray[np.float64]]:
        """What was recorded: (n_epochs, n_models) arrays by name; NaN where a model had stopped."""
        return {name: self[name] for name in self._rows}

    def plot(self, path: str | os.PathLike[str] | None = None, figures: str | Iterable[str] = "loss") -> Figure:
        """Plot figures over the epochs, their median and a band from the lowest to the highest; needs matplotlib.

        Parameters
        ----------
        path, figures
            As for ``History.plot``, also what is returned and raised.
        """
        from tinynet.plotting.history import plot_history

        return plot_history(self, path, figures)

    def to_pandas(self) -> pandas.DataFrame:
        """Return all figures as a frame of pandas, with a row for each epoch of each model; NaN where one had stopped.

        Raises
        ------
        DependencyError
            If pandas is not installed.
        """
        rows = _frames().MultiIndex.from_product([self.epoch, range(self.n_models)], names=["epoch", "model"])
        return _frames().DataFrame({name: values.ravel() for name, values in self.history.items()}, index=rows)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.array(self._rows[name]).reshape(-1, self.n_models)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self.epoch)

    def at(self, epoch: int) -> dict[str, NDArray[np.float64]]:
        """Return the figures of an epoch, by name."""
        return {name: rows[epoch] for name, rows in self._rows.items()}

    def load(self, epoch: list[int], history: dict[str, NDArray[np.float64]]) -> None:
        """Take up what a checkpoint kept."""
        self.epoch = list(epoch)
        self._rows = {name: list(rows) for name, rows in history.items()}

    def __repr__(self) -> str:
        stopped = int((self.stopped >= 0).sum())
        return (
            f"EnsembleHistory({len(self)} epochs, {self.n_models} models, {stopped} of them stopped early, "
            f"{len(self.diverged)} diverged)"
        )


def _frames() -> ModuleType:
    """Return pandas, which few programs need."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise requires("pandas", "history.to_pandas()", "pip install pandas") from error
