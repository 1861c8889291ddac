"""JAX: a jitted step called for each batch, and whole epochs as one jitted ``lax.scan``."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from benchmarks.problem import Problem, split
from benchmarks.workloads import Workload

ACTIVATIONS = {"identity": lambda z: z, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}
MATMUL_PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32", "bf16": "bfloat16"}
LOG_BETA1, LOG_BETA2 = math.log(BETA1), math.log(BETA2)


def forward(workload: Workload, parameters: Any, x: Any) -> Any:
    """Return the output of the network."""
    *inner, (w, b) = parameters
    for w_inner, b_inner in inner:
        x = ACTIVATIONS[workload.hidden](x @ w_inner + b_inner)
    return ACTIVATIONS[workload.output](x @ w + b)


def loss_of(workload: Workload, parameters: Any, x: Any, y: Any) -> Any:
    """Return the loss of a batch."""
    prediction = forward(workload, parameters, x)
    if workload.loss == "cross_entropy":
        logs = jax.nn.log_softmax(prediction)
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()
    squares = (prediction - y) ** 2
    return squares.sum() if workload.loss == "sum_squares" else squares.mean()


def update(workload: Workload, state: Any, x: Any, y: Any, rate: Any = None) -> tuple[Any, Any]:
    """Return the state ``(parameters, m, v, step)`` after a batch, and the loss of the batch."""
    parameters, m, v, step = state
    loss, g = jax.value_and_grad(partial(loss_of, workload))(parameters, x, y)
    rate = workload.learning_rate if rate is None else rate
    if workload.optimizer == "sgd":
        return (jax.tree.map(lambda p, g: p - rate * g, parameters, g), m, v, step + 1), loss
    step = step + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    # 1 - beta**step, without the cancellation that float32 would suffer in the first steps.
    corrected, root = rate / -jnp.expm1(step * LOG_BETA1), jnp.sqrt(-jnp.expm1(step * LOG_BETA2))
    moved = jax.tree.map(lambda p, m, v: p - corrected * m / (jnp.sqrt(v) / root + EPSILON), parameters, m, v)
    return (moved, m, v, step), loss


class _Train:
    """What both ways share: the data on the device, and the state."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        jax.config.update("jax_platforms", PLATFORMS[device])
        jax.config.update("jax_enable_x64", problem.workload.dtype == "float64")
        jax.config.update("jax_default_matmul_precision", MATMUL_PRECISIONS[problem.workload.precision])
        self.problem = problem
        labels = problem.y.astype(np.int32) if problem.y.ndim == 1 else problem.y
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(labels)

    def reset(self) -> None:
        """Take the initial weights and moments of zero."""
        workload = self.problem.workload
        layers = split(self.problem.parameters, workload.sizes)
        parameters = [tuple(jnp.array(part) for part in layer) for layer in layers]
        zeros = [] if workload.optimizer == "sgd" else jax.tree.map(jnp.zeros_like, parameters)
        step = jnp.zeros((), workload.dtype)
        self.state = jax.block_until_ready((parameters, zeros, jax.tree.map(jnp.copy, zeros), step))

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        return np.concatenate([np.asarray(part).ravel() for layer in self.state[0] for part in layer])

    def about(self) -> str:
        """Tell the version."""
        return f"jax {jax.__version__}, {jax.devices()[0].device_kind}"


class Jit(_Train):
    """A jitted step for each batch."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        super().__init__(problem, threads, device)
        rows = problem.workload.rows

        def in_turn(state: Any, x: Any, y: Any, start: Any) -> Any:
            return update(problem.workload, state, *(lax.dynamic_slice_in_dim(part, start, rows) for part in (x, y)))

        def chosen(state: Any, x: Any, y: Any, index: Any) -> Any:
            return update(problem.workload, state, x[index], y[index])

        self.step = jax.jit(chosen if problem.workload.shuffle else in_turn, donate_argnums=0)

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload, rows = self.problem.workload, self.problem.workload.rows
        orders = self.problem.orders(n)
        for _ in range(n):
            order = next(orders).astype(np.int32) if workload.shuffle else None
            for start in range(0, workload.n_visits, rows):
                place = np.int32(start) if order is None else order[start : start + rows]
                self.state, self.loss = self.step(self.state, self.x, self.y, place)
        jax.block_until_ready(self.state)


class Scan(_Train):
    """All batches of an epoch in one ``lax.scan``; where no order is drawn, all epochs in one call."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        super().__init__(problem, threads, device)
        workload = problem.workload
        n_batches, rows = workload.n_updates, workload.rows

        def batches(part: Any) -> Any:
            return part[: workload.n_visits].reshape(n_batches, rows, *part.shape[1:])

        def in_turn(state: Any, x: Any, y: Any, n_epochs: Any) -> Any:
            def epoch(_: Any, carried: Any) -> Any:
                state, losses = lax.scan(lambda s, xy: update(workload, s, *xy), carried[0], (batches(x), batches(y)))
                return state, losses.sum()

            return lax.fori_loop(0, n_epochs, epoch, (state, jnp.zeros((), workload.dtype)))

        def chosen(state: Any, x: Any, y: Any, order: Any) -> Any:
            state, losses = lax.scan(lambda s, index: update(workload, s, x[index], y[index]), state, batches(order))
            return state, losses.sum()

        self.epochs = jax.jit(chosen if workload.shuffle else in_turn, donate_argnums=0)

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        if self.problem.workload.shuffle:
            for order in self.problem.orders(n):
                self.state, self.loss = self.epochs(self.state, self.x, self.y, order.astype(np.int32))
        else:
            self.state, self.loss = self.epochs(self.state, self.x, self.y, n)
        jax.block_until_ready(self.state)


class Many(_Train):
    """``vmap`` over the models of the ``lax.scan`` over batches; all epochs in one call."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        super().__init__(problem, threads, device)
        workload = problem.workload
        n_batches, rows = workload.n_updates, workload.rows
        self.rates = jnp.asarray(problem.rates)

        def train(state: Any, rate: Any, batches: Any, n_epochs: Any) -> Any:
            def epoch(_: Any, state: Any) -> Any:
                return lax.scan(lambda s, xy: update(workload, s, *xy, rate), state, batches)[0]

            return lax.fori_loop(0, n_epochs, epoch, state)

        parts = (self.x, self.y)
        self.batches = tuple(p[: workload.n_visits].reshape(n_batches, rows, *p.shape[1:]) for p in parts)
        self.epochs = jax.jit(jax.vmap(train, in_axes=(0, 0, None, None)), donate_argnums=0)

    def reset(self) -> None:
        """Take the initial weights of all models."""
        layers = split(self.problem.parameters, self.problem.workload.sizes)
        parameters = [tuple(jnp.array(part) for part in layer) for layer in layers]
        steps = jnp.zeros(self.problem.workload.n_models, self.problem.workload.dtype)
        self.state = jax.block_until_ready((parameters, [], [], steps))

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        self.state = jax.block_until_ready(self.epochs(self.state, self.rates, self.batches, n))

    def result(self) -> NDArray[Any]:
        """Return the trained parameters, (n_models, n_parameters)."""
        parts = [np.asarray(part) for layer in self.state[0] for part in layer]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


class Predict(_Train):
    """One sample through the jitted network, from NumPy to NumPy."""

    def __init__(self, problem: Problem, threads: int) -> None:
        super().__init__(problem, threads)
        self.reset()
        self.forward = jax.jit(partial(forward, problem.workload))
        self.sample = problem.x[:1]

    def run(self, n: int) -> None:
        """Predict ``n`` times."""
        parameters, x = self.state[0], self.sample
        for _ in range(n):
            self.out = np.asarray(self.forward(parameters, x))

    def result(self) -> NDArray[Any]:
        """Return the last prediction."""
        return self.out
