"""The plot of a range test: the loss over the learning rate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_rates(
    rates: NDArray[np.float64],
    losses: NDArray[np.float64],
    steepest: float,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Plot losses over learning rates on a logarithmic scale, with the rate at which they fall most.

    Parameters
    ----------
    rates, losses : (n_updates,) array
    steepest : float
    path : path, optional
        Where to write the plot.
    """
    check_plot(path)
    figure = empty_figure(6.0, 4.0)
    axes = figure.add_subplot()
    axes.plot(rates, losses)
    axes.axvline(steepest, color="0.4", linestyle="--", label=f"steepest at {steepest:.3g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axes.grid(alpha=0.3)
    axes.legend()
    return written_figure(figure, path)
