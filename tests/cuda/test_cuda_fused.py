"""Fused plans on the GPU agree with NumPy's loop plan, in every tier, on every part of the library."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinynet as tn
from tinynet.layers import ACTIVATIONS
from tinynet.program import Program

RNG = np.random.default_rng(31)
N = 23
Layers = Callable[[], list[tn.Layer]]

# Few programs, for each is compiled, but between them every activation, loss, optimizer and kind of layer. Widths are
# around the sizes of packs and warps.
PROGRAMS: dict[str, tuple[Layers, tn.Loss, Any, Callable[[], tn.Optimizer], dict[str, Any]]] = {
    "small": (
        lambda: [tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 3)],
        tn.MeanSquaredError(),
        RNG.normal(size=(N, 3)),
        lambda: tn.SGD(0.01),
        {},
    ),
    "labels, clipped": (
        lambda: [tn.Linear(3, 5), tn.Sigmoid(), tn.Linear(5, 3)],
        tn.CrossEntropy(),
        RNG.integers(0, 3, N),
        lambda: tn.Adam(0.01, clip_norm=0.05, clip_value=0.02, weight_decay=0.1),
        {"dtype": "float32", "batch_size": 7, "weighted": True},
    ),
    "everything between": (
        lambda: [
            tn.Normalize(3).adapt(np.arange(12.0).reshape(4, 3)),
            *(tn.Linear(3, 4), tn.GELU(), tn.Dropout(0.5), tn.Linear(4, 3), tn.Softmax(), tn.SiLU()),
            *(tn.Linear(3, 2), tn.Softmax()),
        ],
        tn.BinaryCrossEntropy(),
        RNG.integers(0, 2, (N, 2)).astype(float),
        lambda: tn.RMSprop(0.01, weight_decay=0.1, momentum=0.5, centered=True),
        {"ordered": False},
    ),
    "no layer first or last": (
        lambda: [
            tn.Tanh(),
            tn.Dropout(0.2),
            tn.Linear(3, 2, bias=False),
            tn.Linear(2, 3),
            tn.Dropout(0.1),
            tn.Softmax(),
            tn.Identity(),
        ],
        tn.CrossEntropy(from_logits=False),
        RNG.dirichlet(np.ones(3), size=N),
        lambda: tn.AdamW(0.01, weight_decay=0.1),
        {"batch_size": 21, "weighted": True},
    ),
    "logits of bits": (
        lambda: [tn.Linear(3, 2), tn.LeakyReLU(0.1), tn.Linear(2, 3), tn.ELU(0.5), tn.Linear(3, 2)],
        tn.BinaryCrossEntropy(from_logits=True, reduction="sum"),
        RNG.integers(0, 2, (N, 2)).astype(float),
        lambda: tn.SGD(tn.CosineDecay(0.01, 3), momentum=0.9, nesterov=True, weight_decay=0.01),
        {"batch_size": 1},
    ),
    "rows of probabilities": (
        lambda: [tn.Linear(3, 2), tn.Softplus(), tn.Linear(2, 3), tn.Softmax(), tn.Identity()],
        tn.CrossEntropy(from_logits=False),
        RNG.integers(0, 3, N),
        lambda: tn.SGD(0.01, momentum=0.9),
        {},
    ),
    "logits of rows": (
        lambda: [tn.Linear(3, 2), tn.ReLU(), tn.Linear(2, 3)],
        tn.CrossEntropy(),
        RNG.dirichlet(np.ones(3), size=N),
        lambda: tn.RMSprop(0.01),
        {},
    ),
    "one output": (
        lambda: [tn.Linear(3, 1)],
        tn.Huber(0.5),
        RNG.normal(size=(N, 1)),
        lambda: tn.RMSprop(0.01, centered=True),
        {"batch_size": N},
    ),
    "wide": (
        lambda: [tn.Linear(3, 40), tn.Tanh(), tn.Linear(40, 33), tn.ReLU(), tn.Linear(33, 2)],
        tn.MeanAbsoluteError(),
        RNG.normal(size=(N, 2)),
        lambda: tn.Adam(0.01),
        {"batch_size": 16, "dtype": "float32"},
    ),
    "quantiles": (
        lambda: [tn.Linear(3, 2), tn.Tanh(), tn.Linear(2, 4), tn.Increasing(2, 2)],
        tn.Quantile([0.1, 0.8]),
        RNG.normal(size=(N, 2)),
        lambda: tn.SGD(0.01),
        {"weighted": True},
    ),
    "means and variances": (
        lambda: [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 70), tn.MeanVariance(35)],
        tn.GaussianNLL(),
        RNG.normal(size=(N, 35)),
        lambda: tn.SGD(0.01, momentum=0.9),
        {"dtype": "float32", "batch_size": 7},
    ),
}
TOLERANCES = {"float64": 1e-10, "float32": 2e-4}
TIERS = ("registers", "warp", "persistent", "spread", "graph")
UNFIT = {("registers", "wide"), ("registers", "everything between"), ("graph", "labels, clipped")}
# Blocks that share rows do with each of them what a block does that has them all, and a warp does what a block does.
SPREAD = {"small", "labels, clipped", "everything between", "wide"}
SOME = {"spread": SPREAD, "warp": SPREAD}
UNFIT |= {(tier, "means and variances") for tier in TIERS if tier != "graph"} | {("graph", "quantiles")}


def train(
    backend: str,
    layers: Layers,
    loss: tn.Loss,
    y: Any,
    optimizer: Callable[[], tn.Optimizer],
    *,
    dtype: str = "float64",
    batch_size: int = 5,
    weighted: bool = False,
    ordered: bool = True,
    tier: str = "",
) -> list[np.ndarray]:
    """Train two epochs, evaluate and predict; return everything that comes out."""
    rng = np.random.default_rng(5)
    net = tn.Sequential(*layers(), dtype=dtype, seed=1, backend=backend)
    chosen, target = optimizer(), loss.check_target(y, net.program.n_out, dtype)
    x = rng.normal(size=(N, net.program.n_in)).astype(dtype)
    weight = rng.uniform(0.5, 2.0, N).astype(dtype) if weighted else None
    order = np.stack([rng.permutation(N) for _ in range(2)]) if ordered else None
    net.prepare_optimizer(chosen)
    spec = loss.lower(net.program.ops, index_target=target.ndim == 1)
    plan = net.backend.plan(replace(net.program.taught(spec), optimizer=chosen.lower(), batch_size=batch_size))
    assert tier in plan.description
    place, host = net.backend.asarray, net.backend.to_numpy
    x, target, weight = place(x), place(target), None if weight is None else place(weight)
    n_updates = -(-N // batch_size)
    rates = np.linspace(0.01, 0.005, 2 * n_updates).reshape(2, n_updates)
    losses = plan.run(net.state, x, target, order, rates, weight)
    value = plan.evaluate(net.state, x, target, weight)
    out = net.backend.empty((N, net.program.n_out), dtype)
    assert plan.predict(net.state, x, out)
    state = net.state
    assert (state.step, state.draws) == (2 * n_updates, 2 * n_updates)
    return [losses, host(state.parameters), host(state.moments), np.array(value), host(out)]


def assert_agree(got: list[np.ndarray], expected: list[np.ndarray], rtol: float) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.fixture
def tier(request: pytest.FixtureRequest, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tier that is in force, by name; what its plan says of itself."""
    monkeypatch.setenv("TINYNET_GPU_TIER", request.param)
    return {
        "registers": "a thread for each model",
        "warp": "a warp for each model",
        "persistent": "a block for each",
        "spread": "shared by all",
        "graph": "each product",
    }[request.param]


CASES = [
    pytest.param(tier, name, id=f"{tier}, {name}")
    for name, tier in itertools.product(PROGRAMS, TIERS)
    if (tier, name) not in UNFIT and name in SOME.get(tier, PROGRAMS)
]


@pytest.mark.parametrize(("tier", "name"), CASES, indirect=["tier"])
def test_a_fused_plan_agrees_with_the_loop_on_numpy(tier: str, name: str) -> None:
    *program, options = PROGRAMS[name]
    rtol = TOLERANCES[options.get("dtype", "float64")]
    assert_agree(train("gpu", *program, **options, tier=tier), train("numpy", *program, **options), rtol)


@pytest.mark.parametrize(("tier", "name"), CASES, indirect=["tier"])
def test_no_result_depends_on_the_order_of_threads(tier: str, name: str, cp: ModuleType) -> None:
    if hasattr(cp, "__file__"):
        pytest.skip("a GPU takes its threads in the order that it likes")
    *program, options = PROGRAMS[name]
    outcomes = set()
    for order, seed in builder.orders(1):
        with builder.order(order, seed):
            outcomes.add(tuple(array.tobytes() for array in train("gpu", *program, **options)))
    assert len(outcomes) == 1


@pytest.mark.parametrize(
    ("tier", "name"),
    [
        *(("persistent", name) for name in ("wide", "labels, clipped", "no layer first or last")),
        ("warp", "no layer first or last"),
    ],
    indirect=["tier"],
)
def test_little_shared_memory_means_smaller_tiles(tier: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backends.cupy import fused

    *program, options = PROGRAMS[name]
    room = {"wide": 22_000, "labels, clipped": 2_900, "no layer first or last": 6_000}[name]
    monkeypatch.setattr(fused, "limits_of", lambda backend: fused.Limits(room, 4))
    rtol = TOLERANCES[options.get("dtype", "float64")]
    assert_agree(train("gpu", *program, **options, tier=tier), train("numpy", *program, **options), rtol)


@pytest.mark.parametrize(
    ("tier", "name"), [case for case in CASES if case.values[1] in ("small", "labels, clipped")], indirect=["tier"]
)
def test_launches_may_end_anywhere(tier: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet_kernels.cuda.fused import training

    *program, options = PROGRAMS[name]
    whole = train("gpu", *program, **options)
    monkeypatch.setattr(training, "MAX_UPDATES", 3)
    parts = train("gpu", *program, **options)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-14)
    assert [a.tobytes() for a in parts[1:]] == [a.tobytes() for a in whole[1:]]


@pytest.mark.parametrize("tier", ["spread", "graph"], indirect=True)
def test_updates_from_a_cuda_graph_are_those_of_single_launches(
    tier: str, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinynet_kernels.cuda.fused import graphs

    made, captured = [], graphs.captured
    monkeypatch.setattr(graphs, "captured", lambda work: made.append(captured(work)) or made[-1])
    *program, options = PROGRAMS["small"]
    monkeypatch.setattr(graphs, "FEWEST", 1000)
    single = train("gpu", *program, **options)
    assert not made
    monkeypatch.setattr(graphs, "FEWEST", 4)
    monkeypatch.setattr(graphs, "MOST", 3)
    stream = cp.cuda.Stream(non_blocking=True).use()
    try:
        repeated = train("gpu", *program, **options)
        assert cp.cuda.get_current_stream() == stream
    finally:
        cp.cuda.Stream.null.use()
    assert len(made) == 1
    assert [a.tobytes() for a in repeated] == [a.tobytes() for a in single]


@settings(max_examples=2, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    widths=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    kinds=st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=2, max_size=2),
    name=st.sampled_from(sorted(PROGRAMS)),
    batch_size=st.integers(1, N),
    flags=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_random_programs(
    cp: ModuleType,
    widths: list[int],
    kinds: list[str],
    name: str,
    batch_size: int,
    flags: tuple[bool, bool],
    dtype: str,
) -> None:
    made, loss, y, optimizer, _ = PROGRAMS[name]
    last = made()[-1]
    n_out = last.n_out or (3 if y.ndim == 1 else y.shape[1])
    ending: list[Callable[[], tn.Layer]] = []
    if isinstance(last, tn.Increasing | tn.MeanVariance):
        ending = [lambda: made()[-1]]
    elif isinstance(loss, tn.CrossEntropy | tn.BinaryCrossEntropy) and not loss.from_logits:
        ending = [tn.Softmax]

    def layers() -> list[tn.Layer]:
        found: list[tn.Layer] = []
        for (n_in, n_wide), kind in zip(itertools.pairwise(widths), itertools.cycle(kinds), strict=False):
            found += [tn.Linear(n_in, n_wide), ACTIVATIONS[kind]()]
        return [*found, tn.Linear(widths[-1], n_out), *(layer() for layer in ending)]

    options: Any = {"dtype": dtype, "batch_size": batch_size, "weighted": flags[0], "ordered": flags[1]}
    got, expected = (train(backend, layers, loss, y, optimizer, **options) for backend in ("gpu", "numpy"))
    assert_agree(got, expected, TOLERANCES[dtype])


@pytest.mark.parametrize("tier", ["persistent"], indirect=True)
def test_what_is_not_finite_is_seen(tier: str) -> None:
    net = tn.Sequential(*PROGRAMS["small"][0](), seed=0, backend="gpu")
    x, y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
    with pytest.raises(tn.DivergenceError):
        net.fit(x, y, optimizer=tn.SGD(1e6), epochs=20, batch_size=5)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        net.predict(x)


def test_the_tier_follows_the_sizes(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused.shapes import Limits

    from tinynet.backends.cupy.tiers import Case, choose
    from tinynet.backends.lowering import lower

    def tier(sizes: list[int], batch_size: int, n_models: int | None = None) -> str:
        layers = [tn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        net = tn.Sequential(*layers, backend="numpy")
        spec = tn.MeanSquaredError().lower(net.program.ops, index_target=False)
        program = Program(net.program.ops, spec, tn.SGD(0.1).lower(), "float32", batch_size, n_models)
        found = choose(
            Case(lower(program, weighted=True, ordered=True), n_models or 1, batch_size, Limits(232_448, 132))
        )
        return "loop" if found is None else found.name

    assert tier([4, 5, 3], 10) == "persistent"
    assert tier([32, 32, 32, 32, 10], 32) == "persistent"
    assert tier([4, 5, 3], 1, 100) == "registers"
    assert tier([4, 5, 3], 10, 100) == "persistent"
    assert tier([4, 5, 3], 10, 100_000) == "registers"
    assert tier([8, 16, 16, 1], 10, 10_000) == "warp"
    assert tier([8, 16, 16, 1], 10, 500) == "persistent"
    assert tier([64, 64, 64], 10, 100_000) == "persistent"
    assert tier([784, 256, 10], 128) == "graph"
    assert tier([784, 2048, 2048, 10], 1024) == "large"
    assert tier([4, 32, 16, 4], 10_000) == "spread"
    assert tier([784, 256, 10], 128, 1000) == "batched"
    assert tier([784, 2048, 2048, 10], 1024, 1000) == "loop"


def test_a_tier_that_cannot_be_had_is_refused(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", "registers")
    net = tn.Sequential(*PROGRAMS["wide"][0](), seed=0, backend="gpu")
    with pytest.raises(ValueError, match="TINYNET_GPU_TIER=registers asks for"):
        net.fit(RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2)), epochs=1)
    monkeypatch.setenv("TINYNET_GPU_TIER", "wrap")
    with pytest.raises(ValueError, match="TINYNET_GPU_TIER must be one of"):
        net.fit(RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2)), epochs=1)
