"""A sweep spread over the machines of a cluster, by joblib and Dask. Here the cluster is this machine.

    python examples/sweep_on_a_cluster.py --workers 2
    python examples/sweep_on_a_cluster.py --scheduler tcp://head-node:8786      # a cluster that is running

It needs: pip install joblib "dask[distributed]". Every worker needs tinynet, too. On a machine with a queue, start the
workers by dask-jobqueue (``SLURMCluster`` and its kin) in place of ``LocalCluster``; nothing else changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import joblib
import numpy as np
from distributed import Client, LocalCluster

import tinynet as tn

SPACE = {
    "width": [4, 8, 16],
    "depth": [1, 2],
    "learning_rate": np.geomspace(1e-3, 1e-1, 5),
}


def build(width: int, depth: int) -> tn.Sequential:
    layers: list[tn.Layer] = []
    for i in range(depth):
        layers += [tn.Linear(width if i else 2, width), tn.Tanh()]
    return tn.Sequential(*layers, tn.Linear(width, 1))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sweep over a cluster.")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine (2)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, in place of this machine")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each setting (10)")
    parser.add_argument("--epochs", type=int, default=100, help="passes over the data (100)")
    parser.add_argument("--folder", help="keep finished groups there; the same call goes on after an interruption")
    args = parser.parse_args(argv)

    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 2))
    y = np.sin(x[:, 0]) * np.cos(2 * x[:, 1]) + rng.normal(0, 0.05, 400)

    # One thread for each worker: tinynet's own threads are set by threads=, and share what a worker has.
    cluster = args.scheduler or LocalCluster(n_workers=args.workers, threads_per_worker=1, dashboard_address=None)
    with Client(cluster) as client, joblib.parallel_config(backend="dask"):
        print(f"workers: {len(client.scheduler_info(n_workers=-1)['workers'])}")
        result = tn.sweep(
            build,
            SPACE,
            x,
            y,
            validation_split=0.25,
            seeds=args.seeds,
            optimizer="adam",
            epochs=args.epochs,
            folder=args.folder,
            n_jobs=-1,
            threads=1,
            # Each architecture is a group of its own; smaller groups would spread over more workers.
            group_size=256,
            verbose=1,
        )
    if not args.scheduler:
        cluster.close()
    print(result)


if __name__ == "__main__":
    main()
