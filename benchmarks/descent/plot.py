"""The plots of a descent: the least loss that was reached in so many seconds, for each problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinynet.exchange.atomic import atomic_open

COLORS = {
    "tinynet LM": "#1f77b4", "tinynet LM, 2 and 1/3": "#0b2e59", "tinynet LM, accelerated": "#3b5bff",
    "tinynet LBFGS": "#17becf",
    "tinynet Adam": "#2ca02c", "scikit-learn lbfgs": "#ff7f0e", "PyTorch LBFGS": "#d62728",
    "torch-levenberg-marquardt": "#e99696", "pyrenn": "#8c564b", "optimistix LM": "#9467bd",
    "SciPy MINPACK": "#111111",
}  # fmt: skip


def envelope(points: list[tuple[int, float, float]]) -> list[tuple[float, float]]:
    """Return the points that no quicker one has reached before, by time.

    Examples
    --------
    >>> envelope([(1, 1.0, 0.5), (2, 2.0, 0.6), (4, 3.0, 0.1)])
    [(1.0, 0.5), (3.0, 0.1)]
    """
    best: list[tuple[float, float]] = []
    for _, seconds, loss in sorted(points, key=lambda point: point[1]):
        if np.isfinite(loss) and (not best or loss < best[-1][1]):
            best.append((seconds, loss))
    return best


def seconds_to(points: list[tuple[int, float, float]], loss: float) -> float | None:
    """Return how long it took to get to a loss; None if that was never reached.

    Examples
    --------
    >>> seconds_to([(1, 1.0, 0.5), (2, 2.0, 0.3)], 0.4)
    2.0
    """
    return next((seconds for seconds, value in envelope(points) if value <= loss), None)


def plot(found: dict[str, Any], stem: Path) -> list[Path]:
    """Write the plots as SVG and PNG; return their paths."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "tinynet"
    problems = found["problems"]
    columns = min(3, len(problems))
    rows = -(-len(problems) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows + 0.9), layout="constrained")
    lines: dict[str, Any] = {}
    for number, (name, case) in enumerate(problems.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        for runner, curve in case["curves"].items():
            points = envelope(curve["points"])
            if points:
                style = "-" if runner.startswith("tinynet") else "--"
                (lines[runner],) = axes.plot(*zip(*points, strict=True), style, color=COLORS[runner], lw=1.6, ms=3)
        axes.set(xscale="log", yscale="log", title=f"{name}, {case['network']}, {case['samples']:,} samples")
        axes.title.set_fontsize(9)
        axes.tick_params(which="both", labelsize=7)
        axes.grid(alpha=0.2)
        if number % columns == 0:
            axes.set_ylabel("mean squared error", fontsize=8)
        if number >= len(problems) - columns:
            axes.set_xlabel("seconds of one thread", fontsize=8)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    written = []
    for ending in (".svg", ".png"):
        path = stem.with_name(f"{stem.name}{ending}")
        with atomic_open(path) as file:
            figure.savefig(file, format=ending[1:], dpi=150, metadata={"Date": None} if ending == ".svg" else {})
        written.append(path)
    return written
