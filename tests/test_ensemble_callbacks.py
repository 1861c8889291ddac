"""Callbacks in the training of many models: each works, or says before training why it does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_loggers import Trial, events, scalars

import tinynet as tn
from tinynet.training import live

RNG = np.random.default_rng(4)
X = RNG.normal(size=(30, 2))
Y = X[:, :1] - X[:, 1:]
FEW, MANY = 3, 40
STOPS = 1
"""The number of the model that diverges at once."""


def models(n_models: int) -> tn.Ensemble:
    net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Linear(3, 1), seed=0, dtype="float64", backend="numpy")
    return tn.Ensemble(net, n_models)


def train(n_models: int, *callbacks: tn.Callback, **options: Any) -> tuple[tn.Ensemble, tn.EnsembleHistory]:
    """Train models, of which one diverges."""
    rates = np.full(n_models, 0.05)
    rates[STOPS] = 1e200
    together = models(n_models)
    chosen: dict[str, Any] = {"epochs": 4, "batch_size": 8, "validation_split": 0.2, "metrics": "r2"}
    chosen["optimizer"] = tn.SGD(rates)
    history = together.fit(X, Y, callbacks=callbacks, **chosen | options)
    assert history.diverged == [STOPS]
    return together, history


def triple(values: Any) -> list[float]:
    found = values[np.isfinite(values)]
    return [found.min(), np.median(found), found.max()]


# -- tables and trackers ---------------------------------------------------------------------------------------------


def test_a_csv_file_has_a_column_for_each_figure_and_model(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    _, history = train(FEW, tn.CSVLogger(path))
    table = pd.read_csv(path)
    assert list(table) == ["epoch", *(f"{name}/{i}" for name in history for i in range(FEW))]
    for name in history:
        np.testing.assert_allclose(table[[f"{name}/{i}" for i in range(FEW)]], history[name], rtol=1e-12)


def test_a_csv_file_of_many_models_has_three_columns_for_each_figure(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    _, history = train(MANY, tn.CSVLogger(path))
    table = pd.read_csv(path)
    assert list(table) == ["epoch", *(f"{name}/{what}" for name in history for what in ("min", "median", "max"))]
    for epoch, row in enumerate(table.itertuples(index=False)):
        expected = [epoch, *(value for name in history for value in triple(history[name][epoch]))]
        np.testing.assert_allclose(list(row), expected, rtol=1e-12)


@pytest.mark.parametrize("n_models", [FEW, MANY])
def test_json_lines_have_a_list_with_every_model(n_models: int, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _, history = train(n_models, tn.JSONLogger(path))
    assert "NaN" not in path.read_text()
    for epoch, line in enumerate(map(json.loads, path.read_text().splitlines())):
        assert line.pop("epoch") == epoch
        for name, values in line.items():
            found = [np.nan if value is None else value for value in values]
            row = history[name][epoch]
            np.testing.assert_array_equal(found, np.where(np.isfinite(row), row, np.nan))


def test_a_resumed_training_goes_on_with_its_json_lines(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "log.jsonl", tmp_path / "models.npz"
    callbacks = [tn.JSONLogger(path), tn.Checkpoint(checkpoint, every=2)]
    train(FEW, *callbacks, epochs=3)
    train(FEW, tn.Checkpoint(checkpoint, every=2), epochs=2)
    _, history = train(FEW, *callbacks, epochs=5, resume_from=checkpoint)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(5))
    assert [line["val_loss"][0] for line in lines] == history["val_loss"][:, 0].tolist()


def test_a_sink_gets_a_number_for_each_model_that_is_trained() -> None:
    calls: list[dict[str, float]] = []
    _, history = train(FEW, tn.LambdaSink(lambda figures, step: calls.append(figures)))
    for epoch, figures in enumerate(calls):
        expected = {f"{name}/{i}": history[name][epoch, i] for name in history for i in range(FEW)}
        assert figures == {name: value for name, value in expected.items() if not np.isnan(value)}
        assert all(type(value) is float for value in figures.values())
    assert f"val_loss/{STOPS}" not in calls[0]
    assert "val_loss/0" in calls[0]


def test_a_sink_gets_three_numbers_of_many_models() -> None:
    calls: list[dict[str, float]] = []
    _, history = train(MANY, tn.LambdaSink(lambda figures, step: calls.append(figures)))
    for epoch, figures in enumerate(calls):
        found = [figures[f"val_loss/{what}"] for what in ("min", "median", "max")]
        np.testing.assert_allclose(found, triple(history["val_loss"][epoch]), rtol=1e-12)


@pytest.mark.parametrize("n_models", [FEW, MANY])
def test_tensorboard_gets_curves_and_the_weights_of_all_models(n_models: int, tmp_path: Path) -> None:
    together, history = train(n_models, tn.TensorBoardLogger(tmp_path, weights_every=4))
    values = history["val_loss"]
    curves = {f"val_loss/{i}": values[:, i] for i in range(n_models)}
    if n_models == MANY:
        rows = np.array([triple(row) for row in values])
        curves = {f"val_loss/{what}": column for what, column in zip(("min", "median", "max"), rows.T, strict=True)}
    for name, curve in curves.items():
        found = scalars(tmp_path, name)
        assert [step for step, _ in found] == ([] if name == f"val_loss/{STOPS}" else [0, 1, 2, 3])
        np.testing.assert_allclose([value for _, value in found], curve[np.isfinite(curve)], rtol=1e-6)
    histograms = {
        value.tag: value.histo for event in events(tmp_path) for value in event.summary.value if value.HasField("histo")
    }
    assert list(histograms) == ["layer0.weight", "layer0.bias", "layer2.weight", "layer2.bias"]
    for histogram, weights in zip(histograms.values(), together.get_weights(), strict=True):
        assert histogram.num == weights.size


# -- the screen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [1, 2])
def test_progress_tells_how_many_models_go_on_and_the_spread_of_each_figure(
    verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    _, history = train(FEW, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (4 if verbose == 2 else 2)
    low, middle, high = (f"{value:.6g}" for value in triple(history["val_loss"][-1]))
    assert lines[-1].startswith("epoch 4/4  2 models  loss ")
    assert f"val_loss {low} / {middle} / {high}" in lines[-1]


def test_a_plot_shows_the_median_and_a_band_of_all_models() -> None:
    _, history = train(MANY)
    axes = history.plot().axes[0]
    assert axes.get_yscale() == "log"
    for line, band, name in zip(axes.lines, axes.collections, ("loss", "val_loss"), strict=True):
        rows = np.array([triple(row) for row in history[name]])
        np.testing.assert_allclose(line.get_ydata(), rows[:, 1])
        edge = band.get_paths()[0].vertices[:, 1]
        assert {edge.min(), edge.max()} == {rows[:, 0].min(), rows[:, 2].max()}


def test_a_plot_of_models_that_all_diverged_is_empty(tmp_path: Path) -> None:
    together = models(FEW)
    history = together.fit(X, Y, optimizer=tn.SGD(1e200), batch_size=8)
    history.plot(tmp_path / "loss.png")
    assert np.isnan(history.plot().axes[0].lines[0].get_ydata()).all()


def test_a_live_plot_draws_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display

    figures: list[Any] = []

    class Handle:
        def display(self, figure: Any) -> None:
            figures.append(figure)

        update = display

    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(live, "in_jupyter", lambda: True)
    monkeypatch.setattr(IPython.display, "DisplayHandle", Handle)
    _, history = train(MANY, tn.LivePlot())
    last = figures[-1].axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(last, [triple(row)[1] for row in history["val_loss"]])


# -- hooks -----------------------------------------------------------------------------------------------------------


class Counting(tn.Callback):
    """Counts epochs, also those before an interruption."""

    def __init__(self) -> None:
        self.n, self.seen = 0, np.zeros(FEW)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.n += 1
        self.seen = logs["loss"]

    def state(self) -> dict[str, Any]:
        return {"n": self.n, "seen": self.seen}

    def load_state(self, state: dict[str, Any]) -> None:
        self.n, self.seen = state["n"], state["seen"]


def test_hooks_get_arrays_with_nan_for_models_that_have_stopped() -> None:
    calls: list[Any] = []
    hooks = {name: (lambda *given, name=name: calls.append((name, *given))) for name in HOOKS}
    together, history = train(FEW, tn.LambdaCallback(**hooks))
    assert [call[0] for call in calls] == ["on_train_begin", *["on_epoch_begin", "on_epoch_end"] * 4, "on_train_end"]
    ended = [logs for name, *_, logs in calls if name == "on_epoch_end"]
    for epoch, logs in enumerate(ended):
        assert list(logs) == list(history)
        for name, values in logs.items():
            np.testing.assert_array_equal(values, history[name][epoch])
        assert np.isnan(logs["val_loss"][STOPS])
    assert together.history is history


HOOKS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")


def test_a_checkpoint_keeps_what_callbacks_remember(tmp_path: Path) -> None:
    path = tmp_path / "models.npz"
    train(FEW, Counting(), tn.Checkpoint(path))
    counting = Counting()
    _, history = train(FEW, counting, tn.Checkpoint(path), epochs=6, resume_from=path)
    assert counting.n == 6
    np.testing.assert_array_equal(counting.seen, history["loss"][-1])
    with pytest.raises(ValueError, match="its callbacks is"):
        train(FEW, epochs=6, resume_from=path)


class Patient(tn.EarlyStopping):
    pass


class Careful(tn.Checkpoint):
    pass


REFUSED: dict[str, tuple[Callable[[Path], tn.Callback], type[Exception], str]] = {
    "optuna": (lambda path: tn.OptunaPruning(Trial(), "loss"), TypeError, "expects a Sequential.* got an Ensemble"),
    "early stopping": (lambda path: Patient("loss"), TypeError, "its own EarlyStopping.* got Patient"),
    "checkpoint": (lambda path: Careful(path), TypeError, "its own Checkpoint.* got Careful"),
    "best path": (lambda path: tn.Checkpoint(path, best_path=path), ValueError, r"without best_path; use best\(\)"),
    "updates": (lambda path: tn.Checkpoint(path, unit="update"), ValueError, "counts epochs"),
    "batches": (
        lambda path: tn.LambdaCallback(on_train_batch_end=lambda batch, logs: None),
        ValueError,
        "no hooks on single updates",
    ),
    "folder": (lambda path: tn.CSVLogger(path / "missing" / "log.csv"), FileNotFoundError, "missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_for_one_model_is_refused_before_training(name: str, tmp_path: Path) -> None:
    make, error, message = REFUSED[name]
    together = models(FEW)
    before = together.state.parameters.copy()
    with pytest.raises(error, match=message):
        together.fit(X, Y, callbacks=make(tmp_path / "file.npz"))
    np.testing.assert_array_equal(together.state.parameters, before)
