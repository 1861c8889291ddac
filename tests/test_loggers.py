"""Loggers hand on what the history has, also after a crash."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboardX.proto.event_pb2 import Event

import tinynet as tn

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(4)
X = RNG.normal(size=(30, 2))
Y = X[:, :1] - X[:, 1:]


def network() -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1), seed=0, backend="numpy")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Crash(tn.Callback):
    """Fail after some epochs."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == self.epoch:
            raise RuntimeError("crash")


# -- JSONLogger ------------------------------------------------------------------------------------------------------


def test_json_logger_writes_what_the_history_has(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    history = network().fit(X, Y, epochs=4, validation_split=0.2, metrics="r2", callbacks=[tn.JSONLogger(path)])
    expected = [{"epoch": i, **{name: history[name][i] for name in history}} for i in range(4)]
    assert lines(path) == expected
    assert pd.read_json(path, lines=True)["val_loss"].tolist() == pytest.approx(history["val_loss"])


def test_a_new_training_replaces_the_log_and_append_adds_to_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    network().fit(X, Y, epochs=3, callbacks=[tn.JSONLogger(path)])
    network().fit(X, Y, epochs=2, callbacks=[tn.JSONLogger(path)])
    assert [line["epoch"] for line in lines(path)] == [0, 1]
    network().fit(X, Y, epochs=3, callbacks=[tn.JSONLogger(path, append=True)])
    assert [line["epoch"] for line in lines(path)] == [0, 1, 0, 1, 2]


def test_one_logger_serves_several_trainings(tmp_path: Path) -> None:
    logger = tn.JSONLogger(tmp_path / "log.jsonl", append=True)
    for _ in range(2):
        network().fit(X, Y, epochs=2, callbacks=[logger])
    assert [line["epoch"] for line in lines(logger.path)] == [0, 1, 0, 1]


@pytest.mark.parametrize("append", [False, True])
def test_each_epoch_is_on_disk_when_a_training_fails(append: bool, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(RuntimeError, match="crash"):
        network().fit(X, Y, epochs=9, callbacks=[tn.JSONLogger(path, append), Crash(4)])
    assert [line["epoch"] for line in lines(path)] == [0, 1, 2, 3, 4]


def test_a_line_can_be_read_as_soon_as_its_epoch_ended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    seen = []
    look = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(lines(path)[-1]["epoch"]))
    network().fit(X, Y, epochs=3, callbacks=[tn.JSONLogger(path), look])
    assert seen == [0, 1, 2]


def test_a_resumed_training_leaves_one_line_for_each_epoch(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "log.jsonl", tmp_path / "net.ckpt"
    callbacks = [tn.JSONLogger(path), tn.Checkpoint(checkpoint, every=3)]
    whole = network().fit(X, Y, epochs=10)
    with pytest.raises(RuntimeError, match="crash"):
        network().fit(X, Y, epochs=10, callbacks=[*callbacks, Crash(7)])
    # What an operating system may leave of a line when the machine stops.
    path.write_text(path.read_text() + '{"epoch": 8, "lo')
    network().fit(X, Y, epochs=10, callbacks=callbacks, resume_from=checkpoint)
    assert [line["epoch"] for line in lines(path)] == list(range(10))
    assert [line["loss"] for line in lines(path)] == whole["loss"]


def test_a_resumed_training_keeps_the_log_of_the_trainings_before(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "log.jsonl", tmp_path / "net.ckpt"
    network().fit(X, Y, epochs=5, callbacks=[tn.JSONLogger(path)])
    callbacks = [tn.JSONLogger(path, append=True), tn.Checkpoint(checkpoint, every=2)]
    with pytest.raises(RuntimeError, match="crash"):
        network().fit(X, Y, epochs=6, callbacks=[*callbacks, Crash(4)])
    network().fit(X, Y, epochs=6, callbacks=callbacks, resume_from=checkpoint)
    assert [line["epoch"] for line in lines(path)] == [*range(5), *range(6)]


def test_lines_of_others_stay(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "log.jsonl", tmp_path / "net.ckpt"
    network().fit(X, Y, epochs=2, callbacks=[tn.Checkpoint(checkpoint)])
    text = 'a note\n{"run": 1}\n[1]\n'
    path.write_text(text)
    network().fit(X, Y, epochs=3, callbacks=[tn.JSONLogger(path), tn.Checkpoint(checkpoint)], resume_from=checkpoint)
    assert path.read_text().startswith(text)
    assert json.loads(path.read_text().splitlines()[-1])["epoch"] == 2


def test_figures_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    def odd(prediction: Any, target: Any) -> float:
        return float("nan")

    network().fit(X, Y, metrics=odd, callbacks=[tn.JSONLogger(path)])
    assert "NaN" not in path.read_text()
    assert lines(path)[0]["odd"] is None


def test_a_missing_folder_is_told_before_training(tmp_path: Path) -> None:
    net = network()
    before = net.flat_parameters()
    with pytest.raises(FileNotFoundError):
        net.fit(X, Y, callbacks=[tn.JSONLogger(tmp_path / "missing" / "log.jsonl")])
    np.testing.assert_array_equal(net.flat_parameters(), before)


# -- LambdaSink ------------------------------------------------------------------------------------------------------


def test_a_sink_gets_every_epoch() -> None:
    calls: list[tuple[int, dict[str, float]]] = []
    history = network().fit(
        X, Y, epochs=3, callbacks=[tn.LambdaSink(lambda figures, step: calls.append((step, figures)))]
    )
    assert [step for step, _ in calls] == [0, 1, 2]
    assert [figures["loss"] for _, figures in calls] == history["loss"]
    assert all(type(value) is float for _, figures in calls for value in figures.values())


def test_a_sink_may_change_what_it_gets() -> None:
    history = network().fit(X, Y, epochs=3, callbacks=[tn.LambdaSink(lambda figures, step: figures.clear())])
    assert len(history["loss"]) == 3


def test_a_sink_may_be_called_now_and_then_and_at_the_end() -> None:
    steps: list[int] = []
    network().fit(X, Y, epochs=9, callbacks=[tn.LambdaSink(lambda figures, step: steps.append(step), every=3)])
    assert steps == [0, 3, 6, 8]


def test_a_sink_must_be_a_function() -> None:
    with pytest.raises(TypeError, match=r"log\(figures, step\)"):
        tn.LambdaSink("log")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"start\(step\)"):
        tn.LambdaSink(print, start="log")  # type: ignore[arg-type]


def test_a_tracker_learns_where_a_training_starts_and_can_drop_what_is_repeated(tmp_path: Path) -> None:
    points: list[tuple[int, float]] = []
    told: list[int] = []

    def start(step: int) -> None:
        told.append(step)
        points[:] = [point for point in points if point[0] < step]

    sink = tn.LambdaSink(lambda figures, step: points.append((step, figures["loss"])), start=start)
    callbacks = [sink, tn.Checkpoint(tmp_path / "c", every=3)]
    with pytest.raises(RuntimeError, match="crash"):
        network().fit(X, Y, epochs=6, callbacks=[*callbacks, Crash(4)])
    with pytest.raises(ValueError, match="batch size"):
        network().fit(X, Y, epochs=6, callbacks=callbacks, batch_size=7, resume_from=tmp_path / "c")
    history = network().fit(X, Y, epochs=6, callbacks=callbacks, resume_from=tmp_path / "c")
    assert told == [0, 3]
    assert points == list(enumerate(history["loss"]))


# -- TensorBoardLogger -----------------------------------------------------------------------------------------------


def events(folder: Path) -> list[Any]:
    """Read event files as the TFRecord format defines them: length, checksum, data, checksum."""
    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + length]))
            place += 16 + length
    return found


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    values = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return [(step, value.simple_value) for step, value in values if value.tag == name]


def test_tensorboard_gets_what_the_history_has(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    history = network().fit(X, Y, epochs=3, validation_split=0.2, callbacks=[tn.TensorBoardLogger(folder)])
    for name in ("loss", "val_loss", "learning_rate"):
        assert [step for step, _ in scalars(folder, name)] == [0, 1, 2]
        assert [value for _, value in scalars(folder, name)] == pytest.approx(history[name], rel=1e-6)


def test_tensorboard_gets_histograms_of_the_weights_as_they_are(tmp_path: Path) -> None:
    net = network()
    net.fit(X, Y, epochs=4, callbacks=[tn.TensorBoardLogger(tmp_path, weights_every=2)])
    values = [(event.step, value) for event in events(tmp_path) for value in event.summary.value]
    histograms = [(step, value.tag, value.histo) for step, value in values if value.HasField("histo")]
    names = ["layer0.weight", "layer0.bias", "layer2.weight", "layer2.bias"]
    assert [(step, tag) for step, tag, _ in histograms] == [(step, tag) for step in (1, 3) for tag in names]
    halfway = network()
    halfway.fit(X, Y, epochs=2)
    for epoch, trained in ((1, halfway), (3, net)):
        kept = {tag: histogram for step, tag, histogram in histograms if step == epoch}
        assert kept["layer0.weight"].num == 8
        assert kept["layer0.weight"].sum == pytest.approx(float(trained.layers[0].weight.sum()), rel=1e-5)


def shown(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows: where a session starts, what came before of that step and later is dropped."""
    found: dict[int, float] = {}
    for event in events(folder):
        if event.session_log.status == event.session_log.START:
            found = {step: value for step, value in found.items() if step < event.step}
        for value in event.summary.value:
            if value.tag == name:
                assert event.step not in found
                found[event.step] = value.simple_value
    return sorted(found.items())


@pytest.mark.parametrize("kind", [tn.Sequential, tn.Ensemble])
def test_a_resumed_training_purges_what_it_repeats(kind: type, tmp_path: Path) -> None:
    def fit(crash: int | None, **options: Any) -> Any:
        net = network() if kind is tn.Sequential else tn.Ensemble(network(), 2)
        callbacks = [tn.TensorBoardLogger(folder), tn.Checkpoint(checkpoint, every=3)]
        return net.fit(X, Y, epochs=8, callbacks=[*callbacks, *([] if crash is None else [Crash(crash)])], **options)

    folder, checkpoint = tmp_path / "log", tmp_path / "net.ckpt"
    for crash, resume in ((4, None), (7, checkpoint)):
        with pytest.raises(RuntimeError, match="crash"):
            fit(crash, resume_from=resume)
    history = fit(None, resume_from=checkpoint)
    starts = [event.step for event in events(folder) if event.session_log.status == event.session_log.START]
    assert starts == [3, 6]
    name, losses = ("loss", history["loss"]) if kind is tn.Sequential else ("loss/1", history["loss"][:, 1])
    assert [step for step, _ in shown(folder, name)] == list(range(8))
    assert [value for _, value in shown(folder, name)] == pytest.approx(list(losses), rel=1e-6)


def test_a_resume_within_the_first_epoch_purges_it(tmp_path: Path) -> None:
    folder, checkpoint = tmp_path / "log", tmp_path / "net.ckpt"
    callbacks = [tn.TensorBoardLogger(folder), tn.Checkpoint(checkpoint, every=2, unit="update")]
    with pytest.raises(RuntimeError, match="crash"):
        network().fit(X, Y, epochs=3, batch_size=10, callbacks=[*callbacks, Crash(0)])
    network().fit(X, Y, epochs=3, batch_size=10, callbacks=callbacks, resume_from=checkpoint)
    assert [step for step, _ in shown(folder, "loss")] == [0, 1, 2]


def test_trainings_within_a_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for _ in range(3):
        network().fit(X, Y, epochs=2, callbacks=[tn.TensorBoardLogger(tmp_path)])
    assert [step for step, _ in scalars(tmp_path, "loss")] == [0, 1, 0, 1, 0, 1]


def test_a_process_that_is_killed_has_written_what_it_logged(tmp_path: Path) -> None:
    code = f"""
import os, signal, numpy as np, tinynet as tn
def kill(epoch, logs):
    if epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
net = tn.Sequential(tn.Linear(2, 1), backend="numpy")
callbacks = [tn.TensorBoardLogger({str(tmp_path)!r}), tn.LambdaCallback(on_epoch_end=kill)]
net.fit(np.zeros((4, 2)), np.zeros(4), epochs=9, callbacks=callbacks)
"""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    result = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == -signal.SIGKILL
    assert [step for step, _ in scalars(tmp_path, "loss")] == [0, 1, 2, 3]


def test_a_training_that_is_refused_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        network().fit(X, Y, callbacks=[tn.TensorBoardLogger(tmp_path / "log")], resume_from=tmp_path / "no.ckpt")
    assert not (tmp_path / "log").exists()


def test_tensorboard_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(tn.DependencyError, match="pip install tensorboardX"):
        tn.TensorBoardLogger(tmp_path)


# -- OptunaPruning ---------------------------------------------------------------------------------------------------


class Trial:
    """What an Optuna trial does, with a script of when to prune."""

    def __init__(self, prune_at: int | None = None) -> None:
        self.prune_at = prune_at
        self.reports: list[tuple[int, float]] = []

    def report(self, value: float, step: int) -> None:
        self.reports.append((step, value))

    def should_prune(self) -> bool:
        return self.prune_at is not None and self.reports[-1][0] >= self.prune_at


def test_a_trial_gets_the_figures() -> None:
    trial = Trial()
    pruning = tn.OptunaPruning(trial, monitor="loss", every=2)
    history = network().fit(X, Y, epochs=5, callbacks=[pruning])
    assert trial.reports == [(1, history["loss"][1]), (3, history["loss"][3])]


def test_a_pruned_training_ends_as_optuna_expects() -> None:
    import optuna

    net = network()
    with pytest.raises(optuna.TrialPruned, match="epoch 2"):
        net.fit(X, Y, epochs=9, callbacks=[tn.OptunaPruning(Trial(2), monitor="loss")])
    assert net.history is not None
    assert len(net.history) == 3
    assert net.history.stop_reason == "pruned by Optuna in epoch 2"


def test_a_figure_that_is_not_reported_is_named() -> None:
    with pytest.raises(ValueError, match="'val_loss'; this training reports loss, learning_rate"):
        network().fit(X, Y, callbacks=[tn.OptunaPruning(Trial())])


def test_only_trials_are_taken() -> None:
    with pytest.raises(TypeError, match="expects the trial"):
        tn.OptunaPruning(3)


def test_pruning_needs_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(tn.DependencyError, match="pip install optuna"):
        tn.OptunaPruning(Trial())


@pytest.mark.parametrize(
    ("direction", "monitor", "message"),
    [
        ("maximize", "val_loss", "which maximises; got 'val_loss', which should fall.*direction='minimize'"),
        ("minimize", "val_accuracy", "which minimises; got 'val_accuracy', which should rise"),
        ("minimize", "val_loss", None),
        ("maximize", "val_r2", None),
        ("maximize", "val_of_mine", None),
    ],
)
def test_a_figure_goes_the_way_of_its_study(direction: str, monitor: str, message: str | None) -> None:
    import optuna

    trial = optuna.create_study(direction=direction).ask()
    if message is None:
        tn.OptunaPruning(trial, monitor)
        return
    with pytest.raises(ValueError, match=message):
        tn.OptunaPruning(trial, monitor)
    tn.OptunaPruning(trial, monitor, mode="max" if direction == "maximize" else "min")


def test_a_study_of_several_objectives_is_refused() -> None:
    import optuna

    trial = optuna.create_study(directions=["minimize", "maximize"]).ask()
    with pytest.raises(ValueError, match="one objective; got one of 2"):
        tn.OptunaPruning(trial)
