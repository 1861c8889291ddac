"""``python -m benchmarks.ranks``: measure updates and messages over ranks of MPI, write JSON and the plot.

Computing is measured in seconds of the processor, of the rank that needs most of them, without what is spent in MPI,
where ranks wait for each other in a loop; a message in seconds of the clock. So a machine that is busy otherwise hardly
shows. Every figure is the least of several runs, taken in turn. One thread a rank.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import tinynet as tn
from tinynet.backends.ranks.team import Team
from tinynet.cli.info import installed
from tinynet.exchange.atomic import atomic_open

NETWORKS = {"small": (16, 64, 64, 4), "middling": (64, 512, 512, 8)}
"""Widths of the layers."""

BATCHES = (64, 256, 1024, 4096, 16_384)
MESSAGES = (1 << 4, 1 << 10, 1 << 14, 1 << 18, 1 << 21)
"""Numbers (float32) in a message."""

BEGIN = Team.__init__
PACKAGES = ("numpy", "numba", "mpi4py", "mpich")
MOST_NUMBERS = 1 << 21
"""In the samples of a run."""


def network(widths: Sequence[int]) -> tn.Sequential:
    layers: list[tn.Layer] = []
    for n_in, n_out in pairwise(widths):
        layers += [tn.Linear(n_in, n_out), tn.Tanh()]
    return tn.Sequential(*layers[:-1], seed=0)


class Timed:
    """A communicator that counts the processor's time in its messages."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.seconds = comm, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.comm, name)
        if not callable(found):
            return found

        def timed(*arguments: Any, **keywords: Any) -> Any:
            before = time.process_time()
            try:
                return found(*arguments, **keywords)
            finally:
                self.seconds += time.process_time() - before

        return timed


class Updates:
    """Runs of a network with one size of batch, which all ranks take together; alone without ``comm``."""

    def __init__(self, widths: Sequence[int], batch: int, comm: Any) -> None:
        ranks, rank = (1, 0) if comm is None else (comm.size, comm.rank)
        # As many updates in an epoch as the memory allows: what an epoch takes besides them is not the question here.
        rows = min(max(16 * batch, 4096), MOST_NUMBERS // widths[0]) // ranks
        rng = np.random.default_rng(rank)
        self.x = rng.normal(size=(rows, widths[0])).astype(np.float32)
        self.y = rng.normal(size=(rows, widths[-1])).astype(np.float32)
        self.net = network(widths)
        self.epochs = max(1, 1024 // batch)
        self.n_updates = self.epochs * -(-rows * ranks // batch)
        self.call: dict[str, Any] = {"batch_size": batch, "optimizer": tn.SGD(1e-4), "threads": 1, "comm": comm}
        self.net.fit(self.x, self.y, epochs=1, **self.call)

    def seconds(self) -> float:
        """Return how long this rank computes for an update."""
        spent: list[Timed] = []

        def begin(team: Team, comm: Any, n_parts: int) -> None:
            BEGIN(team, comm, n_parts)
            team.comm = Timed(team.comm)
            spent.append(team.comm)

        start = time.process_time()
        with patch.object(Team, "__init__", begin):
            self.net.fit(self.x, self.y, epochs=self.epochs, **self.call)
        return (time.process_time() - start - sum(comm.seconds for comm in spent)) / self.n_updates


def per_message(comm: Any, size: int) -> float:
    """Return the seconds of the sum of so many numbers over all ranks."""
    from mpi4py import MPI

    numbers, times = np.zeros(size, np.float32), max(3, min(200, (1 << 14) // size))
    comm.Barrier()
    start = time.perf_counter()
    for _ in range(times):
        comm.Allreduce(MPI.IN_PLACE, numbers)
    return (time.perf_counter() - start) / times


def measure(rounds: int) -> None:
    """Measure on all ranks; print what the first one found, as JSON."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    kinds = {"updates": comm} | ({"alone": None} if comm.size == 1 else {})
    found: dict[str, Any] = {"ranks": comm.size, "messages": {}}
    found |= {kind: {name: {} for name in NETWORKS} for kind in kinds}
    runs = [
        (found[kind][name], batch, Updates(widths, batch, who))
        for name, widths in NETWORKS.items()
        for batch in BATCHES
        for kind, who in kinds.items()
    ]
    for _ in range(rounds):
        for size in MESSAGES:
            note(found["messages"], size, per_message(comm, size))
        for place, batch, updates in runs:
            note(place, batch, comm.allreduce(updates.seconds(), MPI.MAX))
    if comm.rank == 0:
        print(json.dumps(found), flush=True)


def note(found: dict[str, float], size: int, seconds: float) -> None:
    """Keep the least."""
    found[str(size)] = min(found.get(str(size), seconds), seconds)


def over(ranks: int, rounds: int, mpiexec: str) -> dict[str, Any]:
    """Return what so many ranks measure."""
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "benchmarks.ranks"]
    done = subprocess.run([*command, "--rank", "--rounds", str(rounds)], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("--out", default="ranks.json", help="the results; the plot goes beside them (ranks.json)")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2], help="how many, beside one (2)")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each, of which the least counts (20)")
    parser.add_argument("--mpiexec", default=str(Path(sys.executable).with_name("mpiexec")), help="what starts ranks")
    parser.add_argument("--plot", action="store_true", help="draw what is in --out, and measure nothing")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank:
        measure(options.rounds)
        return 0
    from benchmarks.ranks.plot import plot, sentences

    path = Path(options.out)
    if not options.plot:
        from benchmarks.records import machine

        runs = [over(ranks, options.rounds, options.mpiexec) for ranks in (1, *options.ranks)]
        found = {"machine": machine(), "versions": {name: installed(name) for name in PACKAGES}, "runs": runs}
        with atomic_open(path) as file:
            file.write(json.dumps(found, indent=1).encode())
    found = json.loads(path.read_text())
    print("\n".join(sentences(found)))
    for written in plot(found, path.with_suffix("")):
        print(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
