"""How things are measured: two workers in turn, from the same weights, for the same number of updates."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.peers import PEERS, Peer
from benchmarks.problem import Problem, difference, problem_of
from benchmarks.records import Comparison, Record
from benchmarks.worker import PeerFailed, Worker
from benchmarks.workloads import Workload

Report = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much time goes into a figure.

    Attributes
    ----------
    pairs : int
        Runs on each side, after a warm-up.
    seconds : float
        A run has as many epochs as fit into this time, at least one and at most the workload's.
    """

    pairs: int = 5
    seconds: float = 1.0


def epochs_within(workload: Workload, seconds_per_epoch: float, seconds: float) -> int:
    """Return how many epochs a run has.

    Examples
    --------
    >>> from benchmarks.workloads import WORKLOADS
    >>> [epochs_within(WORKLOADS["seed2-1"], cost, 1.0) for cost in (10.0, 0.01, 1e-6)]
    [1, 100, 400]
    """
    return max(1, min(workload.epochs, int(seconds / max(seconds_per_epoch, 1e-9))))


def measure(
    workload: Workload,
    peers: Sequence[str],
    threads: int,
    effort: Effort,
    backend: str | None,
    report: Report,
    device: str = "cpu",
) -> Record:
    """Run a workload with tinynet, and with each peer in turn with tinynet.

    Parameters
    ----------
    backend : str or None
        Of tinynet.
    device : {"cpu", "gpu"}
        Where that computes, and where the peers shall.

    Raises
    ------
    PeerFailed
        If tinynet itself fails; what happens to a peer is part of the record.
    """
    problem = problem_of(workload)
    with Worker("tinynet", workload, threads, device=device, backend=backend) as tinynet:
        first = tinynet.run(1)
        n = epochs_within(workload, tinynet.run(1), effort.seconds)
        tinynet.run(n)
        seconds = [tinynet.run(n) for _ in range(effort.pairs)]
        record = Record(
            workload=workload,
            threads=threads,
            source=tinynet.source,
            about=tinynet.about(),
            epochs=n,
            seconds=seconds,
            import_seconds=tinynet.import_seconds,
            prepare_seconds=tinynet.prepare_seconds,
            first_seconds=first,
            peak_bytes=tinynet.peak_bytes(),
        )
        for name in peers:
            report(f"{workload.id}: {PEERS[name].title}")
            record.comparisons.append(_against(tinynet, PEERS[name], problem, threads, effort, device))
    return record


def _against(tinynet: Worker, peer: Peer, problem: Problem, threads: int, effort: Effort, device: str) -> Comparison:
    """Compare with a peer, or tell why that cannot be."""
    for status, reason in (("missing", peer.missing(device)), ("unable", peer.unable(problem.workload, device))):
        if reason is not None:
            return Comparison(peer.name, peer.title, status, reason)
    try:
        with Worker(peer.name, problem.workload, threads, device=device) as other:
            return _in_turn(tinynet, other, peer, problem, effort)
    except PeerFailed as error:
        if not _alive(tinynet):
            raise
        return Comparison(peer.name, peer.title, "failed", str(error))


def _alive(worker: Worker) -> bool:
    """Tell whether a worker still answers."""
    try:
        worker.about()
    except (PeerFailed, OSError):
        return False
    return True


def _in_turn(tinynet: Worker, other: Worker, peer: Peer, problem: Problem, effort: Effort) -> Comparison:
    workload = problem.workload
    first = other.run(1)
    n = epochs_within(workload, other.run(1), effort.seconds)
    tinynet.run(n), other.run(n)
    apart = _difference(problem, tinynet, other)
    pairs = [(tinynet.run(n), other.run(n)) for _ in range(effort.pairs)]
    return Comparison(
        peer.name,
        peer.title,
        "measured",
        other.about(),
        epochs=n,
        tinynet_seconds=[a for a, _ in pairs],
        peer_seconds=[b for _, b in pairs],
        difference=apart,
        same=None if apart is None else apart <= workload.tolerance,
        import_seconds=other.import_seconds,
        prepare_seconds=other.prepare_seconds,
        first_seconds=first,
        peak_bytes=other.peak_bytes(),
    )


def _difference(problem: Problem, tinynet: Worker, other: Worker) -> float | None:
    theirs = other.result()
    return difference(problem, tinynet.result(), theirs) if theirs.size else None


def copy_bandwidth(device: str = "cpu") -> list[float]:
    """Return the bytes that a large copy in the memory of a device reads and writes in a second, a few times."""
    if device == "gpu":
        from benchmarks.peers import gpu_floor

        return gpu_floor.copy_bandwidth()
    return host_bandwidth()


def host_bandwidth(n_bytes: int = 1 << 27, repeats: int = 5) -> list[float]:
    """Return the bytes that a large copy reads and writes in a second, once for each repeat.

    Examples
    --------
    >>> min(host_bandwidth(1 << 20, repeats=2)) > 0
    True
    """
    source = np.ones(n_bytes // 8)
    target = np.zeros_like(source)
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        np.copyto(target, source)
        rates.append(2 * source.nbytes / (time.perf_counter() - started))
    return rates


def heading(workload: str, threads: int, title: str) -> str:
    """Return what a line of the output begins with."""
    return f"{workload:<18} {threads} thread{'s' * (threads > 1):<2}{title:<28}"


def own_sentence(record: Record) -> str:
    """Say in a line how tinynet did."""
    workload, spread = record.workload, record.per_update.scaled(1e6)
    time = f"{spread.median:8.3g} us for each {workload.unit} ({spread.least:.3g} to {spread.most:.3g})"
    return f"{heading(workload.id, record.threads, 'tinynet')}{time}; {record.about}"


def sentence(record: Record, comparison: Comparison) -> str:
    """Say in a line how a comparison went."""
    where = heading(record.workload.id, record.threads, comparison.title)
    if comparison.status != "measured":
        return f"{where}{comparison.status}: {comparison.note.strip().splitlines()[-1]}"
    ratio = comparison.ratio
    if comparison.peer == "floor":
        return f"{where}{ratio.median:8.1%} of the limit ({ratio.least:.1%} to {ratio.most:.1%})"
    ending = "same result" if comparison.same else f"DIFFERENT RESULT, by {comparison.difference:.1e}"
    return f"{where}{ratio.median:8.2f} x tinynet's time ({ratio.least:.2f} to {ratio.most:.2f}), {ending}"


class Progress:
    """What is being measured, on a line of its own that is written over; nothing where nobody looks."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps, self.step, self.shown = n_steps, 0, sys.stderr.isatty()
        self.started = time.monotonic()

    def __call__(self, what: str) -> None:
        """Show what is being measured."""
        if self.shown:
            elapsed = time.monotonic() - self.started
            sys.stderr.write(f"\r\x1b[K[{self.step + 1}/{self.n_steps}, {elapsed:.0f} s] {what}")
            sys.stderr.flush()

    def say(self, line: str) -> None:
        """Print a line for good."""
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        print(line, flush=True)

    def done(self) -> None:
        """Go to the next step."""
        self.step += 1


def per_epoch(worker: Worker, workload: Workload, effort: Effort) -> list[float]:
    """Return the seconds of one epoch, once for each run, after a warm-up."""
    worker.run(1)
    n = epochs_within(workload, median([worker.run(1) for _ in range(3)]), effort.seconds)
    worker.run(n)
    return [worker.run(n) / n for _ in range(effort.pairs)]
