"""The plot of a training: its losses over the epochs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tinynet.base.statistics import spread
from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Recorded(Protocol):
    """What a plot reads of a history: (n_epochs,) figures by name, or (n_epochs, n_models) ones."""

    epoch: list[int]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""

    def __getitem__(self, name: str) -> Any:
        """Return the figures of a name."""


def plot_loss(history: Recorded, path: str | os.PathLike[str] | None = None) -> Figure:
    """Plot the losses over the epochs, as ``history.plot()`` does; of many models the median, and a band of all.

    Parameters
    ----------
    history : History or EnsembleHistory
        As ``fit`` returns it.
    path : path, optional
        Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file that is there is replaced atomically.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    check_plot(path)
    figure = empty_figure(6.0, 4.0)
    axes = figure.add_subplot()
    losses = {name: np.array(history[name]) for name in history if name in ("loss", "val_loss")}
    epochs, lowest = np.array(history.epoch) + 1, []
    for name, values in losses.items():
        low, middle, high = (values, values, None) if values.ndim == 1 else spread(values)
        label = "validation" if name.startswith("val_") else "training"
        (line,) = axes.plot(epochs, middle, label=label, marker="." if len(values) < 20 else None)
        if high is not None:
            axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        lowest.append(low[np.isfinite(low)].min(initial=np.inf))
    if losses and 0 < min(lowest) < np.inf:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if losses:
        axes.legend()
    return written_figure(figure, path)
