"""Callbacks: when they act, and what they leave."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(4)
X = RNG.normal(size=(30, 2))
Y = X[:, :1] - X[:, 1:]


def network(backend: str = "numpy") -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1), seed=0, backend=backend)


class Script(tn.Callback):
    """Put scripted figures in the place of a monitored one, before the callbacks that follow look."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]
        self.weights.append(self.model.flat_parameters())


def test_early_stopping_waits_and_restores_the_best(backend: str) -> None:
    script = Script([3.0, 2.0, 2.5, 2.4, 1.9, 2.0, 2.1, 2.2, 2.3, 0.0])
    stop = tn.EarlyStopping("figure", patience=2, mode="min")
    net = network(backend)
    history = net.fit(X, Y, epochs=10, callbacks=[script, stop])
    assert len(history) == 8
    assert np.array_equal(net.flat_parameters(), script.weights[4])
    assert history.stop_reason == "figure has not improved since epoch 5"


def test_early_stopping_may_leave_the_last_weights() -> None:
    script = Script([1.0, 2.0, 2.0, 2.0])
    net = network()
    net.fit(X, Y, epochs=4, callbacks=[script, tn.EarlyStopping("figure", patience=1, mode="min", restore_best=False)])
    assert np.array_equal(net.flat_parameters(), script.weights[-1])
    assert len(script.weights) == 3


@pytest.mark.parametrize(("mode", "epochs"), [("min", 3), ("max", 6)])
def test_early_stopping_knows_which_way_is_better(mode: str, epochs: int) -> None:
    script = Script([1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0])
    history = network().fit(X, Y, epochs=7, callbacks=[script, tn.EarlyStopping("figure", 1, mode=mode)])
    assert len(history) == epochs


def test_an_improvement_below_min_delta_is_none() -> None:
    script = Script([1.0, 0.95, 0.9, 0.85, 0.8])
    history = network().fit(
        X, Y, epochs=5, callbacks=[script, tn.EarlyStopping("figure", 1, min_delta=0.5, mode="min")]
    )
    assert len(history) == 3


def test_accuracy_should_grow() -> None:
    assert tn.EarlyStopping("val_accuracy").mode == "max"
    assert tn.EarlyStopping("val_loss").mode == "min"


def test_the_learning_rate_falls_on_a_plateau(backend: str) -> None:
    script = Script([1.0] * 8)
    reduce = tn.ReduceLROnPlateau("figure", factor=0.5, patience=2, mode="min", min_learning_rate=0.02)
    history = network(backend).fit(X, Y, optimizer=tn.SGD(0.1), epochs=8, callbacks=[script, reduce])
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.02])


@pytest.mark.parametrize("rate", [tn.CosineDecay(0.1, epochs=3), tn.Warmup(0.1, epochs=3)], ids=["cosine", "warmup"])
@pytest.mark.parametrize("lowest", [0.0, 0.01])
def test_a_rate_of_zero_is_not_reduced(rate: tn.schedules.Schedule, lowest: float) -> None:
    reduce = tn.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9, min_learning_rate=lowest)
    settings: dict[str, Any] = {"optimizer": tn.SGD(rate), "epochs": 5, "batch_size": 30, "callbacks": reduce}
    got = network().fit(X, Y, **settings)["learning_rate"]
    want, factor = [], 1.0
    for epoch in range(5):
        want.append(factor * float(rate(np.array(float(epoch)))))
        if epoch > 0 and want[-1] > lowest:  # The first loss is better than none.
            factor *= max(0.5, lowest / want[-1])
    assert 0.0 in want
    assert got == pytest.approx(want)
    models = tn.Ensemble(network(), 2)
    assert models.fit(X, Y, **settings)["learning_rate"].tolist() == [[value, value] for value in got]


def test_a_callback_ends_training_through_the_model() -> None:
    def stop(epoch: int, logs: dict[str, float]) -> None:
        net.stop_training = epoch == 2

    net = network()
    assert len(net.fit(X, Y, epochs=10, callbacks=[tn.LambdaCallback(on_epoch_end=stop)])) == 3


def test_a_callback_ends_training_within_an_epoch() -> None:
    def stop(batch: int, logs: dict[str, float]) -> None:
        net.stop_training = batch == 1

    net = network()
    history = net.fit(X, Y, epochs=10, batch_size=10, callbacks=tn.LambdaCallback(on_train_batch_end=stop))
    assert len(history) == 1
    assert net.state.step == 2


def test_lambda_hooks_are_called_in_order() -> None:
    calls: list[Any] = []
    names = ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"]
    hooks = {name: (lambda *_, name=name: calls.append(name)) for name in names}
    network().fit(X, Y, callbacks=[tn.LambdaCallback(**hooks)])
    assert calls == names


def test_on_train_end_runs_when_training_fails() -> None:
    ended = []

    def fail(epoch: int, logs: dict[str, float]) -> None:
        raise RuntimeError("boom")

    callback = tn.LambdaCallback(on_epoch_end=fail, on_train_end=lambda logs: ended.append(True))
    with pytest.raises(RuntimeError, match="boom"):
        network().fit(X, Y, callbacks=[callback])
    assert ended == [True]


def test_csv_logger_writes_what_the_history_has(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    net = network()
    first = net.fit(X, Y, epochs=3, callbacks=[tn.CSVLogger(path)])
    second = net.fit(X, Y, epochs=2, callbacks=[tn.CSVLogger(path, append=True)])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == first["loss"] + second["loss"]
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "0", "1"]


def test_callbacks_that_read_only_logs_see_every_epoch_of_a_chunk() -> None:
    class Reader(tn.Callback):
        looks_every = None

        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            assert epoch == len(self.losses)
            self.losses.append(logs["loss"])

    reader = Reader()
    history = network().fit(X, Y, epochs=100, callbacks=[reader])
    assert reader.losses == history["loss"]
