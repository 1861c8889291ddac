"""The models of an ensemble as batches of products: each is what it would be alone, however many go at once."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import builder
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn
from tinynet.backends import get_backend

E, N = 4, 22
RNG = np.random.default_rng(15)
X, Y = RNG.normal(size=(N, 6)), RNG.normal(size=(N, 3))
LABELS, COUNTS = RNG.integers(0, 3, N), RNG.poisson(2.0, (N, 3))
WEIGHTS, OWN_WEIGHTS = RNG.uniform(0.5, 2, N), RNG.uniform(0.5, 2, (E, N))
VALIDATION = RNG.normal(size=(9, 6)), RNG.normal(size=(9, 3))


@pytest.fixture(autouse=True)
def batched(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets networks that are small, as those of tests should be, train as large ones do."""
    monkeypatch.setenv("TINYNET_GPU_TIER", "batched")
    if not hasattr(cp, "__file__"):
        from tinynet_kernels import cuda
        from tinynet_kernels.cuda.loading import compile_together

        compile_together(cuda.instances())


def layers(name: str) -> list[tn.Layer]:
    return {
        "plain": lambda: [tn.Linear(6, 8), tn.Tanh(), tn.Linear(8, 3)],
        "unbiased": lambda: [tn.Linear(6, 5, bias=False), tn.GELU(), tn.Linear(5, 4), tn.ELU(0.5), tn.Linear(4, 3)],
        "normalized": lambda: [tn.Normalize(6).adapt(X), tn.Linear(6, 5), tn.SiLU(), tn.Dropout(0.4), tn.Linear(5, 3)],
        "dropout first": lambda: [tn.Dropout(0.3), tn.Linear(6, 5), tn.ReLU(), tn.Linear(5, 3)],
        "activation first": lambda: [tn.Tanh(), tn.Sigmoid(), tn.Linear(6, 3), tn.Softmax(), tn.Linear(3, 3)],
        "probabilities": lambda: [tn.Linear(6, 3), tn.Softmax()],
        "one number": lambda: [tn.Linear(6, 1), tn.LeakyReLU(0.1), tn.Linear(1, 3)],
        "own rates": lambda: [tn.Linear(6, 5), tn.ReLU(), tn.Dropout(np.linspace(0, 0.6, E)), tn.Linear(5, 3)],
    }[name]()


def ensemble(backend: str, name: str = "plain", dtype: str = "float64") -> tn.Ensemble:
    return tn.Ensemble(tn.Sequential(*layers(name), dtype=dtype, seed=4, backend=backend), E)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "unbiased": {"optimizer": lambda: tn.SGD(0.02), "shuffle": False},
    "normalized": {"optimizer": lambda: tn.RMSprop(0.01, momentum=0.5, centered=True), "sample_weight": WEIGHTS},
    "dropout first": {"shared_order": True, "sample_weight": OWN_WEIGHTS, "optimizer": lambda: tn.AdamW(0.01)},
    "activation first": {"shared_order": True, "optimizer": lambda: tn.Adam(0.01, clip_norm=0.3)},
    "probabilities": {
        "y": LABELS,
        "loss": lambda: tn.CrossEntropy(from_logits=False),
        "optimizer": lambda: tn.Adam(0.01, clip_value=0.02),
    },
    "one number": {"shuffle": False, "sample_weight": OWN_WEIGHTS},
    "own rates": {
        "loss": lambda: tn.Huber(np.linspace(0.5, 2, E)),
        "shuffle": "replacement",
        "optimizer": lambda: tn.SGD(
            tn.CosineDecay(np.linspace(0.01, 0.04, E), 3),
            momentum=np.linspace(0, 0.9, E),
            weight_decay=np.linspace(0, 0.1, E),
            clip_norm=np.linspace(0.1, 1, E),
            clip_value=np.linspace(0.1, 0.5, E),
        ),
    },
    "sums": {
        "loss": lambda: tn.MeanSquaredError(reduction="sum"),
        "optimizer": lambda: tn.SGD(0.001),
        "shuffle": False,
    },
    "bagged": {"bootstrap": True, "drop_last": True},
}


def fitted(backend: str, case: str, **settings: Any) -> tuple[tn.Ensemble, tn.history.EnsembleHistory]:
    models = ensemble(backend, case if case not in ("sums", "bagged") else "plain")
    given = {"y": Y, "epochs": 3, "batch_size": 8, "validation_data": VALIDATION, **CASES[case], **settings}
    if given["y"] is LABELS:
        given["validation_data"] = (VALIDATION[0], LABELS[:9])
    made = {name: value() if callable(value) else value for name, value in given.items()}
    return models, models.fit(X, made.pop("y"), **{"optimizer": tn.Adam(0.01), **made})


@pytest.mark.parametrize("case", CASES)
def test_an_ensemble_trains_as_on_numpy(case: str) -> None:
    (ours, history), (theirs, expected) = fitted("gpu", case), fitted("numpy", case)
    assert history.plan == "batched: products of all models at once by cuBLAS, one pass for all that lies between"
    assert expected.plan.startswith("model by model")
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-11)
    np.testing.assert_allclose(
        np.asarray(get_backend("gpu").to_numpy(ours.state.parameters)), theirs.state.parameters, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-10, atol=1e-12)
    y = LABELS if case == "probabilities" else Y
    given = {"sample_weight": CASES[case].get("sample_weight")}
    np.testing.assert_allclose(ours.evaluate(X, y, **given)["loss"], theirs.evaluate(X, y, **given)["loss"], rtol=1e-11)


@pytest.mark.parametrize("case", ["plain", "normalized"])
def test_a_model_is_what_it_is_alone(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = fitted("gpu", case)
    monkeypatch.setenv("TINYNET_GPU_TIER", "loop")
    for i in (0, E - 1):
        alone = tn.Ensemble(tn.Sequential(*layers(case), dtype="float64", seed=4, backend="gpu"), E)[i]
        given = {name: value() if callable(value) else value for name, value in CASES[case].items()}
        alone.fit(X, Y, epochs=3, batch_size=8, **{"optimizer": tn.Adam(0.01), **given})
        np.testing.assert_allclose(together[i].flat_parameters(), alone.flat_parameters(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_of_other_types_are_cast_where_they_are_read(dtype: str) -> None:
    x, outcomes = (10 * X).astype("int16"), []
    for backend in ("gpu", "numpy"):
        models = ensemble(backend, dtype=dtype)
        history = models.fit(x, COUNTS, loss="poisson", epochs=2, batch_size=8, shuffle=False, optimizer=tn.SGD(1e-4))
        outcomes.append(history["loss"])
    np.testing.assert_allclose(*outcomes, rtol={"float32": 1e-5, "float64": 1e-12}[dtype])


def test_gradients_are_those_of_each_model() -> None:
    ours, theirs = ensemble("gpu", "own rates"), ensemble("numpy", "own rates")
    for models in (ours, theirs):
        models.state.draws[...] = np.arange(E)
    values = []
    for models in (ours, theirs):
        place = models.backend.asarray
        plan = models.plan(tn.MeanSquaredError(), None, Y, None)
        values.append(plan.gradient(models.state, place(X), place(Y), place(OWN_WEIGHTS)))
    np.testing.assert_allclose(*values, rtol=1e-12)
    gradients = ours.backend.to_numpy(ours.state.gradients)
    np.testing.assert_allclose(gradients, theirs.state.gradients, rtol=1e-11, atol=1e-14)


# Models that have stopped.


def test_models_that_have_stopped_are_left_alone_and_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backends.cupy import batched

    sizes = []
    of = batched.Cohort.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        batched.Cohort,
        "of",
        classmethod(lambda *given, **settings: sizes.append(len(given[4])) or of(*given, **settings)),
    )
    stopping = {"callbacks": [tn.EarlyStopping(patience=1, restore_best=False)], "epochs": 12}
    rates = np.array([0.01, 1e-300, 0.01, 1e-300])
    (ours, history), (theirs, expected) = (
        fitted(backend, "plain", optimizer=tn.Adam(rates), **stopping) for backend in ("gpu", "numpy")
    )
    np.testing.assert_array_equal(history.stopped, expected.stopped)
    assert set(history.stopped[[1, 3]]) == {2}, "models that never learn should stop first"
    assert {E, 2} <= set(sizes)
    parameters = get_backend("gpu").to_numpy(ours.state.parameters)
    np.testing.assert_allclose(parameters, theirs.state.parameters, rtol=1e-10, atol=1e-12)


def test_a_model_that_diverges_is_stopped_and_disturbs_nobody() -> None:
    rates = [0.1, 1e200, 0.1, 0.1]
    ours, history = fitted("gpu", "plain", optimizer=tn.SGD(rates), epochs=6)
    others, _ = fitted("gpu", "plain", optimizer=tn.SGD(0.1), epochs=6)
    assert history.diverged == [1]
    for i in (0, 2, 3):
        np.testing.assert_array_equal(ours[i].flat_parameters(), others[i].flat_parameters())


# Memory.


@pytest.mark.parametrize("case", ["plain", "normalized", "own rates", "bagged"])
def test_models_in_turns_are_the_same_to_the_last_bit(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = fitted("gpu", case)
    plan = importlib.import_module("tinynet.backends.cupy.batched").BatchedPlan
    monkeypatch.setattr(plan, "_bytes_of_model", lambda *_, **__: int(0.4 * 0.5 * whole.backend.memory()[0]))
    in_turns, again = fitted("gpu", case)
    assert len(next(iter(in_turns._plans.values()))._parts(E, 8, training=True)) == 2  # type: ignore[attr-defined]
    for name in history:
        np.testing.assert_array_equal(again[name], history[name])
    np.testing.assert_array_equal(in_turns.predict(X), whole.predict(X))
    np.testing.assert_array_equal(in_turns.evaluate(X, Y)["loss"], whole.evaluate(X, Y)["loss"])


def test_the_memory_that_is_planned_is_no_less_than_what_is_taken(machine: Machine) -> None:
    models = ensemble("gpu", "normalized")
    pool = machine.pools[0]
    models.fit(X, Y, batch_size=20, shuffle=False)
    plan, before = models.backend.plan(replace(models._plans.popitem()[0][0], batch_size=22)), pool.used
    place = models.backend.asarray
    plan.run(models.state, place(X), place(Y), None, np.full((1, 1), 0.01))
    # CuPy's arrays take multiples of 512 bytes.
    assert pool.used - before <= E * plan._bytes_of_model(22, training=True) + 512 * 30  # type: ignore[attr-defined]


def test_long_tables_go_to_the_device_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = fitted("gpu", "own rates")
    monkeypatch.setattr(importlib.import_module("tinynet.backends.cupy.batched"), "TABLE_NUMBERS", 8 * E * 2)
    pieces, again = fitted("gpu", "own rates")
    np.testing.assert_array_equal(history["loss"], again["loss"])
    np.testing.assert_array_equal(pieces.predict(X), whole.predict(X))


def test_data_in_host_memory_train_model_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for limit in ("1000000", "0"):
        monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", limit)
        _, history = fitted("gpu", "plain")
        outcomes.append((history["loss"], history["val_loss"]))
    for resident, streamed in zip(*outcomes, strict=True):
        np.testing.assert_allclose(streamed, resident, rtol=1e-11)


def test_results_do_not_depend_on_the_order_of_threads(machine: Machine) -> None:
    runs = []
    for name, seed in builder.orders(n_random=1):
        with builder.order(name, seed):
            models, history = fitted("gpu", "own rates")
            runs.append((history["loss"], models.predict(X)))
    for run in runs[1:]:
        for got, want in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(got, want)


# Which plan.


def plan_of(net: tn.Sequential, n_models: int = 3, **settings: Any) -> str:
    models = tn.Ensemble(net, n_models)
    return models.plan(tn.MeanSquaredError(), tn.Adam(), np.zeros((4, 1)), settings.get("batch_size", 32)).description


def test_models_too_large_for_a_block_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYNET_GPU_TIER")
    wide = tn.Sequential(tn.Linear(300, 256), tn.ReLU(), tn.Linear(256, 1), backend="gpu")
    assert plan_of(wide).startswith("batched: products of all models at once by cuBLAS, one pass")
    assert plan_of(wide, n_models=1).startswith("fused: a kernel for each product")
    assert plan_of(ensemble("gpu")[0]).startswith("fused: whole epochs in one launch")
    assert type(tn.Ensemble(wide, 3)._plan(tn.Ensemble(wide, 3).program)).__name__ == "BatchedPlan", "predictions"


def test_models_that_keep_the_device_busy_train_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYNET_GPU_TIER")
    wide = tn.Sequential(tn.Linear(300, 256), tn.ReLU(), tn.Linear(256, 1), backend="gpu")
    assert plan_of(wide, batch_size=50_000).startswith("model by model: large: ")


def test_one_model_trains_kernel_by_kernel_where_batches_are_asked_for() -> None:
    assert ensemble("gpu")[0].fit(X, Y).plan.startswith("large: products by cuBLAS")


def test_what_the_kernels_do_not_compute_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    models = ensemble("gpu")
    program = models.plan(tn.MeanSquaredError(), tn.Adam(), Y, 8).program
    assert program.loss is not None
    plan = models.backend.plan(replace(program, loss=replace(program.loss, l2=0.1)))
    assert plan.description.startswith("model by model: loop: an L2 penalty")


def test_a_plan_without_a_loss_says_so() -> None:
    models = ensemble("gpu")
    plan, place = models.backend.plan(models.program), models.backend.asarray
    with pytest.raises(ValueError, match="made without a loss"):
        plan.evaluate(models.state, place(X), place(Y))
