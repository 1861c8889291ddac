"""Plots of a training and of a network; they need matplotlib."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.base.checks import member
from tinynet.base.errors import requires
from tinynet.exchange.archive import atomic_open
from tinynet.training.history import EnsembleHistory, History
from tinynet.training.logs import spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinynet.models.sequential import Sequential

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: str | os.PathLike[str] | None = None) -> None:
    """Raise now what a plot would raise after a long training: DependencyError or ValueError."""
    if path is not None:
        member("the ending of a plot's name", Path(path).suffix, FORMATS)
    empty_figure(1, 1)


def plot_loss(history: History | EnsembleHistory, path: str | os.PathLike[str] | None = None) -> Figure:
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


def plot_weights(net: Sequential, path: str | os.PathLike[str] | None = None) -> Figure:
    """Show the weights of each ``Linear`` layer as colours: inputs down, outputs across, the bias as a row below.

    White is zero, red positive and blue negative; each layer has a scale of its own.

    Parameters
    ----------
    net : Sequential
    path : path, optional
        Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file that is there is replaced atomically.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    ValueError
        If the network has no ``Linear`` layer.

    Examples
    --------
    >>> import tinynet as tn
    >>> figure = plot_weights(tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 3)))
    >>> [axes.get_title() for axes in figure.axes if axes.get_title()]
    ['Linear(4, 5)', 'Linear(5, 3)']
    """
    from tinynet.layers import Linear

    check_plot(path)
    from matplotlib.ticker import MaxNLocator

    layers = [layer for layer in net.layers if isinstance(layer, Linear)]
    if not layers:
        raise ValueError(f"plot_weights expects a network with Linear layers; got {net!r}.")
    figure = empty_figure(1.0 + 3.0 * len(layers), 3.6)
    grid = figure.add_gridspec(2, len(layers), height_ratios=[12, 1])
    for column, layer in enumerate(layers):
        weight = net.backend.to_numpy(layer.weight)
        bias = net.backend.to_numpy(layer.bias) if layer.has_bias else np.zeros(layer.n_out)
        # Without a largest weight that is above zero there would be no scale.
        limit = max(float(np.abs(weight).max()), float(np.abs(bias).max())) or 1.0
        style: dict[str, Any] = {
            "cmap": "bwr",
            "vmin": -limit,
            "vmax": limit,
            "aspect": "auto",
            "interpolation": "nearest",
        }
        axes = figure.add_subplot(grid[0, column])
        image = axes.imshow(weight, **style)
        axes.set_title(repr(layer))
        axes.set_ylabel("input")
        places = [axes]
        if layer.has_bias:
            axes.tick_params(labelbottom=False)
            axes = figure.add_subplot(grid[1, column], sharex=axes)
            axes.imshow(bias[None], **style)
            axes.set_yticks([0], ["bias"])
            places.append(axes)
        axes.set_xlabel("output")
        for axis in (places[0].yaxis, axes.xaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, ax=places)
    return written_figure(figure, path)


def written_figure(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Return a figure; with a path, write it there, atomically, in the format that the name ends in."""
    if path is not None:
        with atomic_open(path) as file:
            figure.savefig(file, format=Path(path).suffix[1:], dpi=150)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise requires("matplotlib", "A plot", "pip install matplotlib") from error
    from tinynet.plotting.figures import ShownFigure

    return ShownFigure(figsize=(width, height), layout="constrained")
