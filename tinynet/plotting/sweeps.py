"""Plots of a sweep: parallel coordinates, and losses by setting; they need matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinynet.base.text import text_of
from tinynet.exchange.atomic import Path_
from tinynet.plotting.figures import check_plot, empty_figure, written_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]


class Swept(Protocol):
    """What a plot reads of the result of a sweep; see ``SweepResult``."""

    seeds: list[int]

    @property
    def columns(self) -> dict[str, str]:
        """The column of each setting."""

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """A row for each run."""

    def summary(self, by: str | None = ..., mode: str = ...) -> dict[str, NDArray[Any]]:
        """Return a row for each setting."""

    def varied(self, table: dict[str, NDArray[Any]]) -> list[str]:
        """Return the columns of the settings that are not the same in all rows of a table."""

    def losses(self, name: str = ...) -> Values:
        """Return the losses of each run over the epochs."""


CROWDED = 0.05
"""Labels of an axis that would come nearer than this share of its height are left out."""

DECADES = 1.0
"""Positive numbers that span more than this many powers of ten get a logarithmic axis."""

LABEL: dict[str, Any] = {
    "fontsize": "small",
    "va": "center",
    "color": "0.2",
    "bbox": {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
}
"""How values are written beside an axis: where many lines meet, and must not cross what is written."""


def plot_parallel(result: Swept, path: Path_ | None, by: str, mode: str = "auto") -> Figure:
    """Draw the settings of a sweep in parallel coordinates; see ``SweepResult.plot_parallel``."""
    check_plot(path)
    from matplotlib.collections import LineCollection

    table = result.summary(by, mode)
    figures = table[f"{by}_mean"]
    usable = np.flatnonzero(np.isfinite(figures))[::-1]  # The best are drawn last, on top.
    if not usable.size:
        raise ValueError("plot_parallel expects a setting of which a run is finished and has not diverged; got none.")
    names = result.varied(table) or list(result.columns.values())
    scales = [_Scale(table[name][usable], text_of) for name in names] + [_Scale(figures[usable], text_of)]
    figure = empty_figure(max(6.0, 1.6 * len(scales)), 4.0)
    axes = figure.add_subplot()
    heights = np.column_stack([scale.heights for scale in scales])
    lines = [np.column_stack([np.arange(len(scales)), row]) for row in heights]
    colours = LineCollection(lines, array=heights[:, -1], cmap="viridis", linewidths=1.2, alpha=0.8)
    axes.add_collection(colours)
    for place, scale in enumerate(scales):
        axes.axvline(place, color="0.4", linewidth=0.8)
        for height, label in scale.ticks:
            axes.text(place + 0.03, height, label, **LABEL)
    axes.set_xticks(range(len(scales)), [*names, f"{by} (mean)" if len(result.seeds) > 1 else by])
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(scales) - 0.6)
    axes.set_ylim(-0.05, 1.05)
    _bare(axes)
    return written_figure(figure, path)


class _Scale:
    """Places values on a vertical axis from 0 to 1, and labels it."""

    def __init__(self, values: NDArray[Any], text_of: Any) -> None:
        if values.dtype.kind in "iuf" and np.isfinite(values).all():
            self._numbers(values.astype(np.float64), text_of)
            return
        texts = [text_of(value) for value in values]
        distinct = sorted(set(texts))
        places = {text: (i + 0.5) / len(distinct) for i, text in enumerate(distinct)}
        self.heights = np.array([places[text] for text in texts])
        self.ticks = [(height, text) for text, height in places.items()]

    def _numbers(self, values: Values, text_of: Any) -> None:
        low, high = values.min(), values.max()
        logarithmic = low > 0 and np.log10(high / low) > DECADES
        moved = np.log(values) if logarithmic else values
        first, last = moved.min(), moved.max()
        spread = (last - first) or 1.0
        self.heights = (moved - first) / spread if last > first else np.full(len(values), 0.5)
        labelled = np.unique(values) if len(np.unique(values)) <= 8 else None
        if labelled is None:
            labelled = np.geomspace(low, high, 5) if logarithmic else np.linspace(low, high, 5)
        heights = ((np.log(labelled) if logarithmic else labelled) - first) / spread if last > first else [0.5]
        self.ticks = []
        for height, value in zip(heights, labelled, strict=True):
            if not self.ticks or height - self.ticks[-1][0] >= CROWDED:
                self.ticks.append((float(height), text_of(float(f"{value:.3g}"))))


def plot_losses(result: Swept, path: Path_ | None, name: str, n_settings: int) -> Figure:
    """Draw the losses of a sweep by setting; see ``SweepResult.plot_losses``."""
    check_plot(path)
    curves, table, runs = result.losses(name), result.summary(), result.table
    figure = empty_figure(9.0, 4.0)
    axes = figure.add_subplot()
    names = result.varied(table)
    shown = []
    for rank, setting in reversed(list(enumerate(table["setting"]))):
        low, middle, high = _band(curves[:, (runs["setting"] == setting) & ~runs["diverged"]])
        epochs = np.arange(1, len(middle) + 1)
        if rank >= n_settings:
            axes.plot(epochs, middle, color="0.8", linewidth=0.7, zorder=1)
            continue
        label = "  ".join(f"{column} {text_of(table[column][rank])}" for column in names) or "the setting"
        (line,) = axes.plot(epochs, middle, label=label, color=f"C{rank % 10}", zorder=3)
        shown += [low, high]
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.15, linewidth=0, zorder=2)
    bottom, top = (float(f(np.concatenate(shown), initial=start)) for f, start in ((np.min, np.inf), (np.max, -np.inf)))
    if bottom > 0:
        axes.set_yscale("log")
    if 0 < bottom < top < np.inf:  # The grey ones may leave the picture: some are on their way to infinity.
        axes.set_ylim(bottom * (bottom / top) ** 0.05, top * (top / bottom) ** 0.05)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], fontsize="small", loc="outside right upper", title="best first")
    return written_figure(figure, path)


def _band(curves: Values) -> tuple[Values, Values, Values]:
    """Return the lowest, the middle and the highest of some runs in each epoch in which one was trained."""
    curves = curves[np.isfinite(curves).any(axis=1)]
    if not curves.size:
        return np.empty(0), np.empty(0), np.empty(0)
    return np.nanmin(curves, axis=1), np.nanmedian(curves, axis=1), np.nanmax(curves, axis=1)


def _bare(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
