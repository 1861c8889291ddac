"""History: what training recorded, one number per epoch and name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History:
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

    def record(self, epoch: int, logs: dict[str, float]) -> None:
        """Append one epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot the losses over the epochs; needs matplotlib.

        Parameters
        ----------
        path : path, optional
            Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file there is replaced atomically.

        Returns
        -------
        matplotlib.figure.Figure
            Jupyter shows it; ``figure.axes[0]`` takes changes.

        Raises
        ------
        DependencyError
            If matplotlib is not installed.

        Examples
        --------
        >>> history = History()
        >>> history.record(0, {"loss": 2.0})
        >>> history.plot().axes[0].get_xlabel()
        'epoch'
        """
        from tinynet.plots import plot_loss

        return plot_loss(self, path)

    def __getitem__(self, name: str) -> list[float]:
        return self.history[name]

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

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name} {values[-1]:.6g}" for name, values in self.history.items())
        return f"History({len(self)} epochs; last: {last})"
