"""tinynet, called as its users call it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinynet as tn
from benchmarks.problem import Problem, order_generator
from benchmarks.workloads import Workload
from tinynet.backends.base import Backend

ACTIVATIONS = {"sigmoid": tn.Sigmoid, "tanh": tn.Tanh, "relu": tn.ReLU}
LOSSES = {
    "sum_squares": lambda: tn.MeanSquaredError(reduction="sum"),
    "mean_squares": tn.MeanSquaredError,
    "cross_entropy": tn.CrossEntropy,
}
OPTIMIZERS = {"sgd": tn.SGD, "adam": tn.Adam}


def network(workload: Workload, backend: str | None) -> tn.Sequential:
    """Return the network of a workload."""
    layers: list[tn.Layer] = []
    last = len(workload.sizes) - 2
    for place in range(last + 1):
        layers.append(tn.Linear(workload.sizes[place], workload.sizes[place + 1]))
        kind = workload.output if place == last else workload.hidden
        if kind != "identity":
            layers.append(ACTIVATIONS[kind]())
    return tn.Sequential(*layers, dtype=workload.dtype, seed=0, backend=backend, precision=workload.precision)


def lying(problem: Problem, backend: Backend) -> tuple[Any, Any]:
    """Return the samples and targets where everyone has them before the clock starts: on a GPU in its memory."""
    return backend.asarray(problem.x), backend.asarray(problem.y)


class Train:
    """``net.fit``, with the order of the samples drawn inside."""

    def __init__(self, problem: Problem, threads: int, backend: str | None = None) -> None:
        self.problem = problem
        self.net = network(problem.workload, backend)
        self.x, self.y = lying(problem, self.net.backend)

    def reset(self) -> None:
        """Take the initial weights, and the generator that draws everyone's orders."""
        self.net.set_flat_parameters(self.problem.parameters)
        self.net.rng = order_generator()

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload = self.problem.workload
        self.net.fit(
            self.x,
            self.y,
            loss=LOSSES[workload.loss](),
            optimizer=OPTIMIZERS[workload.optimizer](workload.learning_rate),
            epochs=n,
            batch_size=workload.rows,
            shuffle=workload.shuffle,
            drop_last=True,
        )

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        return self.net.flat_parameters()

    def about(self) -> str:
        """Tell how the training ran."""
        plan = "" if self.net.history is None else self.net.history.plan
        return f"{self.net.backend.name}, {plan}"


class TrainMany:
    """``Ensemble.fit``, each model with a learning rate of its own."""

    def __init__(self, problem: Problem, threads: int, backend: str | None = None) -> None:
        self.problem = problem
        self.models = tn.Ensemble(network(problem.workload, backend), problem.workload.n_models)
        self.x, self.y = lying(problem, self.models.backend)

    def reset(self) -> None:
        """Take the initial weights."""
        state, backend = self.models.state, self.models.backend
        state.parameters[...] = backend.asarray(self.problem.parameters)

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload = self.problem.workload
        self.models.fit(
            self.x,
            self.y,
            loss=LOSSES[workload.loss](),
            optimizer=OPTIMIZERS[workload.optimizer](self.problem.rates),
            epochs=n,
            batch_size=workload.rows,
            shuffle=False,
            drop_last=True,
        )

    def result(self) -> NDArray[Any]:
        """Return the trained parameters, (n_models, n_parameters)."""
        return self.models.backend.to_numpy(self.models.state.parameters)

    def about(self) -> str:
        """Tell how the training ran."""
        plan = "" if self.models.history is None else self.models.history.plan
        return f"{self.models.backend.name}, {plan}"


class Predict:
    """``net.predict`` of one sample."""

    def __init__(self, problem: Problem, threads: int, backend: str | None = None) -> None:
        self.net = network(problem.workload, backend)
        self.net.set_flat_parameters(problem.parameters)
        self.x = problem.x[:1]
        self.out: NDArray[Any] = np.empty(0)

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Predict ``n`` times."""
        predict, x = self.net.predict, self.x
        for _ in range(n):
            self.out = predict(x)

    def result(self) -> NDArray[Any]:
        """Return the last prediction."""
        return self.out

    def about(self) -> str:
        """Tell what computed."""
        return self.net.backend.name
