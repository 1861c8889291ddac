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
from tinynet_kernels.cpu.generated.many import small
from tinynet_kernels.cpu.generated.task import Task

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.backends.base import Backend, Plan, State
from tinynet.backends.lowering import lower
from tinynet.backends.numba.lanes_calls import shares_of
from tinynet.base import config
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
        n_rates: int = 1,
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
            self.order = rng.permuted(np.tile(np.arange(N), (*shape[order], 1)), axis=-1)
        self.weight = None
        if weight != "none":
            self.weight = rng.uniform(0.5, 2.0, {"shared": (N,), "own": (n_models, N)}[weight]).astype(dtype)
        self.rates = rng.uniform(0.005, 0.02, (EPOCHS, n_rates, n_models) if own_rates else (EPOCHS, n_rates))
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
"""A network for each form of the code: products written out for its sizes, and a table."""


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


@pytest.mark.parametrize("name", ["cross-entropy", "cross-entropy-rows"])
def test_losses_of_looped_networks(name: str) -> None:
    loss, y = LOSSES[name]
    Case(FORMS["looped"], loss, y(3), weight="shared").assert_each_as_alone()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    Case(lambda: [tn.Linear(2, 1)], optimizer=OPTIMIZERS[name]).assert_each_as_alone(uses=False)


@pytest.mark.parametrize("name", ["nesterov", "adam, decay"])
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


DATA = [
    {"order": "own", "weight": "own", "own_rates": True, "batch_size": 1, "n_rates": N},
    {"order": "shared", "weight": "own", "own_rates": True, "batch_size": 4},
    {"order": "own", "weight": "shared", "batch_size": N},
    {"order": "own", "weight": "shared", "own_rates": True, "batch_size": 8, "n_rates": 3},
    {"order": "none", "weight": "shared", "own_rates": True, "batch_size": 8},
    {"order": "none", "weight": "own", "batch_size": 1, "dtype": "float32", "n_models": 37, "n_rates": N},
    {"order": "own", "dtype": "float32", "batch_size": 6, "n_models": 16},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", DATA, ids=lambda options: "-".join(map(str, options.values())))
def test_every_form_of_data(options: dict[str, Any], form: str) -> None:
    Case(FORMS[form], **options).assert_each_as_alone(uses=options["weight"] == "own" if "weight" in options else True)


def test_labels_in_an_order_of_each_model() -> None:
    Case(FORMS["looped"], LOSSES["cross-entropy"][0], labels(3), order="own").assert_each_as_alone(uses=False)


@pytest.mark.parametrize("form", FORMS)
def test_each_model_has_its_own_settings(form: str) -> None:
    given = tuple(np.linspace(0.1, 0.9, 11).tolist())

    def change(program: Program) -> Program:
        assert program.loss is not None
        assert program.optimizer is not None
        optimizer = tn.RMSprop(0.01, given, given, given, given, True, clip_norm=given, clip_value=given).lower()
        return replace(program, loss=replace(program.loss, parameter=given), optimizer=optimizer)

    layers = lambda: [*FORMS[form](), tn.Dropout(given)]  # noqa: E731
    Case(layers, tn.Huber(), change=change, own_rates=True).assert_each_as_alone(uses=False)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam, decay"])
def test_models_equal_those_of_the_same_backend_to_the_last_digits(optimizer: str) -> None:
    Case(FORMS["unrolled"], optimizer=OPTIMIZERS[optimizer]).assert_each_as_alone("numba", 1e-12, uses=False)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_penalties_means_over_weights_and_factors(reduction: str) -> None:
    def change(program: Program) -> Program:
        loss = replace(program.loss, l2=0.3, by_weight=True, factor=0.5, report=3.0, reduction=reduction)  # type: ignore[type-var]
        return replace(program, loss=loss)

    case = Case(FORMS["unrolled"], change=change, weight="own", order="own")
    assert case.weight is not None
    case.weight[:, :7], case.weight[4] = 0, 0
    case.assert_each_as_alone()


@settings(max_examples=6)
@given(
    widths=st.lists(st.integers(1, 13), min_size=2, max_size=4),
    loss=st.sampled_from(sorted(LOSSES)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    batch_size=st.integers(1, N),
    n_models=st.integers(1, 40),
    order=st.sampled_from(["none", "shared", "own"]),
    weight=st.sampled_from(["none", "shared", "own"]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_random_programs(widths: list[int], loss: str, optimizer: str, **options: Any) -> None:
    chosen, y = LOSSES[loss]
    widths[-1] += chosen.targets == "classes"

    def layers() -> list[tn.Layer]:
        pairs = [(tn.Linear(a, b), tn.Tanh()) for a, b in itertools.pairwise(widths)]
        return [layer for pair in pairs for layer in pair]

    Case(layers, chosen, y(widths[-1]), OPTIMIZERS[optimizer], **options).assert_each_as_alone(uses=False)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_without_numbers_disturbs_no_other(form: str) -> None:
    case = Case(FORMS[form], optimizer=OPTIMIZERS["clip norm"], weight="none", n_models=20)
    usual, state = case.together()
    ill = case.state()
    ill.parameters[7, 3] = np.nan
    ill.parameters[12, 0] = np.inf
    losses = case.plan.run(ill, case.x, case.y, case.order, case.rates)
    others = np.setdiff1d(np.arange(20), [7, 12])
    assert np.isnan(losses[:, 7]).all()
    assert losses[:, others].tobytes() == usual[:, others].tobytes()
    assert ill.parameters[others].tobytes() == state.parameters[others].tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_threads_and_the_choice_of_models_change_nothing(form: str) -> None:
    case = Case(FORMS[form], optimizer=OPTIMIZERS["clip norm"], weight="own", own_rates=True, order="own", n_models=50)
    outcomes = []
    for threads in (1, 2, 3, 20):
        with config.use_threads(threads):
            losses, state = case.together()
        outcomes.append(losses.tobytes() + state.parameters.tobytes())
    assert len(set(outcomes)) == 1
    some, before = case.state(), case.state()
    members = np.array([49, 3, 17, 18, 30])
    order = np.ascontiguousarray(case.order[:, members])
    rates = np.ascontiguousarray(case.rates[..., members])
    chosen = case.plan.run(some, case.x, case.y, order, rates, case.weight, members)
    assert chosen.tobytes() == np.ascontiguousarray(losses[:, members]).tobytes()
    assert some.parameters[members].tobytes() == state.parameters[members].tobytes()
    others = np.setdiff1d(np.arange(50), members)
    assert some.parameters[others].tobytes() == before.parameters[others].tobytes()
    assert (some.step[others] == 0).all()
    scores = case.plan.evaluate(state, case.x, case.y, case.weight)
    assert case.plan.evaluate(state, case.x, case.y, case.weight, members).tobytes() == scores[members].tobytes()


@given(n_blocks=st.integers(1, 3000), n_threads=st.integers(1, 64))
def test_each_block_is_in_one_share_and_no_share_is_larger_than_the_one_before(n_blocks: int, n_threads: int) -> None:
    shares = list(shares_of(n_blocks, n_threads))
    assert [block for first, last in shares for block in range(first, last)] == list(range(n_blocks))
    sizes = [last - first for first, last in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= max(1, n_blocks // (2 * n_threads))
    assert sizes[-1] == 1


@pytest.mark.parametrize("broken", [0, 100, 199])
def test_an_error_in_any_share_reaches_the_caller(broken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(FORMS["unrolled"], n_models=200)
    case.together()
    whole = Task.__call__

    def call(task: Task, words: dict[str, int], *rest: Any) -> bool:
        if words["first_model"] <= broken < words["last_model"]:
            raise MemoryError(f"model {broken}")
        return whole(task, words, *rest)

    monkeypatch.setattr(Task, "__call__", call)
    with config.use_threads(3), pytest.raises(MemoryError, match=f"model {broken}"):
        case.together()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_models_one_after_the_other(backend: str) -> None:
    """Models that are too large, and all on NumPy, run by the plan of one model: bit for bit as they do alone."""
    width = {"numpy": 4, "numba": 300}[backend]
    layers = lambda: [tn.Linear(2, width), tn.Tanh(), tn.Linear(width, width), tn.Linear(width, 3)]  # noqa: E731
    options: dict[str, Any] = {"order": "own", "weight": "own", "own_rates": True, "n_models": 3, "backend": backend}
    case = Case(layers, optimizer=OPTIMIZERS["momentum"], **options)
    assert case.plan.description.startswith("model by model")
    losses, state = case.together()
    out = np.empty((3, N, 3))
    case.plan.predict(state, case.x, out)
    gradients = case.state()
    values = case.plan.gradient(gradients, case.x, case.y, case.weight)
    assert case.weight is not None
    for i in range(3):
        single, own_losses, own = case.alone(i, case.backend)
        own_out = np.empty((N, 3))
        single.predict(own, case.x, own_out)
        assert losses[:, i].tobytes() == own_losses.tobytes()
        assert state.parameters[i].tobytes() == own.parameters.tobytes()
        assert state.moments[:, i].tobytes() == own.moments.tobytes()
        assert out[i].tobytes() == own_out.tobytes()
        start = case.backend.new_state(case.program.member(i), case.nets[i].flat_parameters())
        assert values[i] == single.gradient(start, case.x, case.y, case.weight[i])
        assert gradients.gradients[i].tobytes() == start.gradients.tobytes()


def test_code_is_written_out_for_larger_networks_where_single_samples_repay_it() -> None:
    def fits(width: int) -> list[bool]:
        layers = lambda: [tn.Linear(4, width), tn.Tanh(), tn.Linear(width, 1)]  # noqa: E731
        network = lower(Case(layers).program, weighted=False, ordered=True)
        return [small.fits(network, batch) for batch in (1, 2, 32)]

    assert [fits(width) for width in (8, 16, 17)] == [[True] * 3, [True, False, False], [False] * 3]


def test_which_plan_is_told() -> None:
    assert "one in each lane" in Case(FORMS["unrolled"]).plan.description
    assert "NumPy" in Case(FORMS["unrolled"], backend="numpy").plan.description
