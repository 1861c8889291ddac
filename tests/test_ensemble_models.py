"""The models of an ensemble: predictions, choosing and joining, files, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ensemble_nets import MOMENTA, XV, YV, E, N, X, Y, assert_is, models, net

import tinynet as tn
from tinynet.ensembles import predictions as ensemble_predictions


def test_predictions_and_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    together = models()
    y = together.predict(XV)
    for i, model in enumerate(together):
        np.testing.assert_allclose(y[i], model.predict(XV), rtol=1e-12)
    monkeypatch.setattr(ensemble_predictions, "PREDICT_BYTES", 2 * 8 * E)
    np.testing.assert_allclose(together.mean(XV), y.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(together.std(XV, ddof=1), y.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(together.quantile(XV, 0.5), np.median(y, axis=0), rtol=1e-12)
    np.testing.assert_allclose(together.quantile(XV, [0.1, 0.9]), np.quantile(y, [0.1, 0.9], axis=0), rtol=1e-12)


def test_evaluation_has_a_figure_for_each_model() -> None:
    together = models()
    figures = together.evaluate(XV, YV, loss="mse", metrics="mae")
    for i, model in enumerate(together):
        own = model.evaluate(XV, YV, loss="mse", metrics="mae")
        np.testing.assert_allclose([figures["loss"][i], figures["mae"][i]], [own["loss"], own["mae"]], rtol=1e-12)


def test_the_best_models_have_the_highest_accuracy() -> None:
    labels = (X[:, 0] > 0).astype(int)
    builder = tn.Sequential(tn.Linear(2, 2), dtype="float64", seed=0)
    together = tn.Ensemble(builder, E)
    together.fit(X, labels, loss="cross_entropy", epochs=2, metrics="accuracy", validation_data=(XV, np.arange(7) % 2))
    shares = [np.mean(y.argmax(axis=1) == labels) for y in together.predict(X)]
    np.testing.assert_array_equal(together.scores["accuracy"], shares)
    assert len(set(shares)) > 2
    best = together.best(2, by="accuracy")
    assert best.seeds == [together.seeds[i] for i in np.argsort(-np.array(shares), kind="stable")[:2]]
    assert together.best(by="accuracy", mode="min").scores["accuracy"] == min(shares)
    assert together.best().scores["val_loss"] == min(together.scores["val_loss"])
    assert together.best(by="val_loss", mode="max").scores["val_loss"] == max(together.scores["val_loss"])


def test_choosing_and_joining() -> None:
    together = models(rate=MOMENTA / 2)
    together.fit(X, Y, epochs=2, optimizer="sgd")
    order = np.argsort(together.scores["loss"])
    best = together.best(3)
    assert best.seeds == [10 + i for i in order[:3]] == together.best(3, by="loss").seeds
    with pytest.raises(IndexError, match="the ensemble has 3 models, numbered from 0; got 3"):
        _ = best[3]
    with pytest.raises(ValueError, match=r"q must be within \[0, 1\]; got 50"):
        best.quantile(XV, 50)
    mask = np.arange(E) % 2 == 0
    joined = tn.Ensemble.concatenate([together[mask], together[[7]]])
    wanted = [*np.flatnonzero(mask), 7]
    np.testing.assert_array_equal(joined.predict(XV), together.predict(XV)[wanted])
    assert joined.program.ops[2] == tn.Ensemble(net(rate=(MOMENTA / 2)[wanted]), len(wanted)).program.ops[2]
    # They go on as they would have.
    for part in (together, joined):
        part.fit(X, Y, epochs=2, optimizer="sgd")
    np.testing.assert_allclose(joined.state.parameters, together.state.parameters[wanted], rtol=1e-12)
    with pytest.raises(ValueError, match="same layers"):
        tn.Ensemble.concatenate([together, models()])


def test_one_model_is_an_ensemble_too(backend: str) -> None:
    together = tn.Ensemble(net(backend), 1)
    assert together.fit(X, Y, epochs=2)["loss"].shape == (2, 1)
    alone = net(backend)
    alone.fit(X, Y, epochs=2)
    assert_is(together[0], alone)


def test_models_move_to_another_backend() -> None:
    together = models()
    expected = together.predict(XV)
    together.fit(X, Y, epochs=1)
    moved = together[:].to("numpy")
    np.testing.assert_allclose(moved.predict(XV), together.predict(XV), rtol=1e-12)
    assert not np.array_equal(expected, together.predict(XV))
    for part in (together, moved):
        part.fit(X, Y, epochs=1, optimizer="sgd")
    np.testing.assert_allclose(moved.state.parameters, together.state.parameters, rtol=1e-11)


def test_save_and_load(tmp_path: Path) -> None:
    together = models(rate=MOMENTA / 2)
    together.metadata["note"] = "kept"
    together.fit(X, Y, epochs=2, optimizer="sgd")
    together.save(tmp_path / "models.npz")
    loaded = tn.Ensemble.load(tmp_path / "models.npz", backend="numba")
    assert (loaded.seeds, loaded.metadata, loaded.program) == (together.seeds, together.metadata, together.program)
    np.testing.assert_array_equal(loaded.predict(XV), together.predict(XV))
    np.testing.assert_array_equal(loaded.scores["loss"], together.scores["loss"])
    for part in (together, loaded):
        part.fit(X, Y, epochs=2, optimizer=tn.SGD())
    np.testing.assert_array_equal(loaded.state.parameters, together.state.parameters)


def test_a_normalizer_is_saved(tmp_path: Path) -> None:
    layer = tn.Normalize(2).adapt(X)
    together = tn.Ensemble(tn.Sequential(layer, tn.Linear(2, 1), seed=0), 3)
    together.save(tmp_path / "models.npz")
    loaded = tn.Ensemble.load(tmp_path / "models.npz")
    np.testing.assert_array_equal(loaded.predict(XV), together.predict(XV))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    net().save(tmp_path / "net.npz")
    models().save(tmp_path / "models.npz")
    with pytest.raises(tn.ModelFileError, match="expects an ensemble"):
        tn.Ensemble.load(tmp_path / "net.npz")
    with pytest.raises(tn.ModelFileError, match=r"tinynet\.load expects a model.*Ensemble\.load reads"):
        tn.load(tmp_path / "models.npz")
    with pytest.raises(tn.ModelFileError, match="checkpoint of an ensemble"):
        models().fit(X, Y, resume_from=tmp_path / "models.npz")


class Double(tn.Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, grad: Any) -> Any:
        return 2 * grad


BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "settings": (
        lambda: models().fit(X, Y, optimizer=tn.SGD(0.1, momentum=[0.1, 0.2])),
        ValueError,
        "momentum .* 9 models",
    ),
    "rates": (lambda: models().fit(X, Y, optimizer=tn.SGD([0.1, 0.2])), ValueError, "learning_rate .* 9 models; got 2"),
    "dropout": (lambda: models(rate=[0.1, 0.2]), ValueError, "dropout rate of layer 2 .* 9 models; got 2"),
    "seeds": (lambda: tn.Ensemble(net(), 3, seeds=[1, 2]), ValueError, "one for each model, 3; got 2"),
    "no models": (lambda: tn.Ensemble(net(), 0), ValueError, "n_models must be a whole number >= 1"),
    "layer": (
        lambda: tn.Ensemble(tn.Sequential(tn.Linear(2, 2), Double()), 3),
        TypeError,
        "built-in layers; got Double",
    ),
    "weights": (lambda: models().fit(X, Y, sample_weight=np.ones((2, N))), ValueError, "sample_weight"),
    "best": (lambda: models().best(), ValueError, "never trained"),
    "alone": (lambda: net().fit(X, Y, optimizer=tn.SGD(0.1, momentum=[0.1, 0.2])), ValueError, "one model expects"),
    "alone, rates": (lambda: net().fit(X, Y, optimizer=tn.SGD([0.1, 0.2])), ValueError, "learning rate"),
    "setting": (lambda: tn.SGD([0.1, -0.2]), ValueError, r"learning_rate\[1\] must be"),
    "monitor": (lambda: models().fit(X, Y, callbacks=[tn.EarlyStopping()]), ValueError, "monitors 'val_loss'"),
}


def test_a_figure_that_nobody_reports_is_told_before_training() -> None:
    together = models()
    before = together.state.parameters.copy()
    with pytest.raises(ValueError, match="'val_r2'; this training reports loss, val_loss, learning_rate"):
        together.fit(X, Y, validation_data=(XV, YV), callbacks=[tn.EarlyStopping("val_r2")])
    np.testing.assert_array_equal(together.state.parameters, before)


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str) -> None:
    act, error, message = BAD[name]
    with pytest.raises(error, match=message):
        act()


def test_calls_that_are_kept_read_the_data_the_weights_and_the_models_of_now() -> None:
    rng = np.random.default_rng(0)
    first, second, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    layers = tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1)
    nets = tn.Ensemble(tn.Sequential(*layers, seed=0, dtype="float64", backend="numba"), 5)
    for x in (first, second):
        for _ in range(2):
            nets.state.parameters[...] = nets.state.parameters[::-1].copy()
            alone = [one.to("numpy") for one in nets]
            np.testing.assert_allclose(nets.predict(x), [one.predict(x) for one in alone], rtol=1e-12)
            found = nets.evaluate(x, y, loss="mse")["loss"]
            np.testing.assert_allclose(found, [one.evaluate(x, y, loss="mse")["loss"] for one in alone], rtol=1e-12)
    alone = [one.to("numpy") for one in nets]
    for x, weight in ((first, None), (second, None), (second, rng.uniform(1, 2, size=(5, 30)))):
        call: dict[str, Any] = {"epochs": 2, "batch_size": 7, "shuffle": False, "optimizer": "sgd"}
        nets.fit(x, y, sample_weight=weight, **call)
        for i, one in enumerate(alone):
            one.fit(x, y, sample_weight=None if weight is None else weight[i], **call)
        expected = [one.flat_parameters() for one in alone]
        np.testing.assert_allclose([one.flat_parameters() for one in nets], expected, rtol=1e-10)
