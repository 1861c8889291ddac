"""``python -m benchmarks.sweep_rate``: how many networks of a sweep are trained a second, by one worker and by several.

A sweep of 100,000 nets over four workers, 1,000 a group, is ``--nets 100000 --workers 4 --group-size 1000``; it needs
as many idle cores. One worker and all of them run in turn in one process pool each, and the share is that of what the
workers could be at most: their number times the rate of one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median

import joblib
import numpy as np

import tinynet as tn


def build() -> tn.Sequential:
    return tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 3))


def rate(n_nets: int, workers: int, group_size: int, epochs: int) -> float:
    """Return how many nets are trained a second by so many processes, which are there and warm already."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4)).astype(np.float32)
    y = rng.normal(size=(150, 3)).astype(np.float32)
    call = {"epochs": epochs, "batch_size": 10, "group_size": group_size, "threads": 1, "n_jobs": workers}
    with joblib.parallel_config(backend="loky"):
        tn.sweep(build, {}, x, y, seeds=workers * group_size, **call)
        start = time.perf_counter()
        tn.sweep(build, {}, x, y, seeds=n_nets, **call)
    return n_nets / (time.perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep_rate", description=__doc__)
    parser.add_argument("--nets", type=int, default=4000, help="networks (4000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--group-size", type=int, default=500, help="networks that are trained together (500)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over 150 samples (20)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, in turn (3)")
    options = parser.parse_args(arguments)
    shares = []
    for _ in range(options.pairs):
        one = rate(options.nets // options.workers, 1, options.group_size, options.epochs)
        all_of_them = rate(options.nets, options.workers, options.group_size, options.epochs)
        shares.append(all_of_them / (options.workers * one))
        print(f"one worker {one:,.0f} nets a second, {options.workers} workers {all_of_them:,.0f}: {shares[-1]:.0%}")
    print(f"median: {median(shares):.0%} of {options.workers} times one worker's rate")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
