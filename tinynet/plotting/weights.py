"""The plot of a network: its weights as colours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tinynet.backends.base import Backend
from tinynet.layers import Layer, Linear
from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Layered(Protocol):
    """What a plot reads of a network."""

    @property
    def layers(self) -> Sequence[Layer]:
        """Its layers."""

    @property
    def backend(self) -> Backend:
        """Where their arrays lie."""


def plot_weights(net: Layered, path: str | os.PathLike[str] | None = None) -> Figure:
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
            axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.colorbar(image, ax=places)
    return written_figure(figure, path)
