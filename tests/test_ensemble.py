"""Ensemble: each model is trained as it would be alone, with numbers of its own if it has any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ensemble_nets import MOMENTA, XV, YV, E, N, X, Y, assert_is, models, net

import tinynet as tn
from tinynet.ensembles import predictions as ensemble_predictions
from tinynet.ensembles import trainer as ensemble_trainer


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


def test_models_keep_the_numbers_of_their_loss() -> None:
    x, y = np.arange(6.0)[:, None], np.arange(6.0)[:, None] ** 2
    net = tn.Sequential(tn.Linear(1, 1), dtype="float64", seed=0, backend="numpy")
    first, second = tn.Ensemble(net, 2), tn.Ensemble(net, 1)
    first.fit(x, y, loss=tn.Huber([0.1, 2.0]))
    second.fit(x, y, loss=tn.Huber(5.0))
    joined = tn.Ensemble.concatenate([first, second])
    for together, deltas in ((first, (0.1, 2.0)), (joined, (0.1, 2.0, 5.0)), (joined[[2, 0]], (5.0, 0.1))):
        expected = [tn.Huber(delta)(own, y) for delta, own in zip(deltas, together.predict(x), strict=True)]
        np.testing.assert_allclose(together.evaluate(x, y)["loss"], expected, rtol=1e-12)
        np.testing.assert_allclose([one.evaluate(x, y)["loss"] for one in together], expected, rtol=1e-12)


def test_models_of_different_losses_have_none_when_they_are_joined() -> None:
    net = tn.Sequential(tn.Linear(1, 1), seed=0, backend="numpy")
    ensembles = [tn.Ensemble(net, 1) for _ in range(2)]
    for together, loss in zip(ensembles, ("mse", "mae"), strict=True):
        together.fit([[0.0]], [[1.0]], loss=loss)
    with pytest.raises(ValueError, match="evaluate expects a loss"):
        tn.Ensemble.concatenate(ensembles).evaluate([[0.0]], [[1.0]])
