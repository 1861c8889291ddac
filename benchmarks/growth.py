"""How cost grows with width, depth, batch and samples, and from where on another backend is the better one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any

import tinynet as tn
from benchmarks.measure import Effort, Report, per_epoch
from benchmarks.peers import PEERS
from benchmarks.records import Curve, Spread
from benchmarks.worker import Worker
from benchmarks.workloads import WORKLOADS, Workload

PEER_CONTENDERS = ("torch", "jax-scan")

_BASE = Workload(
    id="growth",
    title="tanh network, squared error, SGD, float32",
    sizes=(16, 32, 4),
    hidden="tanh",
    n_samples=4096,
    batch_size=32,
    epochs=1000,
)


@dataclass(frozen=True)
class Sweep:
    """A size that is varied, with all else held.

    Attributes
    ----------
    axis, unit : str
        What is varied, and what the time is taken of.
    sizes : tuple of int
    workload : callable
        Returns the workload of a size.
    units : callable
        Returns how many of the unit an epoch has.
    without : tuple of str
        Contenders that do not take part: those which would take minutes.
    """

    title: str
    axis: str
    unit: str
    sizes: tuple[int, ...]
    workload: Callable[[int], Workload]
    units: Callable[[Workload], int]
    without: tuple[str, ...] = ()


def _updates(workload: Workload) -> int:
    return workload.n_updates


SWEEPS: Mapping[str, Sweep] = MappingProxyType(
    {
        "width": Sweep(
            "16-w-w-4, batch 32", "width", "update", (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            lambda size: replace(_BASE, sizes=(16, size, size, 4), n_samples=1024), _updates,
        ),
        "depth": Sweep(
            "hidden layers of 32, batch 32", "hidden layers", "update", (1, 2, 4, 8, 16),
            lambda size: replace(_BASE, sizes=(16, *[32] * size, 4)), _updates,
        ),
        "batch": Sweep(
            "16-32-4", "batch size", "sample", (1, 4, 16, 64, 256, 1024, 4096),
            lambda size: replace(_BASE, batch_size=size), lambda workload: workload.n_visits,
        ),
        "samples": Sweep(
            "16-32-4, batch 32", "samples", "epoch", (32, 256, 2048, 16_384, 131_072),
            lambda size: replace(_BASE, n_samples=size), lambda _: 1,
        ),
        "models": Sweep(
            "4-5-3 at once, batch 10", "models", "epoch of all", (1, 10, 100, 1000, 10_000, 100_000),
            lambda size: replace(WORKLOADS["sweep-10"], n_samples=100, n_models=size), lambda _: 1,
            without=("numpy", "torch"),
        ),
    }
)  # fmt: skip


def contenders() -> list[str]:
    """Return who takes part: tinynet's backends that run here, then the peers that are installed."""
    backends = [name for name, problem in tn.available().items() if problem is None]
    return backends + [name for name in PEER_CONTENDERS if PEERS[name].missing() is None]


def measure_growth(
    sweep: str, names: Sequence[str], effort: Effort, threads: int, report: Report, most: int | None = None
) -> list[Curve]:
    """Run a sweep with each contender; the sizes run in the outer loop, so that all see the same state of the machine.

    Parameters
    ----------
    most : int, optional
        The largest size.
    """
    chosen = SWEEPS[sweep]
    curves = [Curve(sweep, name) for name in names if name not in chosen.without]
    for size in chosen.sizes:
        if most is not None and size > most:
            break
        workload = chosen.workload(size)
        for curve in curves:
            report(f"growth with {chosen.axis} {size}: {curve.contender}")
            peer = curve.contender in PEERS
            options: dict[str, Any] = {} if peer else {"backend": curve.contender}
            with Worker(curve.contender if peer else "tinynet", workload, threads, **options) as worker:
                seconds = per_epoch(worker, workload, effort)
            curve.sizes.append(size)
            curve.seconds.append([value / chosen.units(workload) for value in seconds])
    return curves


def crossovers(sizes: Sequence[int], a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return the sizes at which two curves cross, interpolated between the measured ones on logarithmic axes.

    Examples
    --------
    >>> crossovers([1, 100], [1.0, 100.0], [10.0, 10.0])
    [10.0]
    """
    gaps = [math.log(first / second) for first, second in zip(a, b, strict=True)]
    found = []
    for i in range(len(gaps) - 1):
        if gaps[i] * gaps[i + 1] < 0:
            share = gaps[i] / (gaps[i] - gaps[i + 1])
            found.append(round(math.exp((1 - share) * math.log(sizes[i]) + share * math.log(sizes[i + 1])), 6))
    return found


def advice(curves: Sequence[Curve]) -> list[str]:
    """Say for each sweep and each two of tinynet's backends which one to use from where on."""
    lines = []
    for sweep in dict.fromkeys(curve.sweep for curve in curves):
        backends = [curve for curve in curves if curve.sweep == sweep and curve.contender not in PEERS]
        for a, b in combinations(backends, 2):
            lines.append(f"{SWEEPS[sweep].title}, {SWEEPS[sweep].axis}: {_sentence(a, b, SWEEPS[sweep].axis)}")
    return lines


def _sentence(a: Curve, b: Curve, axis: str) -> str:
    times = [[Spread.of(samples).median for samples in curve.seconds] for curve in (a, b)]
    points = crossovers(a.sizes, *times)
    ratios = [first / second for first, second in zip(*times, strict=True)]
    names = (b.contender, a.contender) if ratios[0] > 1 else (a.contender, b.contender)
    if not points:
        factors = [max(ratio, 1 / ratio) for ratio in ratios]
        low, high = min(factors), max(factors)
        return f"{names[0]} beats {names[1]} from {a.sizes[0]} to {a.sizes[-1]}, {low:.1f} to {high:.1f} times."
    below = f"below {points[0]:.0f} use {names[0]}, above it {names[1]}"
    others = ", ".join(f"{point:.0f}" for point in points[1:])
    return below + (f" (they cross again at {others}: about the same there)." if others else ".")
