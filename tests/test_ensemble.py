"""Ensembles: every model is what it would be alone, and what comes after training: choosing, joining, keeping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.ensembles import predictions as ensemble_predictions
from tinynet.ensembles import trainer as ensemble_trainer

N, E = 19, 9
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 2))
Y = np.sin(X[:, :1]) + 0.1 * RNG.normal(size=(N, 1))
XV, YV = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1))


def net(backend: str = "numba", rate: Any = None, seed: int | None = 0) -> tn.Sequential:
    dropout = [] if rate is None else [tn.Dropout(rate)]
    layers = [tn.Linear(2, 3), tn.Tanh(), *dropout, tn.Linear(3, 1)]
    return tn.Sequential(*layers, dtype="float64", seed=seed, backend=backend)


def models(backend: str = "numba", rate: Any = None) -> tn.Ensemble:
    return tn.Ensemble(net(backend, rate), E, seeds=range(10, 10 + E))


def assert_is(model: tn.Sequential, other: tn.Sequential) -> None:
    np.testing.assert_allclose(model.flat_parameters(), other.flat_parameters(), rtol=1e-12, atol=1e-13)


def test_initial_weights_are_those_of_the_seed() -> None:
    together = models()
    for i, model in enumerate(together):
        np.testing.assert_array_equal(model.flat_parameters(), net(seed=10 + i).flat_parameters())


def test_each_model_ends_as_it_does_alone(backend: str) -> None:
    together = models(backend, 0.3)
    options: dict[str, Any] = {"epochs": 4, "batch_size": 4, "validation_data": (XV, YV), "drop_last": True}
    history = together.fit(X, Y, optimizer=tn.SGD(0.05), **options)
    assert history["loss"].shape == history["val_loss"].shape == (4, E)
    for i in (0, 5, E - 1):
        alone = net(backend, 0.3, 10 + i)
        own = alone.fit(X, Y, optimizer=tn.SGD(0.05), **options)
        assert_is(together[i], alone)
        np.testing.assert_allclose(history["loss"][:, i], own["loss"], rtol=1e-12)
        np.testing.assert_allclose(history["val_loss"][:, i], own["val_loss"], rtol=1e-12)
        # What is drawn from here on is the same, too.
        assert together[i].rng.bit_generator.state == alone.rng.bit_generator.state
        assert together[i].state.draws == alone.state.draws


RATES = np.linspace(0.01, 0.1, E)
MOMENTA = np.linspace(0.0, 0.9, E)
SETTINGS: dict[str, tuple[Callable[[Any], tn.Optimizer], Callable[[Any], tn.Loss]]] = {
    "momentum": (
        lambda of: tn.SGD(of(RATES), momentum=of(MOMENTA), weight_decay=of(RATES)),
        lambda of: tn.Huber(of(RATES)),
    ),
    "schedule": (
        lambda of: tn.SGD(tn.Warmup(tn.CosineDecay(of(RATES), 3, of(RATES) / 10), 1), clip_norm=of(RATES)),
        lambda of: tn.MeanSquaredError(),
    ),
    "adam": (
        lambda of: tn.AdamW(of(RATES), of(MOMENTA), epsilon=of(RATES), clip_value=of(RATES)),
        lambda of: tn.Huber(),
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_model_may_have_its_own_settings(name: str, backend: str) -> None:
    optimizer, loss = SETTINGS[name]
    rates = MOMENTA / 2
    together = models(backend, rates)
    history = together.fit(X, Y, loss=loss(lambda v: v), optimizer=optimizer(lambda v: v), epochs=3, batch_size=4)
    for i in (0, 4, E - 1):
        alone = net(backend, float(rates[i]), 10 + i)
        of = lambda v, i=i: v[i]  # noqa: E731
        own = alone.fit(X, Y, loss=loss(of), optimizer=optimizer(of), epochs=3, batch_size=4)
        assert_is(together[i], alone)
        np.testing.assert_allclose(history["loss"][:, i], own["loss"], rtol=1e-12)


def test_bootstrap_is_weights_from_the_seed_alone() -> None:
    together = models()
    counts = together.bootstrap_weights(N)
    assert (counts.sum(axis=1) == N).all()
    assert len({row.tobytes() for row in counts}) == E
    together.fit(X, Y, epochs=2, batch_size=4, bootstrap=True, optimizer="sgd")
    for i in (0, E - 1):
        alone = net(seed=10 + i)
        alone.fit(X, Y, epochs=2, batch_size=4, sample_weight=counts[i], optimizer="sgd")
        assert_is(together[i], alone)


def test_a_shared_order_is_that_of_the_first_model() -> None:
    together = models()
    together.fit(X, Y, epochs=2, batch_size=4, shared_order=True, optimizer="sgd")
    alone, rng = net(seed=10), net(seed=10).rng
    alone.fit(X, Y, epochs=2, batch_size=4, optimizer="sgd")
    assert_is(together[0], alone)
    last = net(seed=10 + E - 1)
    for _ in range(2):
        order = rng.permutation(N)
        last.fit(X[order], Y[order], epochs=1, batch_size=4, shuffle=False, optimizer="sgd")
    assert_is(together[E - 1], last)


@pytest.mark.parametrize("restore", [True, False])
def test_each_model_stops_by_itself(restore: bool, backend: str) -> None:
    callbacks = [
        tn.EarlyStopping(patience=1, restore_best=restore),
        tn.ReduceLROnPlateau(patience=1, factor=0.5, min_learning_rate=0.02),
    ]
    options: dict[str, Any] = {"epochs": 25, "batch_size": 4, "validation_data": (XV, YV)}
    together = models(backend)
    history = together.fit(X, Y, optimizer=tn.SGD(0.1), callbacks=callbacks, **options)
    assert len(np.unique(history.stopped)) > 2, "the data are chosen so that models stop at different times"
    for i in range(E):
        alone = net(backend, seed=10 + i)
        own = alone.fit(X, Y, optimizer=tn.SGD(0.1), callbacks=callbacks, **options)
        n = len(own)
        assert history.stopped[i] == (n - 1 if own.stop_reason else -1)
        np.testing.assert_allclose(history["val_loss"][:n, i], own["val_loss"], rtol=1e-10)
        assert np.isnan(history["val_loss"][n:, i]).all()
        assert_is(together[i], alone)
        held = min(own["val_loss"]) if restore else own["val_loss"][-1]
        np.testing.assert_allclose(together.scores["val_loss"][i], held, rtol=1e-10)


def test_a_diverging_model_is_stopped_and_the_others_never_know() -> None:
    rates = np.full(E, 0.01)
    usual = models()
    usual.fit(X, Y, optimizer=tn.SGD(rates), epochs=50, batch_size=4)
    rates[3] = 1e9
    together = tn.Ensemble(net(), E, seeds=range(10, 10 + E))
    history = together.fit(X, Y, optimizer=tn.SGD(rates), epochs=50, batch_size=4)
    assert history.diverged == [3]
    assert history.stopped[3] >= 0
    assert np.isfinite(together.state.parameters).all()
    assert np.argsort(together.scores["loss"])[-1] == 3
    others = np.arange(E) != 3
    assert together.state.parameters[others].tobytes() == usual.state.parameters[others].tobytes()


def test_memory_threads_and_callbacks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = set()
    for threads, slices, callbacks in ((1, False, False), (2, False, True), (3, True, False)):
        if slices:
            monkeypatch.setattr(ensemble_trainer, "SLICE", 2)
            monkeypatch.setattr(ensemble_trainer, "CHUNK_BYTES", 1)
        seen: list[Any] = []
        hook = tn.LambdaCallback(on_epoch_end=lambda epoch, logs, seen=seen: seen.append(logs["loss"]))
        together = tn.Ensemble(net(), 40)
        options: dict[str, Any] = {"callbacks": [hook]} if callbacks else {}
        together.fit(X, Y, epochs=5, batch_size=4, threads=threads, optimizer="sgd", **options)
        assert len(seen) == 5 * callbacks
        outcomes.add(together.state.parameters.tobytes())
    assert len(outcomes) == 1


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


def largest_error(prediction: Any, target: Any) -> float:
    return float(np.abs(prediction - target).max())


@pytest.mark.parametrize("validated", [False, True], ids=["training", "validation"])
def test_metrics_of_each_epoch_are_those_of_each_model_alone(
    validated: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble_predictions, "PREDICT_BYTES", 2 * 8 * N)  # Two models at a time.
    metrics = ["r2", "mae", largest_error]
    options: dict[str, Any] = {"epochs": 3, "batch_size": 4, "metrics": metrics}
    if validated:
        options["validation_data"] = (XV, YV)
    together = models(backend)
    history = together.fit(X, Y, optimizer=tn.SGD(0.05), **options)
    for i in range(E):
        alone = net(backend, seed=10 + i)
        own = alone.fit(X, Y, optimizer=tn.SGD(0.05), **options)
        assert list(history) == list(own)
        for name in own:
            np.testing.assert_allclose(history[name][:, i], own[name], rtol=1e-10)
            if name != "learning_rate":
                assert together.scores[name][i] == history[name][-1, i]


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
    assert together.best(by="val_loss", mode="max").scores["val_loss"] == max(together.scores["val_loss"])


def test_early_stopping_watches_a_metric_of_each_model() -> None:
    callbacks = [tn.EarlyStopping("val_r2", patience=1)]
    options: dict[str, Any] = {"epochs": 25, "batch_size": 4, "validation_data": (XV, YV), "metrics": "r2"}
    together = models()
    history = together.fit(X, Y, optimizer=tn.SGD(0.1), callbacks=callbacks, **options)
    assert len(np.unique(history.stopped)) > 2, "the data are chosen so that models stop at different times"
    for i in range(E):
        alone = net(seed=10 + i)
        own = alone.fit(X, Y, optimizer=tn.SGD(0.1), callbacks=callbacks, **options)
        np.testing.assert_allclose(history["val_r2"][: len(own), i], own["val_r2"], rtol=1e-10)
        assert np.isnan(history["val_r2"][len(own) :, i]).all()
        np.testing.assert_allclose(together.scores["val_r2"][i], max(own["val_r2"]), rtol=1e-10)
        assert_is(together[i], alone)


def test_choosing_and_joining() -> None:
    together = models(rate=MOMENTA / 2)
    together.fit(X, Y, epochs=2, optimizer="sgd")
    order = np.argsort(together.scores["loss"])
    best = together.best(3, by="loss")
    assert best.seeds == [10 + i for i in order[:3]]
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
    with pytest.raises(tn.ModelFileError):
        tn.load(tmp_path / "models.npz")
    with pytest.raises(tn.ModelFileError, match="checkpoint of an ensemble"):
        models().fit(X, Y, resume_from=tmp_path / "models.npz")


def test_a_resumed_run_ends_as_one_that_was_never_stopped(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"

    def train(epochs: int, resume_from: Path | None = None) -> tuple[tn.Ensemble, tn.EnsembleHistory]:
        together = models(rate=0.2)
        callbacks = [tn.EarlyStopping(patience=2), tn.Checkpoint(path, every=5)]
        options: dict[str, Any] = {"callbacks": callbacks, "validation_data": (XV, YV), "resume_from": resume_from}
        return together, together.fit(X, Y, optimizer=tn.Adam(0.05), epochs=epochs, batch_size=4, **options)

    whole, history = train(20)
    train(5)
    resumed, resumed_history = train(20, path)
    assert whole.state.parameters.tobytes() == resumed.state.parameters.tobytes()
    np.testing.assert_array_equal(history["val_loss"], resumed_history["val_loss"])
    np.testing.assert_array_equal(history.stopped, resumed_history.stopped)
    np.testing.assert_array_equal(whole.scores["val_loss"], resumed.scores["val_loss"])
    others: dict[str, Any] = {"validation_data": (XV, YV), "metrics": "r2", "callbacks": [tn.EarlyStopping(patience=2)]}
    with pytest.raises(ValueError, match="its figures is"):
        models(rate=0.2).fit(X, Y, optimizer=tn.Adam(0.05), batch_size=4, resume_from=path, **others)
    with pytest.raises(ValueError, match="its batch size is 4"):
        models(rate=0.2).fit(X, Y, optimizer=tn.Adam(0.05), resume_from=path)


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


def test_models_keep_the_numbers_of_their_loss() -> None:
    x, y = np.arange(6.0)[:, None], np.arange(6.0)[:, None] ** 2
    net = tn.Sequential(tn.Linear(1, 1), dtype="float64", seed=0, backend="numpy")
    first, second = tn.Ensemble(net, 2), tn.Ensemble(net, 1)
    first.fit(x, y, loss=tn.Huber([0.1, 2.0]))
    second.fit(x, y, loss=tn.Huber(5.0))
    joined = tn.Ensemble.concatenate([first, second])
    for models, deltas in ((first, (0.1, 2.0)), (joined, (0.1, 2.0, 5.0)), (joined[[2, 0]], (5.0, 0.1))):
        expected = [tn.Huber(delta)(own, y) for delta, own in zip(deltas, models.predict(x), strict=True)]
        np.testing.assert_allclose(models.evaluate(x, y)["loss"], expected, rtol=1e-12)
        np.testing.assert_allclose([one.evaluate(x, y)["loss"] for one in models], expected, rtol=1e-12)


def test_models_of_different_losses_have_none_when_they_are_joined() -> None:
    net = tn.Sequential(tn.Linear(1, 1), seed=0, backend="numpy")
    ensembles = [tn.Ensemble(net, 1) for _ in range(2)]
    for models, loss in zip(ensembles, ("mse", "mae"), strict=True):
        models.fit([[0.0]], [[1.0]], loss=loss)
    with pytest.raises(ValueError, match="evaluate expects a loss"):
        tn.Ensemble.concatenate(ensembles).evaluate([[0.0]], [[1.0]])
