"""The plot of a run over ranks: the gain that was measured, that of the model, and what a cluster would have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ranks.model import ETHERNET, INFINIBAND, Line, gain, pays_from
from tinynet.exchange.atomic import atomic_open

COLORS = {"small": "#1f77b4", "middling": "#d62728"}
NODES = 100
BYTES = 4


def lines(found: dict[str, Any]) -> dict[str, tuple[Line, Line, float]]:
    """Return, by network, an update alone, one of a rank without its message, and the bytes of a message."""
    from benchmarks.ranks.__main__ import NETWORKS, network

    one, result = found["runs"][0], {}
    for name, widths in NETWORKS.items():
        fitted = [_line(one[what][name]) for what in ("alone", "updates")]
        result[name] = fitted[0], fitted[1], float(BYTES * network(widths).n_parameters)
    return result


def _line(points: dict[str, float]) -> Line:
    return Line.through([float(size) for size in points], list(points.values()))


def message_of(run: dict[str, Any], n_bytes: float) -> float:
    """Return the seconds of a message between the ranks of a run, on a line between the sizes that were measured."""
    sizes = [BYTES * float(size) for size in run["messages"]]
    return float(np.interp(n_bytes, sizes, list(run["messages"].values())))


def sentences(found: dict[str, Any]) -> list[str]:
    """Say from which batch on ranks pay, here and on a cluster."""
    told = []
    for name, (alone, beside, n_bytes) in lines(found).items():
        told.append(f"{name}: alone {_micro(alone)}; of a rank {_micro(beside)}; {n_bytes / 1000:.0f} kB a message")
        for run in found["runs"][1:]:
            least = pays_from(alone, beside, run["ranks"], message_of(run, n_bytes), 1 / run["ranks"])
            told.append(f"  {run['ranks']} ranks here are quicker than one from batches of {_batch(least)}")
        for wires in (ETHERNET, INFINIBAND):
            message = wires.allreduce(n_bytes, NODES)
            batches = [pays_from(alone, beside, NODES, message, share) for share in (1 / NODES, 0.5, 0.8)]
            shown = ", ".join(
                f"{what} from {_batch(batch)}"
                for what, batch in zip(("quicker", "50 times", "80 times"), batches, strict=True)
            )
            told.append(f"  {NODES} nodes, {wires.name}, estimated: {shown} samples in a batch")
    return told


def _micro(line: Line) -> str:
    return f"{1e6 * line.fixed:.1f} us + {1e9 * line.each:.0f} ns a sample"


def _batch(batch: float) -> str:
    return "never" if math.isinf(batch) else f"{batch:,.0f}"


def plot(found: dict[str, Any], stem: Path) -> list[Path]:
    """Write the plot as SVG and PNG; return their paths."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "tinynet"
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    here, there = figure.subplots(1, 2)
    batches = np.geomspace(32, 1e6, 100)
    for name, (alone, beside, n_bytes) in lines(found).items():
        for run in found["runs"][1:]:
            message, ranks = message_of(run, n_bytes), run["ranks"]
            model = [gain(alone, beside, batch, ranks, message) for batch in batches]
            here.plot(batches, model, color=COLORS[name], lw=1.4, label=f"{name}, {ranks} ranks, model")
            sizes = [float(size) for size in run["updates"][name]]
            times = found["runs"][0]["alone"][name]
            gains = [times[size] / (seconds + message) for size, seconds in run["updates"][name].items()]
            here.plot(sizes, gains, "o", color=COLORS[name], ms=4, label=f"{name}, {ranks} ranks, measured")
        for wires, style in ((ETHERNET, "--"), (INFINIBAND, "-")):
            message = wires.allreduce(n_bytes, NODES)
            model = [gain(alone, beside, batch, NODES, message) for batch in 100 * batches]
            there.plot(100 * batches, model, style, color=COLORS[name], lw=1.4, label=f"{name}, {wires.name}")
    here.set(title="this machine", ylabel="times quicker than one process")
    there.set(title=f"{NODES} nodes, a rank on each: estimated")
    for axes in (here, there):
        axes.set(xscale="log", yscale="log", xlabel="samples in a batch")
        axes.axhline(1.0, color="#888888", lw=0.8)
        axes.grid(alpha=0.2)
        axes.legend(fontsize=7, frameon=False)
    written = []
    for ending in (".svg", ".png"):
        path = stem.with_name(f"{stem.name}{ending}")
        with atomic_open(path) as file:
            figure.savefig(file, format=ending[1:], dpi=150, metadata={"Date": None} if ending == ".svg" else {})
        written.append(path)
    return written
