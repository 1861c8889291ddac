"""The plot of a training: its figures over the epochs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tinynet.base.checks import member
from tinynet.base.statistics import spread
from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LOGARITHMIC = 10.0
"""Figures that differ by this factor are drawn on a logarithmic scale, if all are above 0."""


class Recorded(Protocol):
    """What a plot reads of a history: (n_epochs,) figures by name, or (n_epochs, n_models) ones."""

    epoch: list[int]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""

    def __contains__(self, name: object) -> bool:
        """Tell whether there are figures of a name."""

    def __getitem__(self, name: str) -> Any:
        """Return the figures of a name."""


def plot_history(
    history: Recorded, path: str | os.PathLike[str] | None = None, figures: str | Iterable[str] = "loss"
) -> Figure:
    """Plot figures over the epochs, as ``history.plot()`` does; of many models the median, and a band of all.

    Parameters
    ----------
    history : History or EnsembleHistory
        As ``fit`` returns it.
    path : path, optional
        Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file that is there is replaced atomically.
    figures : str or iterable of str
        Names of what was recorded, each with a plot of its own; beside one without ``val_`` stands the one with it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    ValueError
        If there is no such figure.
    """
    check_plot(path)
    names = list(dict.fromkeys([figures] if isinstance(figures, str) else figures))
    # A training without an epoch has recorded nothing yet, and its plot is empty.
    for name in names if history.epoch else ():
        member("figures", name, list(history))
    figure = empty_figure(6.0 * max(1, len(names)), 4.0)
    for axes, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False):
        _draw(axes, history, name)
    return written_figure(figure, path)


def _draw(axes: Any, history: Recorded, name: str) -> None:
    """Draw one figure, and that of the validation beside it."""
    drawn = {label: np.array(history[full]) for full, label in _curves(name).items() if full in history}
    epochs, lowest, highest = np.array(history.epoch) + 1, np.inf, -np.inf
    for label, values in drawn.items():
        low, middle, high = (values, values, values) if values.ndim == 1 else spread(values)
        (line,) = axes.plot(epochs, middle, label=label, marker="." if len(values) < 20 else None)
        if values.ndim > 1:
            axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        lowest = min(lowest, low[np.isfinite(low)].min(initial=np.inf))
        highest = max(highest, high[np.isfinite(high)].max(initial=-np.inf))
    if lowest > 0 and highest >= lowest * LOGARITHMIC:
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    if len(drawn) > 1 or (drawn and name == "loss"):
        axes.legend()


def _curves(name: str) -> dict[str, str]:
    """Return the figures that one plot shows, and what they are called there."""
    if name.startswith("val_"):
        return {name: "validation"}
    return {name: "training", f"val_{name}": "validation"}
