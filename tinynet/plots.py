"""Plots of a training; they need matplotlib."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinynet.checks import member
from tinynet.errors import requires
from tinynet.files import atomic_open
from tinynet.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise now what ``plot_loss`` would raise after a long training: DependencyError or ValueError."""
    member("the ending of a plot's name", Path(path).suffix, FORMATS)
    empty_figure()


def plot_loss(history: History, path: str | os.PathLike[str]) -> None:
    """Write a plot of the losses over the epochs; a file that is there is replaced atomically.

    Parameters
    ----------
    history : History
        As ``fit`` returns it.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    check_plot(path)
    figure = empty_figure()
    axes = figure.add_subplot()
    losses = {name: values for name, values in history.history.items() if name in ("loss", "val_loss")}
    for name, values in losses.items():
        label = "validation" if name.startswith("val_") else "training"
        axes.plot(np.array(history.epoch) + 1, values, label=label, marker="." if len(values) < 20 else None)
    if losses and all(np.min(values) > 0 for values in losses.values()):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend()
    write_figure(figure, path)


def write_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, atomically, in the format that its name ends in."""
    with atomic_open(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:], dpi=150)


def empty_figure(size: tuple[float, float] = (6.0, 4.0)) -> Figure:
    """Return an empty figure that belongs to no window and no pyplot.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise requires("matplotlib", "The plot", "pip install matplotlib") from error
    return Figure(figsize=size, layout="constrained")
