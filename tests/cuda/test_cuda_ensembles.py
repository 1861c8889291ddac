"""Many models in one launch: each is what it would be alone, whatever becomes of the others."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.backends import get_backend
from tinynet.backends.base import Backend, State
from tinynet.ensembles import predictions as ensemble_predictions
from tinynet.program import DropoutOp, LossSpec, OptimizerSpec, Program

N, E = 19, 5
RNG = np.random.default_rng(8)
X, Y, LABELS = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 2)), RNG.integers(0, 2, N)
FUSED = "fused: whole epochs in one launch, a {} for each model"
TIERS = {
    "registers": FUSED.format("thread"),
    "warp": FUSED.format("warp"),
    "persistent": FUSED.format("block"),
    "batched": "batched: products of all models at once by cuBLAS, one pass for all that lies between",
}
each_tier = pytest.mark.parametrize("tier", TIERS, indirect=True)


@pytest.fixture
def tier(request: pytest.FixtureRequest, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tier that is in force. Where each model has a warp, there are three in a block, and two in the last."""
    from tinynet.backends.cupy import fused

    name: str = request.param
    monkeypatch.setenv("TINYNET_GPU_TIER", name)
    if name == "warp":
        monkeypatch.setattr(fused, "limits_of", lambda backend: fused.Limits(49_152, 2))
    return name


def per_model(low: float, high: float) -> tuple[float, ...]:
    return tuple(np.linspace(low, high, E).tolist())


def program(kind: str) -> Program:
    """A program of E models, of which every setting differs from model to model."""
    net = tn.Sequential(tn.Linear(3, 3), tn.Tanh(), tn.Dropout(0.5), tn.Linear(3, 2), dtype="float64", backend="numpy")
    ops = tuple(replace(op, rate=per_model(0.0, 0.6)) if isinstance(op, DropoutOp) else op for op in net.program.ops)
    if kind == "sgd":
        settings: tuple[Any, ...] = (("momentum", per_model(0.0, 0.9)), ("nesterov", 0.0), ("weight_decay", 0.01))
        optimizer = OptimizerSpec("sgd", settings, 1, clip_value=per_model(0.05, 0.5))
        loss = tn.Huber(0.5).lower(ops, index_target=False)
        loss = replace(loss, parameter=per_model(0.2, 1.0))
    else:
        names = ("beta1", "beta2", "epsilon", "weight_decay")
        values = (per_model(0.5, 0.9), per_model(0.9, 0.999), per_model(1e-8, 1e-4), per_model(0.0, 0.1))
        optimizer = OptimizerSpec("adamw", tuple(zip(names, values, strict=True)), 2, clip_norm=per_model(0.1, 2.0))
        loss = tn.CrossEntropy().lower(ops, index_target=True)
    return Program(ops, loss, optimizer, "float64", batch_size=4, n_models=E)


def state_of(backend: Backend, made: Program) -> State:
    rng = np.random.default_rng(3)
    state = backend.new_state(made, rng.normal(size=(E, made.n_parameters)), np.arange(40, 40 + E))
    state.step, state.draws = np.arange(E), 7 * np.arange(E)
    return state


def member(backend: Backend, made: Program, i: int) -> State:
    """The state of one model, by itself."""
    whole = state_of(get_backend("numpy"), made)
    alone = backend.new_state(made.member(i), whole.parameters[i], int(whole.dropout_seed[i]))
    alone.step, alone.draws = int(whole.step[i]), int(whole.draws[i])
    return alone


def data_of(backend: Backend, loss: LossSpec, own: bool) -> tuple[Any, ...]:
    """Samples, targets, sample order, rates and weights: the models' own, or shared."""
    rng = np.random.default_rng(4)
    models = (E,) if own else ()
    order = rng.integers(0, N, (2, *models, 14))
    rates = rng.uniform(0.01, 0.05, (2, 4, *models))
    weight = rng.uniform(0.5, 2.0, (*models, N))
    y = LABELS if loss.index_target else Y
    place = backend.asarray
    return place(X), place(y), place(order), rates, place(weight)


def trained(backend: Backend, made: Program, state: State, data: tuple[Any, ...]) -> list[np.ndarray]:
    plan, host = backend.plan(made), backend.to_numpy
    x, y, order, rates, weight = data
    losses = plan.run(state, x, y, order, rates, weight)
    models = () if made.n_models is None else (made.n_models,)
    out = backend.empty((*models, N, 2), "float64")
    plan.predict(state, x, out)
    value = plan.evaluate(state, x, y, weight)
    moments = np.moveaxis(host(state.moments), 0, -1)  # The models first, as everywhere else.
    return [np.asarray(losses), host(state.parameters), moments, np.asarray(value), host(out)]


def of_member(data: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    x, y, order, rates, weight = data
    return (
        *(x, y, order[:, i] if order.ndim == 3 else order),
        *(rates[..., i] if rates.ndim == 3 else rates, weight[i] if weight.ndim == 2 else weight),
    )


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@each_tier
def test_a_model_among_many_is_what_it_is_alone(tier: str, own: bool, kind: str) -> None:
    made, gpu, numpy = program(kind), get_backend("gpu"), get_backend("numpy")
    assert made.loss is not None
    together = state_of(gpu, made)
    assert gpu.plan(made).description == TIERS[tier]
    losses, *rest = trained(gpu, made, together, data_of(gpu, made.loss, own))
    np.testing.assert_array_equal(together.step, np.arange(E) + 8)
    np.testing.assert_array_equal(together.draws, 7 * np.arange(E) + 8)
    for i in range(E):
        data = of_member(data_of(numpy, made.loss, own), i)
        expected_losses, parameters, moments, *figures = trained(numpy, made.member(i), member(numpy, made, i), data)
        np.testing.assert_allclose(losses[:, i], expected_losses[:, 0], rtol=1e-11)
        # A model without momentum remembers nothing; among others it has room for it.
        n_moments = moments.shape[-1]
        for got, expected in zip((rest[0][i], rest[1][i, :, :n_moments]), (parameters, moments), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
        for got, expected in zip(rest[2:], figures, strict=True):
            np.testing.assert_allclose(got[i], expected, rtol=1e-11)


@each_tier
def test_the_number_of_models_changes_no_bit_of_any(tier: str) -> None:
    made, gpu = program("sgd"), get_backend("gpu")
    assert made.loss is not None
    data = data_of(gpu, made.loss, own=False)
    all_of_them = trained(gpu, made, state_of(gpu, made), data)
    some = [3, 1]
    few = state_of(gpu, made)
    few.parameters, few.moments = few.parameters[some].copy(), few.moments[:, some].copy()
    few.step, few.draws, few.dropout_seed = few.step[some], few.draws[some], few.dropout_seed[some]
    losses, *rest = trained(gpu, made.select(some), few, data)
    assert losses.tobytes() == np.ascontiguousarray(all_of_them[0][:, some]).tobytes()
    for got, expected in zip(rest, all_of_them[1:], strict=True):
        assert got.tobytes() == expected[some].tobytes()


@each_tier
def test_some_of_the_models_train_and_the_others_stay_as_they_are(tier: str) -> None:
    made, gpu = program("adamw"), get_backend("gpu")
    assert made.loss is not None
    x, y, order, rates, weight = data_of(gpu, made.loss, own=True)
    everyone, some = state_of(gpu, made), state_of(gpu, made)
    before = gpu.to_numpy(some.parameters).copy()
    plan = gpu.plan(made)
    all_losses = plan.run(everyone, x, y, order, rates, weight)
    chosen = np.array([3, 1])
    own_order = gpu.asarray(gpu.to_numpy(order)[:, chosen])
    losses = plan.run(some, x, y, own_order, rates[..., chosen], weight, chosen)
    assert losses.tobytes() == np.ascontiguousarray(all_losses[:, chosen]).tobytes()
    expected = before.copy()
    expected[chosen] = gpu.to_numpy(everyone.parameters)[chosen]
    assert gpu.to_numpy(some.parameters).tobytes() == expected.tobytes()
    np.testing.assert_array_equal(some.step, np.arange(E) + 8 * np.isin(np.arange(E), chosen))
    values = plan.evaluate(everyone, x, y, weight)
    assert plan.evaluate(everyone, x, y, weight, chosen).tobytes() == values[chosen].tobytes()


@each_tier
def test_a_model_that_diverges_disturbs_nobody(tier: str) -> None:
    made, gpu = program("adamw"), get_backend("gpu")
    assert made.loss is not None
    data = data_of(gpu, made.loss, own=True)
    well = trained(gpu, made, state_of(gpu, made), data)
    ill_state = state_of(gpu, made)
    ill_state.parameters[2] = np.nan
    ill = trained(gpu, made, ill_state, data)
    others = [i for i in range(E) if i != 2]
    assert np.isnan(ill[0][:, 2]).all()
    assert ill[0][:, others].tobytes() == well[0][:, others].tobytes()
    for got, expected in zip(ill[1:], well[1:], strict=True):
        assert got[others].tobytes() == expected[others].tobytes()


def test_gradients_of_many_are_those_of_each(cp: ModuleType) -> None:
    made, gpu, numpy = program("adamw"), get_backend("gpu"), get_backend("numpy")
    state = state_of(gpu, made)
    values = gpu.plan(made).gradient(state, gpu.asarray(X), gpu.asarray(LABELS))
    gradients = gpu.to_numpy(state.gradients)
    for i in range(E):
        alone = member(numpy, made, i)
        np.testing.assert_allclose(values[i], numpy.plan(made.member(i)).gradient(alone, X, LABELS), rtol=1e-11)
        np.testing.assert_allclose(gradients[i], alone.gradients, rtol=1e-11, atol=1e-14)


def test_an_ensemble_trains_in_one_launch_as_it_does_on_numpy(cp: ModuleType) -> None:
    outcomes = []
    for backend in ("gpu", "numpy"):
        net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), dtype="float64", seed=0, backend=backend)
        ensemble = tn.Ensemble(net, 4)
        history = ensemble.fit(X, Y, optimizer=tn.Adam(0.01), epochs=3, batch_size=7)
        outcomes.append((np.array(history.history["loss"]), np.asarray(ensemble.predict(X))))
    for got, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_models_are_picked_and_joined_on_the_device(gpu: str) -> None:
    layers = tn.Normalize(3).adapt(np.arange(12.0).reshape(4, 3)), tn.Linear(3, 2)
    models = tn.Ensemble(tn.Sequential(*layers, dtype="float64", seed=1, backend=gpu), 3)
    x = np.random.default_rng(2).normal(size=(5, 3))
    every = models.predict(x)
    np.testing.assert_array_equal(models[[2, 0]].predict(x), every[[2, 0]])
    np.testing.assert_array_equal(tn.Ensemble.concatenate([models[1:], models[:1]]).predict(x), every[[1, 2, 0]])


@pytest.mark.parametrize("tier", ["", "loop"])
def test_metrics_and_weights_of_each_model_on_the_device(tier: str, gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    monkeypatch.setattr(ensemble_predictions, "PREDICT_BYTES", 2 * 8 * N * 2)  # Two models at a time.
    weight = RNG.uniform(0.5, 1.5, (E, N))
    histories = []
    for backend in (gpu, "numpy"):
        net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), dtype="float64", seed=0, backend=backend)
        options: dict[str, Any] = {"validation_split": 0.3, "metrics": ["r2", "mae"], "bootstrap": True}
        options["callbacks"] = [tn.EarlyStopping("val_mae", patience=0)]
        rates = [0.01, 1.0, 0.1, 0.5, 0.05]  # So that some stop, and metrics are of the others only.
        models = tn.Ensemble(net, E)
        histories.append(models.fit(X, Y, sample_weight=weight, optimizer=tn.SGD(rates), epochs=4, **options))
    assert len(set(histories[1].stopped.tolist())) > 1
    for name in histories[1]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-9, err_msg=name)
