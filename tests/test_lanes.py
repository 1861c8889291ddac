"""Many models at once: each is trained as if it were alone, whatever its neighbours and the threads do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.backends.base import Plan, State
from tinynet.backends.lanes import LanesPlan
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
# The first has a variable for every number, the second loops.
WIDTHS = {"unrolled": 5, "looped": 21}


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
        n_models: int = 5,
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

    def state(self) -> State:
        state = self.backend.new_state(
            self.program,
            np.stack([net.flat_parameters() for net in self.nets]),
            np.array([net.state.dropout_seed for net in self.nets]),
        )
        state.buffers[...] = np.stack([net.state.buffers for net in self.nets])
        return state

    def plan(self) -> Plan:
        return self.backend.plan(self.program)

    def together(self, plan: Plan | None = None) -> tuple[Any, State]:
        """Train all models at once, in two calls."""
        state, plan = self.state(), plan or self.plan()
        losses = []
        for part in (slice(0, 1), slice(1, EPOCHS)):
            order = None if self.order is None else np.ascontiguousarray(self.order[part])
            losses.append(plan.run(state, self.x, self.y, order, self.rates[part], self.weight))
        return np.concatenate(losses), state

    def alone(self, i: int) -> tuple[Any, State]:
        """Train one model by itself."""
        program = self.program.member(i)
        net = self.nets[i]
        state = self.backend.new_state(program, net.flat_parameters(), net.state.dropout_seed)
        state.buffers[...] = net.state.buffers
        order, weight, rates = self.order, self.weight, self.rates
        if order is not None and order.ndim == 3:
            order = np.ascontiguousarray(order[:, i])
        if weight is not None and weight.ndim == 2:
            weight = weight[i]
        rates = np.ascontiguousarray(rates[..., i]) if rates.ndim == 3 else rates
        losses = self.backend.plan(program).run(state, self.x, self.y, order, rates, weight)
        return losses[:, 0], state

    def assert_each_as_alone(self) -> None:
        """Each model ends as it does alone, to rounding: losses, weights, moments, predictions and evaluations."""
        plan = self.plan()
        losses, state = self.together(plan)
        out = np.empty((self.n_models, N, self.program.n_out), self.dtype)
        assert plan.predict(state, self.x, out)
        scores = plan.evaluate(state, self.x, self.y, self.weight)
        rtol = 1e-12 if self.dtype == "float64" else 2e-4
        close = {"rtol": rtol, "atol": rtol}
        for i in range(self.n_models):
            own_losses, own = self.alone(i)
            single = self.backend.plan(self.program.member(i))
            np.testing.assert_allclose(losses[:, i], own_losses, **close)
            np.testing.assert_allclose(state.parameters[i], own.parameters, **close)
            used = self.program.member(i).optimizer
            assert used is not None
            np.testing.assert_allclose(state.moments[:, i], own.moments, **close)
            assert (state.step[i], state.draws[i]) == (own.step, own.draws)
            own_out = np.empty_like(out[i])
            single.predict(own, self.x, own_out)
            np.testing.assert_allclose(out[i], own_out, rtol=rtol, atol=10 * rtol)
            weight = self.weight[i] if self.weight is not None and self.weight.ndim == 2 else self.weight
            np.testing.assert_allclose(scores[i], single.evaluate(own, self.x, self.y, weight), **close)


def network(kind: str, width: int, n_out: int = 3, *ending: type[tn.Layer]) -> Layers:
    return lambda: [tn.Linear(3, width), ACTIVATIONS[kind](), tn.Linear(width, n_out), *(layer() for layer in ending)]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_every_activation(kind: str, width: int) -> None:
    Case(network(kind, width)).assert_each_as_alone()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str, width: int) -> None:
    loss, y = LOSSES[name]
    Case(network("tanh", width), loss, y(3), weight="shared").assert_each_as_alone()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_optimizer(name: str, width: int, batch_size: int) -> None:
    Case(network("tanh", width), optimizer=OPTIMIZERS[name], batch_size=batch_size).assert_each_as_alone()


ENDINGS: dict[str, tuple[tn.Loss, Any, list[type[tn.Layer]]]] = {
    "sigmoid": (tn.BinaryCrossEntropy(), bits(3), [tn.Sigmoid]),
    "softmax": (tn.CrossEntropy(from_logits=False), labels(3), [tn.Softmax]),
    "probabilities": (tn.BinaryCrossEntropy(), bits(3), [tn.Softmax]),
    "class probabilities": (tn.CrossEntropy(from_logits=False), labels(3), [tn.Softmax, tn.Identity]),
    "row probabilities": (tn.CrossEntropy(from_logits=False), rows(3), [tn.Softmax, tn.Identity]),
}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("name", ENDINGS)
def test_losses_of_probabilities(name: str, width: int) -> None:
    loss, y, ending = ENDINGS[name]
    Case(network("tanh", width, 3, *ending), loss, y).assert_each_as_alone()


LAYERS: dict[str, Layers] = {
    "one layer": lambda: [tn.Linear(3, 2)],
    "one output": lambda: [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1)],
    "width 1": lambda: [tn.Linear(1, 1), tn.Tanh(), tn.Linear(1, 1)],
    "no bias": lambda: [tn.Linear(3, 4, bias=False), tn.ELU(0.5), tn.Linear(4, 2, bias=False)],
    "no bias, looped": lambda: [tn.Linear(3, 30, bias=False), tn.ELU(0.5), tn.Linear(30, 2, bias=False)],
    "four layers": lambda: [tn.Linear(2, 9), tn.ReLU(), tn.Linear(9, 7), tn.Tanh(), tn.Linear(7, 4), tn.Linear(4, 2)],
    "dropout": lambda: [tn.Linear(3, 7), tn.ReLU(), tn.Dropout(0.5), tn.Linear(7, 2), tn.Dropout(0.1)],
    "dropout, looped": lambda: [tn.Linear(3, 21), tn.ReLU(), tn.Dropout(0.5), tn.Linear(21, 2), tn.Dropout(0.1)],
    "dropout first": lambda: [tn.Dropout(0.3), tn.Linear(3, 2)],
    "dropout first, looped": lambda: [tn.Dropout(0.3), tn.Linear(3, 31), tn.Linear(31, 2)],
    "normalize": lambda: [tn.Normalize(3).adapt(values(3) + 2), tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2)],
    "normalize twice, looped": lambda: [
        tn.Normalize(3).adapt(values(3) + 2),
        tn.Linear(3, 24),
        tn.Normalize(24).adapt(values(24)),
        tn.Linear(24, 2),
    ],
    "activation first": lambda: [tn.Tanh(), tn.Linear(3, 2)],
    "activation first, looped": lambda: [tn.GELU(), tn.Linear(3, 40), tn.Linear(40, 2)],
    "two activations": lambda: [tn.Linear(3, 4), tn.Tanh(), tn.GELU(), tn.Linear(4, 2), tn.Sigmoid(), tn.Tanh()],
    "two activations, looped": lambda: [tn.Linear(3, 24), tn.Tanh(), tn.GELU(), tn.Linear(24, 2), tn.Sigmoid()],
}


@pytest.mark.parametrize("order", ["shared", "own"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_shape_of_network(name: str, order: str) -> None:
    Case(LAYERS[name], optimizer=OPTIMIZERS["adam"], order=order).assert_each_as_alone()
