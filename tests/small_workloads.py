"""Benchmark workloads that take no time, for the tests of the suite."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.workloads import WORKLOADS, Workload

SIGMOID = replace(WORKLOADS["seed2-10"], n_samples=40, epochs=3)
CLASSES = Workload(
    id="classes",
    title="classes",
    sizes=(784, 6, 10),
    hidden="relu",
    loss="cross_entropy",
    optimizer="adam",
    learning_rate=0.001,
    data="images",
    n_samples=70,
    batch_size=32,
    epochs=3,
    shuffle=True,
)
MANY = replace(WORKLOADS["sweep-10"], n_samples=25, n_models=3, epochs=4)
