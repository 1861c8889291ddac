"""Models and what belongs to them by pickle, copy, joblib and process pools."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.estimators import MLPRegressor

RNG = np.random.default_rng(8)
X = RNG.normal(size=(30, 3))
Y = X[:, :1]


class Counting(tn.Layer):
    """A factor that is trained, and an array beside it that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("factor", (1,), init=1.5)
        self.add_parameter("batches", (1,), trainable=False)

    def forward(self, x: Any) -> Any:
        self.x = x
        if self.training:
            self.batches[...] += 1
        return x * self.factor

    def backward(self, grad: Any) -> Any:
        self.factor_grad[...] = (grad * self.x).sum()
        return grad * self.factor


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


HOW: dict[str, Callable[[Any], Any]] = {"pickle": pickled, "copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.fixture(params=HOW)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Each way to copy a thing."""
    return HOW[request.param]


def plain(backend: str) -> tn.Sequential:
    layers = (tn.Normalize(3).adapt(X), tn.Linear(3, 4, weight_init="he"), tn.Dropout(0.3), tn.Linear(4, 1))
    return tn.Sequential(*layers, seed=3, backend=backend)


def custom(backend: str) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 4), Counting(), tn.Linear(4, 1), seed=3, backend=backend, dtype="float64")


def ensemble(backend: str) -> tn.Ensemble:
    return tn.Ensemble(plain(backend), 3)


MODELS: dict[str, Callable[[str], Any]] = {"plain": plain, "custom": custom, "ensemble": ensemble}


@pytest.mark.parametrize("kind", MODELS)
def test_a_copy_goes_on_as_the_model_does(kind: str, copied: Callable[[Any], Any], backend: str) -> None:
    model = MODELS[kind](backend)
    model.fit(X, Y, optimizer=tn.Adam(0.01), epochs=2)
    model.metadata["note"] = ["kept"]
    other = copied(model)
    assert other.history.epoch == [0, 1]
    assert other.metadata == {"note": ["kept"]}
    assert other.backend is model.backend
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    for each in (model, other):
        each.fit(X, Y, optimizer=each.optimizer, epochs=2)
    assert np.isfinite(model.state.moments).all()
    np.testing.assert_array_equal(other.state.parameters, model.state.parameters)
    np.testing.assert_array_equal(other.state.buffers, model.state.buffers)
    np.testing.assert_array_equal(other.state.moments, model.state.moments)
    np.testing.assert_array_equal(other.history["loss"], model.history["loss"])


@pytest.mark.parametrize("kind", MODELS)
def test_a_copy_shares_nothing(kind: str, copied: Callable[[Any], Any]) -> None:
    model = MODELS[kind]("numpy")
    model.fit(X, Y)
    parameters, history, other = model.state.parameters.copy(), dict(model.history.history), copied(model)
    other.fit(X, Y, epochs=3)
    other.metadata["note"] = 1
    np.testing.assert_array_equal(model.state.parameters, parameters)
    assert model.metadata == {}
    assert list(model.history.history) == list(history)
    assert len(model.history) == 1
    # Not the numbers that training draws, either.
    fresh = MODELS[kind]("numpy")
    fresh.fit(X, Y)
    for each in (model, fresh):
        each.fit(X, Y)
    np.testing.assert_array_equal(model.state.parameters, fresh.state.parameters)


def test_the_layers_of_a_copy_are_views_of_its_state(copied: Callable[[Any], Any]) -> None:
    net = copied(plain("numpy"))
    net.layers[1].weight[...] = 0.0
    net.layers[3].bias[...] = 7.0
    assert (net.predict(X) == 7.0).all()


def test_an_optimizer_and_its_model_stay_together() -> None:
    net, optimizer = plain("numpy"), tn.Adam()
    net.fit(X, Y, optimizer=optimizer)
    for how in (pickled, copy.deepcopy):
        other, its = how((net, optimizer))
        assert other.optimizer is its


def test_a_copy_draws_weights_as_the_original_does(copied: Callable[[Any], Any]) -> None:
    net = plain("numpy")
    drawn = [tn.Ensemble(each, 2).state.parameters for each in (net, copied(net))]
    np.testing.assert_array_equal(*drawn)


def test_a_copy_of_a_model_that_was_loaded_goes_on_as_that_does(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    """It has drawn nothing yet, and neither has what will draw been made."""
    tn.Sequential(tn.Linear(3, 4), tn.Dropout(0.5), tn.Linear(4, 1), backend="numpy").save(tmp_path / "net.npz")
    net = tn.load(tmp_path / "net.npz", backend="numpy")
    other, again = copied(net), tn.load(tmp_path / "net.npz", backend="numpy")
    for each in (net, other, again):
        each.fit(X, Y, batch_size=3)
    np.testing.assert_array_equal(other.state.parameters, net.state.parameters)
    assert again.state.dropout_seed != net.state.dropout_seed
    assert (again.state.parameters != net.state.parameters).any()


def test_what_a_subclass_adds_travels(copied: Callable[[Any], Any]) -> None:
    net = plain("numpy")
    net.purpose = "tests"  # type: ignore[attr-defined]
    assert copied(net).purpose == "tests"


@pytest.mark.parametrize(
    "layer",
    [
        tn.Normalize(3).adapt(X),
        tn.Linear(3, 2).build("float64", seed=1, backend="numpy"),
        plain("numpy").layers[1],
        tn.Tanh(),
        Counting(),
    ],
    ids=["adapted", "built", "of a model", "without arrays", "custom"],
)
def test_layers(layer: tn.Layer, copied: Callable[[Any], Any]) -> None:
    other = copied(layer)
    assert type(other) is type(layer)
    assert not other.owned
    np.testing.assert_array_equal(other.forward(X), layer.forward(X))
    for name in layer.parameter_names:
        np.testing.assert_array_equal(getattr(other, name), getattr(layer, name))
        getattr(other, name)[...] = 7.0
        assert (getattr(layer, name) != 7.0).all()


def test_an_adapted_layer_is_adapted_as_a_copy(copied: Callable[[Any], Any]) -> None:
    assert copied(tn.Normalize(3).adapt(X)).adapted
    assert not copied(tn.Normalize(3)).adapted


@pytest.mark.parametrize(
    "thing",
    [
        tn.Adam(tn.Warmup(tn.CosineDecay(0.1, 10), 3), clip_norm=1.0),
        tn.SGD([0.1, 0.2], 0.9),
        tn.Huber(2.0),
        tn.CrossEntropy(),
        tn.StepDecay((0.1, 0.2), 5),
        tn.LevenbergMarquardt(),
        plain("numpy").fit(X, Y),
        ensemble("numpy").fit(X, Y),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_settings_and_histories(thing: Any, copied: Callable[[Any], Any]) -> None:
    assert repr(copied(thing)) == repr(thing)


def test_callbacks_leave_their_training_behind(copied: Callable[[Any], Any]) -> None:
    stopping = tn.EarlyStopping("loss")
    plain("numpy").fit(X, Y, epochs=2, callbacks=stopping)
    other = copied(stopping)
    assert other.best == stopping.best
    assert not hasattr(other, "trainer")


def test_a_callback_may_copy_the_model_that_is_trained() -> None:
    kept: list[tn.Sequential] = []
    hook = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(copy.deepcopy(net)))
    net = plain("numpy")
    net.fit(X, Y, epochs=2, callbacks=hook)
    assert [len(each.history) for each in kept] == [1, 2]  # type: ignore[arg-type]
    kept[0].fit(X, Y)


def test_estimators_and_their_networks_go_on(copied: Callable[[Any], Any]) -> None:
    def trained(estimator: Any, times: int) -> Any:
        for _ in range(times):
            estimator.partial_fit(X, Y[:, 0])
        return estimator

    whole = trained(MLPRegressor(hidden_layer_sizes=(4,), dropout=0.3, random_state=0, backend="numpy"), 4)
    half = trained(MLPRegressor(hidden_layer_sizes=(4,), dropout=0.3, random_state=0, backend="numpy"), 2)
    np.testing.assert_array_equal(copied(half.network_).predict(X), half.network_.predict(X))
    other = trained(copied(half), 2)
    np.testing.assert_array_equal(other.coefs_[0], whole.coefs_[0])


# -- other processes -------------------------------------------------------------------------------------------------


def trained_there(model: Any) -> Any:
    model.fit(X, Y, optimizer=model.optimizer, epochs=2)
    return model


def test_a_process_pool_trains_models() -> None:
    models = [MODELS[kind]("numpy") for kind in MODELS]
    for model in models:
        model.fit(X, Y)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there = list(pool.map(trained_there, models))
    for model, other in zip(models, there, strict=True):
        trained_there(model)
        np.testing.assert_array_equal(other.state.parameters, model.state.parameters)


def test_what_joblib_maps_from_a_file_can_train(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    for kind, make in MODELS.items():
        model = make("numpy")
        model.fit(X, Y)
        joblib.dump((model, RNG.normal(size=3)), tmp_path / kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other, mapped = joblib.load(tmp_path / kind, mmap_mode="r")
        assert isinstance(mapped, np.memmap), "joblib maps arrays"
        np.testing.assert_array_equal(trained_there(other).predict(X), trained_there(model).predict(X))


def test_a_layers_own_array_that_is_mapped_can_be_written(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    layer = Counting()
    layer.memory = np.zeros(5)  # type: ignore[attr-defined]
    joblib.dump(layer, tmp_path / "layer")
    joblib.load(tmp_path / "layer", mmap_mode="r").memory[0] = 1.0


def test_a_pickle_names_no_plan_and_no_backend() -> None:
    net = custom("numpy")
    net.fit(X, Y)
    net.predict(X)
    text = pickle.dumps(net)
    for name in (b"backends", b"guard", b"threading", b"program"):
        assert name not in text


def test_a_pickle_of_a_backend_that_is_not_here_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pickle.dumps(plain("numba"))
    tn_backends = sys.modules["tinynet.backends"]
    monkeypatch.setattr(tn_backends, "_created", {})
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(tn.BackendUnavailableError, match="needs numba"):
        pickle.loads(text)
