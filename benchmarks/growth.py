"""How cost grows with width, depth, batch and samples, and from where on another backend is the better one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

import tinynet as tn
from benchmarks.measure import Effort, Report, per_epoch
from benchmarks.peers import PEERS
from benchmarks.records import Curve, Spread
from benchmarks.worker import PeerFailed, Worker
from benchmarks.workloads import WORKLOADS, Workload

PEER_CONTENDERS = ("torch", "jax-scan")
ENVIRONMENT = "TINYNET_GPU_TIER"
TIER = "cupy, "
"""What the names of contenders begin with that are one tier of the GPU backend."""

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


def contenders(device: str = "cpu") -> list[str]:
    """Return who takes part: tinynet's backends that run here, the tiers of a GPU, the peers that are installed."""
    backends = [name for name, problem in tn.available().items() if problem is None]
    if device == "gpu":
        from tinynet.backends.cupy.tiers import NAMES  # It imports CuPy.

        backends += [f"{TIER}{name}" for name in NAMES]
    return backends + [name for name in PEER_CONTENDERS if PEERS[name].missing(device) is None]


def measure_growth(
    sweep: str,
    names: Sequence[str],
    effort: Effort,
    threads: int,
    report: Report,
    most: int | None = None,
    device: str = "cpu",
) -> list[Curve]:
    """Run a sweep with each contender; the sizes run in the outer loop, so that all see the same state of the machine.

    A tier of the GPU backend takes part at the sizes that it can train.

    Parameters
    ----------
    most : int, optional
        The largest size.
    device : {"cpu", "gpu"}
        Where the peers compute.
    """
    chosen = SWEEPS[sweep]
    curves = [Curve(sweep, name) for name in names if name not in chosen.without]
    for size in chosen.sizes:
        if most is not None and size > most:
            break
        workload = chosen.workload(size)
        for curve in curves:
            report(f"growth with {chosen.axis} {size}: {curve.contender}")
            try:
                with _worker(curve.contender, workload, threads, device) as worker:
                    seconds = per_epoch(worker, workload, effort)
            except PeerFailed as error:
                if not curve.contender.startswith(TIER) or ENVIRONMENT not in str(error):
                    raise
                continue
            curve.sizes.append(size)
            curve.seconds.append([value / chosen.units(workload) for value in seconds])
    return curves


def _worker(contender: str, workload: Workload, threads: int, device: str) -> Worker:
    """Return the process of a contender."""
    if contender in PEERS:
        return Worker(contender, workload, threads, device=device)
    if contender.startswith(TIER):
        environment = {ENVIRONMENT: contender.removeprefix(TIER)}
        return Worker("tinynet", workload, threads, environment, device="gpu", backend="gpu")
    return Worker("tinynet", workload, threads, device="gpu" if contender == "cupy" else "cpu", backend=contender)


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
    medians = [
        {size: Spread.of(samples).median for size, samples in zip(curve.sizes, curve.seconds, strict=True)}
        for curve in (a, b)
    ]
    sizes = [size for size in a.sizes if size in medians[1]]
    if not sizes:
        return f"{a.contender} and {b.contender} train no common size."
    times = [[found[size] for size in sizes] for found in medians]
    points = crossovers(sizes, *times)
    ratios = [first / second for first, second in zip(*times, strict=True)]
    names = (b.contender, a.contender) if ratios[0] > 1 else (a.contender, b.contender)
    if not points:
        factors = [max(ratio, 1 / ratio) for ratio in ratios]
        low, high = min(factors), max(factors)
        return f"{names[0]} beats {names[1]} from {sizes[0]} to {sizes[-1]}, {low:.1f} to {high:.1f} times."
    below = f"below {points[0]:.0f} use {names[0]}, above it {names[1]}"
    others = ", ".join(f"{point:.0f}" for point in points[1:])
    return below + (f" (they cross again at {others}: about the same there)." if others else ".")
