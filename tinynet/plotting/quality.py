"""Plots of predictions: numbers against the truth, and classes with their probabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10

NUMBERS_IN_CELLS = 20
"""Classes whose matrix has room for numbers."""


def plot_numbers(
    target: NDArray[np.float64],
    prediction: NDArray[np.float64],
    names: Sequence[str],
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Plot predicted numbers against true ones, and below the residuals; a column of plots for each target.

    Parameters
    ----------
    target, prediction : (n_samples, n_targets) array
    names : sequence of str
        Of the targets.
    path : path, optional
        Where to write the plot.
    """
    check_plot(path)
    figure = empty_figure(4.0 * len(names), 6.0)
    grid = figure.subplots(2, len(names), squeeze=False, height_ratios=(2, 1))
    for (above, below), name, true, found in zip(grid.T, names, target.T, prediction.T, strict=True):
        style: dict[str, Any] = {"s": 9, "alpha": 0.5, "linewidths": 0, "rasterized": True}
        above.scatter(true, found, **style)
        ends = [min(true.min(), found.min()), max(true.max(), found.max())]
        above.plot(ends, ends, color="black", linewidth=1)
        above.set(xlabel=f"{name}, true", ylabel="predicted")
        below.scatter(found, found - true, **style)
        below.axhline(0, color="black", linewidth=1)
        below.set(xlabel="predicted", ylabel="error")
    for axes in grid.flat:
        axes.grid(alpha=0.3)
    return written_figure(figure, path)


def plot_classes(
    confusion: NDArray[np.float64] | None,
    names: Sequence[str],
    truth: NDArray[Any],
    probabilities: NDArray[np.float64] | None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Plot a confusion matrix, as shares of each true class, and how far probabilities can be relied on.

    Parameters
    ----------
    confusion : (n_classes, n_classes) array or None
        None for several labels of a sample: then there is no matrix.
    names : sequence of str
    truth : (n_samples,) class numbers, or (n_samples, n_labels) bool
    probabilities : (n_samples, n_out) array or None
        None where outputs are no probabilities: then there is no curve.
    path : path, optional
        Where to write the plot.
    """
    check_plot(path)
    n_plots = (confusion is not None) + (probabilities is not None)
    figure = empty_figure(5.0 * max(1, n_plots), 4.5)
    plots = list(figure.subplots(1, n_plots, squeeze=False)[0]) if n_plots else []
    if confusion is not None:
        _draw_matrix(plots.pop(0), confusion, names)
    if probabilities is not None:
        _draw_reliability(plots.pop(0), probabilities, truth)
    return written_figure(figure, path)


def _draw_matrix(axes: Any, confusion: NDArray[np.float64], names: Sequence[str]) -> None:
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.where(totals > 0, totals, 1.0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= NUMBERS_IN_CELLS:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (i, j), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axes.text(j, i, f"{confusion[i, j]:g}", ha="center", va="center", color=colour)
    axes.set(xlabel="predicted", ylabel="true")


def _draw_reliability(axes: Any, probabilities: NDArray[np.float64], truth: NDArray[Any]) -> None:
    said, came = claims(probabilities, truth)
    means, shares = reliability(said, came)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="as promised")
    axes.plot(means, shares, marker="o", label="this model", clip_on=False, zorder=3)  # Shares of 0 and 1 are common.
    axes.set(xlabel="probability that is predicted", ylabel="share that comes true", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()


def claims(probabilities: NDArray[np.float64], truth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return probabilities and whether what they are of came true.

    Of two classes that of class 1; of more that of the class that is chosen (Guo et al. 2017); of labels those of all.
    """
    if truth.ndim == 2:
        return probabilities.ravel(), truth.ravel()
    if probabilities.shape[1] <= 2:
        return probabilities[:, -1], truth == 1
    return probabilities.max(axis=1), truth == probabilities.argmax(axis=1)


def reliability(said: NDArray[Any], came: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean probability and the share that came true, in bins of equal width that are not empty.

    Examples
    --------
    >>> means, shares = reliability(np.array([0.25, 0.21, 0.85]), np.array([True, False, True]))
    >>> means.round(3).tolist(), shares.tolist()
    ([0.23, 0.85], [0.5, 1.0])
    """
    place = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    there = counts > 0
    sums = (np.bincount(place, values, BINS)[there] for values in (said, came))
    means, shares = (total / counts[there] for total in sums)
    return means, shares
