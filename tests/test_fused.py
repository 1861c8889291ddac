"""Fused plans agree with the loop plan, on every part of the library and on random programs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fused_programs import LAYERS, LOSSES, OPTIMIZERS, RNG
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.layers import ACTIVATIONS

N = 23
BEGINNING = RNG.bit_generator.state
TARGETS: dict[str, Callable[[int], Any]] = {
    "values": lambda n: RNG.normal(size=(N, n)),
    "bits": lambda n: RNG.integers(0, 2, size=(N, n)).astype(float),
    "counts": lambda n: RNG.poisson(2.0, size=(N, n)).astype(float),
    "labels": lambda n: RNG.integers(0, n, size=N),
    "rows": lambda n: RNG.dirichlet(np.ones(n), size=N),
}

# A width and a batch size for each tier; what a tier cannot do, the last one does.
TIERS = {"weights in registers": (5, 1), "SIMD lanes": (5, 5), "tiles": (33, 5)}


@pytest.fixture(autouse=True)
def from_the_beginning() -> None:
    """Let each test have the same data, whichever were run before it."""
    RNG.bit_generator.state = BEGINNING


def assert_agrees(
    layers: Callable[[], list[tn.Layer]],
    loss: tn.Loss,
    y: Any,
    optimizer: Callable[[], tn.Optimizer],
    *,
    dtype: str = "float64",
    batch_size: int = 5,
    weighted: bool = False,
    ordered: bool = True,
    tier: str = "",
) -> None:
    """Train two epochs with the fused plan and with the loop plan on NumPy; losses, weights and moments agree."""
    x = RNG.normal(size=(N, layers()[0].n_in or 3)).astype(dtype)
    weight = RNG.uniform(0.5, 2.0, N).astype(dtype) if weighted else None
    order = np.stack([RNG.permutation(N) for _ in range(2)]) if ordered else None
    outcomes = []
    for backend, kind in (("numba", "fused: "), ("numpy", "loop: ")):
        net = tn.Sequential(*layers(), dtype=dtype, seed=1, backend=backend)
        chosen = optimizer()
        target = loss.check_target(y, net.program.n_out, dtype)
        net.prepare_optimizer(chosen)
        plan = net.plan(loss, chosen, target, batch_size, "epoch")
        assert plan.description.startswith(kind)
        assert backend == "numpy" or tier in plan.description
        losses = plan.run(net.state, x, target, order, np.array([[0.01], [0.005]]), weight)
        outcomes.append((losses, net.state))
    (fused, a), (loop, b) = outcomes
    rtol = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(fused, loop, rtol=rtol)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(a.moments, b.moments, rtol=rtol, atol=rtol)
    assert (a.step, a.draws) == (b.step, b.draws)


def network(kind: str, width: int, n_out: int = 3, *ending: type[tn.Layer]) -> Callable[[], list[tn.Layer]]:
    return lambda: [tn.Linear(3, width), ACTIVATIONS[kind](), tn.Linear(width, n_out), *(layer() for layer in ending)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_every_activation(kind: str, tier: str) -> None:
    width, batch_size = TIERS[tier]
    optimizer, y = OPTIMIZERS["sgd"], TARGETS["values"](3)
    assert_agrees(network(kind, width), tn.MeanSquaredError(), y, optimizer, batch_size=batch_size)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str, tier: str) -> None:
    loss, target = LOSSES[name]
    width, batch_size = TIERS[tier]
    options: Any = {"tier": tier, "batch_size": batch_size, "weighted": True}
    assert_agrees(network("tanh", width), loss, TARGETS[target](3), OPTIMIZERS["momentum"], **options)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str, tier: str) -> None:
    width, batch_size = TIERS[tier]
    y = TARGETS["values"](3)
    assert_agrees(network("tanh", width), tn.MeanSquaredError(), y, OPTIMIZERS[name], batch_size=batch_size)


class Objective(tn.Loss):
    """A loss with everything that a lowered loss can have beside its kernel."""

    def __init__(self, loss: tn.Loss, **settings: Any) -> None:
        super().__init__(loss.reduction)
        self.loss, self.settings = loss, settings

    def lower(self, ops: Any = (), *, index_target: bool = False) -> Any:
        return replace(self.loss.lower(ops, index_target=index_target), **self.settings)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Any:
        return self.loss.check_target(y, n_out, dtype)


OBJECTIVES: dict[str, dict[str, Any]] = {
    "l2": {"l2": 0.5},
    "all": {"l2": 0.3, "by_weight": True, "factor": 0.5, "report": 0.25, "per_sample": True},
}


@pytest.mark.parametrize("tier", [*TIERS, "blocks"])
@pytest.mark.parametrize(
    ("name", "reduction", "data"),
    [("all", "mean", "weighted"), ("all", "mean", "in place"), ("l2", "mean", "plain"), ("l2", "sum", "weighted")],
)
def test_penalties_and_means_over_weights(data: str, reduction: Any, name: str, tier: str) -> None:
    y = TARGETS["values"](3)
    loss = Objective(tn.MeanSquaredError(reduction), **OBJECTIVES[name])
    options: Any = {"weighted": data != "plain", "ordered": data != "in place"}
    if tier == "blocks":
        x = RNG.normal(size=(4001, 3))
        outcomes = []
        for backend in ("numba", "numpy"):
            net = tn.Sequential(*network("tanh", 12)(), dtype="float64", seed=1, backend=backend)
            order = np.random.default_rng(0).permutation(4001)[None] if options["ordered"] else None
            weight = np.random.default_rng(1).uniform(0.5, 2.0, 4001) if options["weighted"] else None
            target, optimizer = np.tanh(x), tn.Adam(0.01)
            net.prepare_optimizer(optimizer)
            plan = net.plan(loss, optimizer, target, 3000, "epoch")
            losses = plan.run(net.state, x, target, order, np.array([[0.01]]), weight)
            outcomes.append(np.append(net.flat_parameters(), losses))
        np.testing.assert_allclose(*outcomes, rtol=1e-10, atol=1e-10)
        return
    width, batch_size = TIERS[tier]
    optimizer = OPTIMIZERS["momentum"]
    assert_agrees(network("tanh", width), loss, y, optimizer, batch_size=batch_size, tier="tiles", **options)


@pytest.mark.parametrize("tier", TIERS)
def test_a_batch_without_weight_counts_for_nothing(tier: str) -> None:
    width, batch_size = TIERS[tier]
    loss = Objective(tn.MeanSquaredError(), l2=0.5, by_weight=True)
    net = tn.Sequential(*network("tanh", width)(), dtype="float64", seed=1, backend="numba")
    before, optimizer = net.flat_parameters(), tn.SGD(0.1)
    net.prepare_optimizer(optimizer)
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
    plan = net.plan(loss, optimizer, y, batch_size, "epoch")
    assert plan.run(net.state, x, y, None, np.array([[0.1]]), np.zeros(N)).item() == 0.0
    np.testing.assert_array_equal(net.flat_parameters(), before)


@pytest.mark.parametrize("loss", ["bce", "cross-entropy"])
@pytest.mark.parametrize("tier", TIERS)
def test_losses_that_meet_their_activation(loss: str, tier: str) -> None:
    width, batch_size = TIERS[tier]
    if loss == "bce":
        arguments: Any = (network("tanh", width, 3, tn.Sigmoid), tn.BinaryCrossEntropy(), TARGETS["bits"](3))
    else:
        chosen = tn.CrossEntropy(from_logits=False)
        arguments = (network("tanh", width, 3, tn.Softmax), chosen, TARGETS["labels"](3))
    assert_agrees(*arguments, OPTIMIZERS["adam"], batch_size=batch_size)


@pytest.mark.parametrize("loss", ["bce", "cross-entropy", "cross-entropy-rows"])
def test_losses_of_probabilities(loss: str) -> None:
    chosen: tn.Loss = tn.BinaryCrossEntropy() if loss == "bce" else tn.CrossEntropy(from_logits=False)
    y = TARGETS[{"bce": "bits", "cross-entropy": "labels", "cross-entropy-rows": "rows"}[loss]](3)
    ending = [tn.Softmax] if loss == "bce" else [tn.Softmax, tn.Identity]
    assert_agrees(network("tanh", 5, 3, *ending), chosen, y, OPTIMIZERS["sgd"])


@pytest.mark.parametrize("name", LAYERS)
def test_every_shape_of_network(name: str) -> None:
    state = RNG.bit_generator.state

    def layers() -> list[tn.Layer]:
        RNG.bit_generator.state = state
        return LAYERS[name]()

    n_out = tn.Sequential(*layers()).program.n_out
    assert_agrees(layers, tn.MeanSquaredError(), TARGETS["values"](n_out), OPTIMIZERS["adam"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 7, N])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("width", [5, 33])
def test_every_form_of_data(width: int, ordered: bool, batch_size: int, dtype: str) -> None:
    assert_agrees(
        network("sigmoid", width),
        tn.MeanSquaredError(),
        TARGETS["values"](3),
        OPTIMIZERS["sgd"],
        dtype=dtype,
        batch_size=batch_size,
        ordered=ordered,
        weighted=batch_size == 7,
    )


@settings(max_examples=8)
@given(
    widths=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    kind=st.sampled_from(sorted(ACTIVATIONS)),
    loss=st.sampled_from(sorted(LOSSES)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    batch_size=st.integers(1, N),
    flags=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_random_programs(
    widths: list[int],
    kind: str,
    loss: str,
    optimizer: str,
    batch_size: int,
    flags: tuple[bool, bool],
    dtype: str,
) -> None:
    RNG.bit_generator.state = BEGINNING  # The same program has the same data, whenever it is tried.
    if LOSSES[loss][0].targets == "classes":
        widths[-1] = max(widths[-1], 2)

    def layers() -> list[tn.Layer]:
        found: list[tn.Layer] = [tn.Linear(widths[0], widths[1])]
        for n_in, n_out in itertools.pairwise(widths[1:]):
            found += [ACTIVATIONS[kind](), tn.Linear(n_in, n_out)]
        return found

    chosen, target = LOSSES[loss]
    y = TARGETS[target](widths[-1])
    options: Any = {"dtype": dtype, "batch_size": batch_size, "weighted": flags[0], "ordered": flags[1]}
    assert_agrees(layers, chosen, y, OPTIMIZERS[optimizer], **options)


def test_data_of_another_dtype_are_converted_as_they_are_read() -> None:
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2))
    nets = [tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), seed=0, backend="numba") for _ in range(2)]
    for net, given_x in zip(nets, (x, x.astype("float32")), strict=True):
        plan = net.plan(tn.MeanSquaredError(), tn.SGD(0.1), y.astype("float32"), 4, "epoch")
        plan.run(net.state, given_x, y.astype("float32"), None, np.full((2, 1), 0.1))
    assert nets[0].flat_parameters().tobytes() == nets[1].flat_parameters().tobytes()


@pytest.mark.parametrize(("width", "batch_size"), [*TIERS.values(), (300, 6)], ids=[*TIERS, "large"])
def test_results_are_bit_identical_from_run_to_run(width: int, batch_size: int) -> None:
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
    outcomes = set()
    for _ in range(3):
        net = tn.Sequential(*network("tanh", width)(), seed=0, backend="numba")
        net.fit(x, y, epochs=4, batch_size=batch_size)
        outcomes.add(net.flat_parameters().tobytes())
    assert len(outcomes) == 1


def test_a_diverging_loss_is_seen() -> None:
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
    for width, batch_size in TIERS.values():
        net = tn.Sequential(*network("identity", width)(), seed=0, backend="numba")
        with pytest.raises(tn.DivergenceError):
            net.fit(x, y, optimizer=tn.SGD(1e6), epochs=100, batch_size=batch_size)
        assert np.isfinite(net.flat_parameters()).all()


def test_predictions_agree_with_the_loop() -> None:
    layers = [tn.Normalize(3).adapt(np.arange(12.0).reshape(4, 3)), tn.Linear(3, 40), tn.SiLU(), tn.Dropout(0.5)]
    x = np.random.default_rng(0).normal(size=(1000, 3))
    net = tn.Sequential(*layers, tn.Linear(40, 4), tn.Softmax(), dtype="float64", seed=0, backend="numba")
    other = net.clone().to("numpy")
    for rows in (1, 2, 255, 256, 257, 1000):
        np.testing.assert_allclose(net.predict(x[:rows]), other.predict(x[:rows]), rtol=1e-12)


def test_every_program_of_built_in_parts_has_a_fused_plan() -> None:
    net = tn.Sequential(*[ACTIVATIONS[kind]() for kind in ACTIVATIONS], tn.Linear(3, 3), backend="numba")
    for loss, target in LOSSES.values():
        y = loss.check_target(TARGETS[target](3), 3, "float32")
        assert net.plan(loss, tn.Adam(), y, 4, "epoch").description.startswith("fused: ")


def test_a_network_that_is_too_large_for_a_tier_takes_the_next_one() -> None:
    backend = get_backend("numba")
    ways = ((8, 1, "weights in registers"), (8, 4, "SIMD lanes"), (50, 4, "tiles"), (400, 1, "tiles"))
    for n_in, batch_size, tier in (*ways, (1 << 17, 4, "blocks")):
        net = tn.Sequential(tn.Linear(n_in, 4), backend=backend)
        plan = net.plan(tn.MeanSquaredError(), tn.SGD(0.1), np.zeros((4, 4), "float32"), batch_size, "epoch")
        assert tier in plan.description
