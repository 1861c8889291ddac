"""Many models at once: each is trained as if it were alone, whatever its neighbours and the threads do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.backends.base import Backend, Plan, State
from tinynet.layers import ACTIVATIONS
from tinynet.program import Program

N = 23
EPOCHS = 3
Layers = Callable[[], list[tn.Layer]]


def values(n: int) -> Any:
    return np.random.default_rng(1).normal(size=(N, n))


def bits(n: int) -> Any:
    return np.random.default_rng(1).integers(0, 2, size=(N, n)).astype(float)


def labels(n: int) -> Any:
    return np.random.default_rng(1).integers(0, n, size=N)


def rows(n: int) -> Any:
    return np.random.default_rng(1).dirichlet(np.ones(n), size=N)


LOSSES: dict[str, tuple[tn.Loss, Callable[[int], Any]]] = {
    "mse": (tn.MeanSquaredError(), values),
    "mse-sum": (tn.MeanSquaredError(reduction="sum"), values),
    "mae": (tn.MeanAbsoluteError(), values),
    "huber": (tn.Huber(0.5), values),
    "bce-logits": (tn.BinaryCrossEntropy(from_logits=True), bits),
    "cross-entropy": (tn.CrossEntropy(), labels),
    "cross-entropy-rows": (tn.CrossEntropy(), rows),
    "cross-entropy-sum": (tn.CrossEntropy(reduction="sum"), labels),
}
OPTIMIZERS: dict[str, tn.Optimizer] = {
    "sgd": tn.SGD(0.01),
    "decay": tn.SGD(0.01, weight_decay=0.1),
    "momentum": tn.SGD(0.01, momentum=0.9),
    "nesterov": tn.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "clip value": tn.SGD(0.01, clip_value=0.02),
    "clip norm": tn.SGD(0.01, clip_norm=0.05),
    "adam": tn.Adam(0.01),
    "adam, decay": tn.Adam(0.01, weight_decay=0.1, clip_norm=1.0, clip_value=0.5),
    "adamw": tn.AdamW(0.01),
    "rmsprop": tn.RMSprop(0.01),
    "rmsprop, all": tn.RMSprop(0.01, weight_decay=0.1, momentum=0.5, centered=True),
    "rmsprop, momentum": tn.RMSprop(0.01, momentum=0.5),
    "rmsprop, centered": tn.RMSprop(0.01, centered=True),
}


class Case:
    """An ensemble's program, the same models alone, and data that each may have for itself."""

    def __init__(
        self,
        layers: Layers,
        loss: tn.Loss = LOSSES["mse"][0],
        y: Any = None,
        optimizer: tn.Optimizer = OPTIMIZERS["sgd"],
        *,
        dtype: str = "float64",
        batch_size: int = 5,
        n_models: int = 11,
        order: str = "shared",
        weight: str = "none",
        own_rates: bool = False,
        change: Callable[[Program], Program] = lambda program: program,
        backend: str = "numba",
    ) -> None:
        rng = np.random.default_rng(5)
        self.nets = [tn.Sequential(*layers(), dtype=dtype, seed=i, backend=backend) for i in range(n_models)]
        self.backend, self.n_models, self.dtype = get_backend(backend), n_models, dtype
        one = self.nets[0].program
        self.x = rng.normal(size=(N, one.n_in)).astype(dtype)
        self.y = loss.check_target(values(one.n_out) if y is None else y, one.n_out, dtype)
        spec = loss.lower(one.ops, index_target=self.y.ndim == 1)
        self.program = change(Program(one.ops, spec, optimizer.lower(), dtype, batch_size, n_models))
        shape = {"shared": (EPOCHS,), "own": (EPOCHS, n_models)}
        self.order = None
        if order != "none":
            self.order = rng.permuted(np.broadcast_to(np.arange(N), (*shape[order], N)), axis=-1)
        self.weight = None
        if weight != "none":
            self.weight = rng.uniform(0.5, 2.0, {"shared": (N,), "own": (n_models, N)}[weight]).astype(dtype)
        self.rates = rng.uniform(0.005, 0.02, (EPOCHS, 1, n_models) if own_rates else (EPOCHS, 1))
        self.plan = self.backend.plan(self.program)

    def state(self) -> State:
        state = self.backend.new_state(
            self.program,
            np.stack([net.flat_parameters() for net in self.nets]),
            np.array([net.state.dropout_seed for net in self.nets]),
        )
        state.buffers[...] = np.stack([net.state.buffers for net in self.nets])
        return state

    def together(self) -> tuple[Any, State]:
        """Train all models at once, in two calls."""
        state = self.state()
        losses = []
        for part in (slice(0, 1), slice(1, EPOCHS)):
            order = None if self.order is None else np.ascontiguousarray(self.order[part])
            losses.append(self.plan.run(state, self.x, self.y, order, self.rates[part], self.weight))
        return np.concatenate(losses), state

    def alone(self, i: int, backend: Backend) -> tuple[Plan, Any, State]:
        """Train one model by itself."""
        program, net = self.program.member(i), self.nets[i]
        state = backend.new_state(program, net.flat_parameters(), net.state.dropout_seed)
        state.buffers[...] = net.state.buffers
        order, weight, rates = self.order, self.weight, self.rates
        if order is not None and order.ndim == 3:
            order = np.ascontiguousarray(order[:, i])
        if weight is not None and weight.ndim == 2:
            weight = weight[i]
        rates = np.ascontiguousarray(rates[..., i]) if rates.ndim == 3 else rates
        plan = backend.plan(program)
        return plan, plan.run(state, self.x, self.y, order, rates, weight)[:, 0], state

    def assert_each_as_alone(self, oracle: str = "numpy", rtol: float = 1e-11, *, uses: bool = True) -> None:
        """Each model ends as it does alone, to rounding; with ``uses`` also its predictions and evaluations."""
        rtol = rtol if self.dtype == "float64" else 2e-4
        close = {"rtol": rtol, "atol": rtol}
        losses, state = self.together()
        out = np.empty((self.n_models, N, self.program.n_out), self.dtype)
        if uses:
            assert self.plan.predict(state, self.x, out)
            scores = self.plan.evaluate(state, self.x, self.y, self.weight)
        for i in range(0, self.n_models, 5):
            single, own_losses, own = self.alone(i, get_backend(oracle))
            np.testing.assert_allclose(losses[:, i], own_losses, **close)
            np.testing.assert_allclose(state.parameters[i], own.parameters, **close)
            np.testing.assert_allclose(state.moments[:, i], own.moments, **close)
            assert (state.step[i], state.draws[i]) == (own.step, own.draws)
            if uses:
                own_out = np.empty_like(out[i])
                single.predict(own, self.x, own_out)
                np.testing.assert_allclose(out[i], own_out, **close)
                weight = self.weight[i] if self.weight is not None and self.weight.ndim == 2 else self.weight
                np.testing.assert_allclose(scores[i], single.evaluate(own, self.x, self.y, weight), **close)


FORMS: dict[str, Layers] = {
    "unrolled": lambda: [tn.Linear(2, 3), tn.Tanh(), tn.Linear(3, 3)],
    "looped": lambda: [tn.Linear(2, 21), tn.Tanh(), tn.Linear(21, 3)],
}
"""A network for each form of the source: a variable for every number, and loops."""


@pytest.mark.parametrize("width", [2, 6], ids=["unrolled", "looped"])
def test_every_activation(width: int) -> None:
    def layers() -> list[tn.Layer]:
        pairs = [(tn.Linear(width, width, bias=False), ACTIVATIONS[kind]()) for kind in sorted(ACTIVATIONS)]
        return [layer for pair in pairs for layer in pair]

    Case(layers).assert_each_as_alone(uses=width > 2)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str) -> None:
    loss, y = LOSSES[name]
    Case(lambda: [tn.Linear(2, 3)], loss, y(3), weight="shared").assert_each_as_alone(uses=False)


@pytest.mark.parametrize("name", ["mse", "cross-entropy", "cross-entropy-rows"])
def test_losses_of_looped_networks(name: str) -> None:
    loss, y = LOSSES[name]
    Case(FORMS["looped"], loss, y(3), weight="shared").assert_each_as_alone()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    Case(lambda: [tn.Linear(2, 1)], optimizer=OPTIMIZERS[name]).assert_each_as_alone(uses=False)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam, decay", "adamw", "clip value"])
def test_optimizers_of_looped_networks_on_single_samples(name: str) -> None:
    Case(FORMS["looped"], optimizer=OPTIMIZERS[name], batch_size=1).assert_each_as_alone(uses=False)


ENDINGS: dict[str, tuple[tn.Loss, Any, list[type[tn.Layer]]]] = {
    "sigmoid": (tn.BinaryCrossEntropy(), bits(3), [tn.Sigmoid]),
    "softmax": (tn.CrossEntropy(from_logits=False), labels(3), [tn.Softmax]),
    "probabilities": (tn.BinaryCrossEntropy(), bits(3), [tn.Softmax]),
    "class probabilities": (tn.CrossEntropy(from_logits=False), labels(3), [tn.Softmax, tn.Identity]),
    "row probabilities": (tn.CrossEntropy(from_logits=False), rows(3), [tn.Softmax, tn.Identity]),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_losses_of_probabilities(name: str) -> None:
    loss, y, ending = ENDINGS[name]
    Case(lambda: [tn.Linear(2, 3), *(layer() for layer in ending)], loss, y).assert_each_as_alone(uses=False)


LAYERS: dict[str, Layers] = {
    "width 1": lambda: [tn.Linear(1, 1), tn.Tanh(), tn.Linear(1, 1)],
    "no bias": lambda: [tn.Linear(3, 30, bias=False), tn.ELU(0.5), tn.Linear(30, 2, bias=False)],
    "dropout": lambda: [tn.Linear(3, 5), tn.ReLU(), tn.Dropout(0.5), tn.Linear(5, 2), tn.Dropout(0.1)],
    "dropout, looped": lambda: [tn.Dropout(0.3), tn.Linear(3, 21), tn.Dropout(0.5), tn.Linear(21, 2)],
    "normalize": lambda: [tn.Normalize(3).adapt(values(3) + 2), tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2)],
    "normalize twice": lambda: [
        tn.Normalize(3).adapt(values(3) + 2),
        tn.Linear(3, 24),
        tn.Normalize(24).adapt(values(24)),
        tn.Linear(24, 2),
    ],
    "activations alone": lambda: [tn.SiLU(), tn.Linear(3, 4), tn.Tanh(), tn.Softplus(), tn.Linear(4, 2)],
    "activations alone, looped": lambda: [tn.SiLU(), tn.Linear(3, 24), tn.Tanh(), tn.Softplus(), tn.Linear(24, 2)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_shape_of_network(name: str) -> None:
    order = "shared" if "looped" in name else "own"
    Case(LAYERS[name], optimizer=OPTIMIZERS["sgd"], order=order).assert_each_as_alone()
