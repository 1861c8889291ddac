"""Plots of the results: how many times faster, and how cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.growth import SWEEPS
from benchmarks.peers import PEERS
from benchmarks.records import Results, Spread
from tinynet.base.errors import requires
from tinynet.exchange.atomic import atomic_open

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png")
BAR = 0.8
"""Share of a workload's place that its bars take."""

COLORS = {
    "c": "#111111", "notebook": "#8c564b", "scikit-learn": "#ff7f0e", "torch": "#d62728", "torch-compile": "#e99696",
    "torch-graphs": "#7f0000",
    "jax": "#9467bd", "jax-scan": "#c5b0d5", "onnxruntime": "#17becf", "numba": "#1f77b4", "numpy": "#2ca02c",
    "cupy": "#bcbd22",
}  # fmt: skip
"""One colour for each who takes part, the same in all plots."""


def write(found: Results, stem: Path) -> list[Path]:
    """Write the plots that there are results for, as SVG and PNG; return their paths.

    Parameters
    ----------
    stem : path
        What the names of the files begin with.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    """
    figures = {}
    if any(comparison.status == "measured" for record in found.records for comparison in record.comparisons):
        figures["speed"] = speed(found)
    if found.curves:
        figures["growth"] = growth(found)
    written = []
    for name, figure in figures.items():
        for ending in FORMATS:
            path = stem.with_name(f"{stem.name}-{name}{ending}")
            # Without a date, the same results give the same file.
            metadata = {"Date": None} if ending == ".svg" else {}
            with atomic_open(path) as file:
                figure.savefig(file, format=ending[1:], dpi=150, metadata=metadata)
            written.append(path)
    return written


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure that belongs to no window and no pyplot."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise requires("matplotlib", "The plot of the results", "pip install matplotlib") from error
    matplotlib.rcParams["svg.hashsalt"] = "tinynet"
    return Figure(figsize=(width, height), layout="constrained")


def speed(found: Results) -> Figure:
    """Return bars of how many times faster tinynet is, from 1 on a logarithmic axis, with the range of the pairs."""
    measured = [
        (record, [c for c in record.comparisons if c.status == "measured" and c.peer != "floor"])
        for record in found.records
    ]
    measured = [(record, comparisons) for record, comparisons in measured if comparisons]
    figure = _figure(9.0, 1.2 + 0.16 * sum(len(comparisons) + 1 for _, comparisons in measured))
    axes = figure.add_subplot()
    place, ticks, labels = 0, [], []
    for record, comparisons in measured:
        ticks.append(place + (len(comparisons) - 1) / 2)
        labels.append(f"{record.workload.title}\n{record.threads} thread{'s' * (record.threads > 1)}")
        for comparison in comparisons:
            ratio = comparison.ratio
            errors = [[ratio.median - ratio.least], [ratio.most - ratio.median]]
            color = COLORS[comparison.peer]
            axes.barh(place, ratio.median - 1.0, BAR, left=1.0, xerr=errors, color=color, error_kw={"lw": 0.8})
            axes.text(ratio.most * 1.08, place, f"{ratio.median:.3g}", va="center", fontsize=6)
            place += 1
        place += 1
    _legend(axes, [peer for peer in PEERS if any(c.peer == peer for _, cs in measured for c in cs)])
    axes.axvline(1.0, color="#1f77b4", lw=1.5)
    axes.set(xscale="log", xlabel="times tinynet's time (1 = as fast as tinynet)", ylim=(place - 0.5, -1))
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _legend(axes: Axes, peers: list[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=COLORS[peer], label=PEERS[peer].title) for peer in peers]
    axes.legend(handles=handles, fontsize=7, loc="lower right")


def growth(found: Results) -> Figure:
    """Return how cost grows, a log-log plot for each sweep."""
    sweeps = list(dict.fromkeys(curve.sweep for curve in found.curves))
    figure = _figure(4.5 * min(2, len(sweeps)), 3.2 * -(-len(sweeps) // 2))
    panels = list(figure.subplots(-(-len(sweeps) // 2), min(2, len(sweeps)), squeeze=False).flat)
    for axes in panels[len(sweeps) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, sweeps, strict=False):
        sweep = SWEEPS[name]
        for curve in (curve for curve in found.curves if curve.sweep == name):
            spreads = [Spread.of(samples).scaled(1e6) for samples in curve.seconds]
            title = PEERS[curve.contender].title if curve.contender in PEERS else f"tinynet, {curve.contender}"
            color = COLORS[curve.contender]
            axes.plot(curve.sizes, [spread.median for spread in spreads], ".-", color=color, label=title)
            least, most = [spread.least for spread in spreads], [spread.most for spread in spreads]
            axes.fill_between(curve.sizes, least, most, color=color, alpha=0.2)
        axes.set(xscale="log", yscale="log", xlabel=sweep.axis, ylabel=f"us for each {sweep.unit}", title=sweep.title)
        sizes = max((curve.sizes for curve in found.curves if curve.sweep == name), key=len)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure
