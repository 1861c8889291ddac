"""``python -m benchmarks.sweep_rate``: how many networks of a sweep are trained a second, by one worker and by several.

The share is that of what the workers could reach at most: their number times the rate of one, a process that trains
alone. One and all of them run in turn, all of them warm. They need as many idle cores as workers, or a quota
(``--quota 0.2``, on Linux, as root): then every worker gets that part of one and the same core, and no more, so that
none waits for another or is slowed by it, and what the share lacks is what the sweep loses by dividing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import tinynet as tn
from benchmarks.quota import NoQuota, Quota, quota
from benchmarks.records import machine
from tinynet.cli.info import installed
from tinynet.exchange.atomic import atomic_open

PACKAGES = ("joblib", "distributed", "mpi4py", "mpich", "openmpi")


def build() -> tn.Sequential:
    return tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 3))


@dataclass(frozen=True)
class Work:
    """What is to be trained, by how many workers, and the part of a core that each has."""

    workers: int
    group_size: int
    epochs: int
    quota: Quota | None

    def rate(self, n_nets: int, **how: Any) -> float:
        """Return how many nets are trained a second."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(150, 4)).astype(np.float32)
        y = rng.normal(size=(150, 3)).astype(np.float32)
        start = time.perf_counter()
        call = {"epochs": self.epochs, "batch_size": 10, "group_size": self.group_size, "threads": 1}
        tn.sweep(build, {}, x, y, seeds=n_nets, **call, **how)
        return n_nets / (time.perf_counter() - start)

    @property
    def warm(self) -> int:
        """Enough nets for every worker to get a group while others begin."""
        return 4 * self.workers * self.group_size


def processes(work: Work, n_nets: int) -> float:
    """Workers are processes of joblib's on this machine."""
    import joblib

    begin = {} if work.quota is None else {"initializer": work.quota}
    with joblib.parallel_config(backend="loky", **begin):
        work.rate(work.warm, n_jobs=work.workers)
        return work.rate(n_nets, n_jobs=work.workers)


HOUSEKEEPING = (
    "distributed.admin.system-monitor.interval",
    "distributed.admin.tick.interval",
    "distributed.worker.profile.interval",
)
"""How often a worker of Dask looks after itself, by the clock: of a core some 3 %."""


def cluster(work: Work, n_nets: int) -> float:
    """Workers are those of a Dask cluster on this machine."""
    import dask
    import joblib
    from dask.utils import parse_timedelta
    from distributed import Client, LocalCluster

    # A part of a core is a slower core: what goes by the clock would take more of it than of a whole one.
    part = 1.0 if work.quota is None else work.quota.part
    slower = {name: f"{parse_timedelta(dask.config.get(name)) / part}s" for name in HOUSEKEEPING}
    settings = {"n_workers": work.workers, "threads_per_worker": 1, "dashboard_address": None}
    with dask.config.set(slower), LocalCluster(**settings) as local, Client(local) as client:
        if work.quota is not None:
            client.run(work.quota)
        with joblib.parallel_config(backend="dask"):
            work.rate(work.warm, n_jobs=work.workers)
            return work.rate(n_nets, n_jobs=work.workers)


def mpi(work: Work, n_nets: int) -> float:
    """Workers are ranks of MPI."""
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    return started(work, n_nets, mpiexec, "-n", str(work.workers))


def started(work: Work, n_nets: int, *mpiexec: str) -> float:
    """Return the rate of a process of its own, or of ranks where it is started by ``mpiexec``."""
    given = json.dumps(asdict(work) | {"n_nets": n_nets, "ranks": bool(mpiexec)})
    command = [*mpiexec, sys.executable, "-m", "benchmarks.sweep_rate", "--started", given]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])


def alone_or_rank(n_nets: int, ranks: bool, **given: Any) -> None:
    """Be the process that was started, or one of them; print the rate."""
    held = given.pop("quota")
    work = Work(**given, quota=None if held is None else Quota(**held))
    if work.quota is not None:
        work.quota()
    how: dict[str, Any] = {"n_jobs": 1}
    if ranks:
        from mpi4py import MPI

        how = {"comm": MPI.COMM_WORLD}
    work.rate(work.workers * work.group_size, **how)
    found = work.rate(n_nets, **how)
    if not ranks or how["comm"].rank == 0:
        print(found, flush=True)


WORKERS = {"processes": processes, "dask": cluster, "mpi": mpi}


def measure(work: Work, over: Sequence[str], n_nets: int, rounds: int) -> dict[str, list[float]]:
    """Return the rates of one worker, and of all of each kind, in turn; none is there while others work."""
    found: dict[str, list[float]] = {"one": []} | {name: [] for name in over}
    for _ in range(rounds):
        found["one"].append(started(work, n_nets // work.workers))
        for name in over:
            found[name].append(WORKERS[name](work, n_nets))
        print(", ".join(f"{name} {rates[-1]:,.0f}" for name, rates in found.items()), "nets a second", flush=True)
    return found


def shares(found: dict[str, list[float]], workers: int) -> dict[str, list[float]]:
    """Return by the kind of workers, and for each round, the share that they reach.

    Examples
    --------
    >>> shares({"one": [10.0, 8.0], "mpi": [36.0, 32.0]}, 4)
    {'mpi': [0.9, 1.0]}
    """
    return {
        name: [rate / (workers * one) for rate, one in zip(rates, found["one"], strict=True)]
        for name, rates in found.items()
        if name != "one"
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep_rate", description=__doc__)
    parser.add_argument("--nets", type=int, default=4000, help="networks (4000)")
    parser.add_argument("--workers", type=int, default=2, help="how many (2)")
    parser.add_argument(
        "--over", nargs="+", choices=WORKERS, default=["processes"], help="what workers are (processes)"
    )
    parser.add_argument("--group-size", type=int, default=500, help="networks that are trained together (500)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over 150 samples (20)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn (3)")
    parser.add_argument("--quota", type=float, help="the part of one core that each worker has")
    parser.add_argument("--out", help="a JSON file for the results")
    parser.add_argument("--started", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.started is not None:
        alone_or_rank(**options.started)
        return 0
    if options.quota is not None and not 0.01 <= options.quota <= 0.95 / options.workers:
        parser.error(f"--quota expects 0.01 to {0.95 / options.workers:.2f} for so many workers; got {options.quota}")
    with ExitStack() as stack:
        try:
            held = None if options.quota is None else stack.enter_context(quota(options.quota))
        except NoQuota as error:
            parser.error(str(error))
        work = Work(options.workers, options.group_size, options.epochs, held)
        found = measure(work, options.over, options.nets, options.rounds)
    for name, reached in shares(found, options.workers).items():
        print(
            f"{name}: {median(reached):.1%} of {options.workers} times one worker's rate, {min(reached):.1%} at least"
        )
    if options.out is not None:
        settings = {name: value for name, value in vars(options).items() if name not in ("out", "started")}
        versions = {name: version for name in PACKAGES if (version := installed(name)) is not None}
        results = {"machine": machine(), "versions": versions, "settings": settings, "nets_per_second": found}
        with atomic_open(options.out) as file:
            file.write(json.dumps(results, indent=1).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
