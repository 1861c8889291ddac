"""What a step of Levenberg-Marquardt costs: of a hundred networks beside one, and beside the product it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.descent.problems import problem

MODELS, STEPS, REPEATS = 100, 100, 5


def _seconds(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _least(*works: Callable[[], Any]) -> list[float]:
    """Return the least seconds of each, measured in turn."""
    for work in works:
        work()
    return [min(times) for times in zip(*([_seconds(work) for work in works] for _ in range(REPEATS)), strict=True)]


def restarts() -> dict[str, float]:
    """Return the seconds of one network and of many, 2-12-1 on 400 samples, for as many steps."""
    import tinynet as tn

    case = problem("surface")
    net = tn.Sequential(tn.Linear(2, 12), tn.Tanh(), tn.Linear(12, 1), dtype="float64", seed=0)
    fit: dict[str, Any] = {
        "optimizer": tn.LevenbergMarquardt(min_gradient=0.0), "epochs": STEPS, "threads": 1
    }  # fmt: skip

    def alone() -> None:
        net.set_weights(case.parameters)
        net.fit(case.x, case.y, **fit)

    one, many = _least(alone, lambda: tn.Ensemble(net, MODELS).fit(case.x, case.y, **fit))
    return {"one": one, "many": many, "models": MODELS, "steps": STEPS}


def large_step() -> dict[str, float]:
    """Return the seconds of a step of 8-16-1 on 2,000 samples, and of the rank-k update (BLAS's dsyrk) alone."""
    from scipy.linalg.blas import dsyrk

    import tinynet as tn

    case, n_updates = problem("borehole"), 20
    net = tn.Sequential(tn.Linear(8, 16), tn.Tanh(), tn.Linear(16, 1), dtype="float64", seed=0)
    rows = np.asfortranarray(np.random.default_rng(0).normal(size=(net.n_parameters, len(case.x))))

    def train() -> None:
        net.set_weights(case.parameters)
        net.fit(case.x, case.y, optimizer=tn.LevenbergMarquardt(min_gradient=0.0), epochs=STEPS, threads=1)

    step, update = _least(train, lambda: [dsyrk(1.0, rows, lower=1) for _ in range(n_updates)])
    return {"step": step / STEPS, "rank-k update": update / n_updates}


def steps_measured() -> dict[str, dict[str, float]]:
    """Return both."""
    return {"restarts": restarts(), "large step": large_step()}
