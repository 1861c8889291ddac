"""The folder of a sweep: interrupted sweeps go on, and end as if nothing had happened; other folders are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.base.errors import ModelFileError
from tinynet.sweeps import training as sweep_training

ROOT = Path(__file__).resolve().parent.parent
X = np.random.default_rng(0).normal(size=(30, 2))
Y = X[:, :1] * X[:, 1:]
SPACE = {"width": [3, 4, 5], "learning_rate": [0.1, 0.01]}


def build(width: int) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, width), tn.Tanh(), tn.Linear(width, 1), dtype="float64", backend="numpy")


def run(folder: Any = None, space: Any = SPACE, x: Any = X, **options: Any) -> tn.SweepResult:
    chosen: dict[str, Any] = {"optimizer": "adam", "epochs": 2, "seeds": 2, "validation_split": 0.2, "metrics": "r2"}
    return tn.sweep(build, space, x, Y, folder=folder, **chosen | options)


def assert_same(a: tn.SweepResult, b: tn.SweepResult) -> None:
    assert list(a.table) == list(b.table)
    for name, column in a.table.items():
        np.testing.assert_array_equal(column, b.table[name], err_msg=name)
    np.testing.assert_array_equal(a.losses("val_loss"), b.losses("val_loss"))
    for number in range(len(a)):
        np.testing.assert_array_equal(a.model(number).flat_parameters(), b.model(number).flat_parameters())


def test_a_sweep_with_a_folder_is_the_sweep_without(tmp_path: Path) -> None:
    assert_same(run(tmp_path / "a"), run())
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["group-0000.npz", "group-0001.npz", "group-0002.npz", "sweep.json"]


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_an_interrupted_sweep_goes_on_where_it_stood(
    n_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = sweep_training.train, []

    def interrupted(task: Any, *args: Any) -> Any:
        if len(trained) == n_before:
            raise KeyboardInterrupt
        trained.append(task.position)
        return train(task, *args)

    monkeypatch.setattr(sweep_training, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    early = tn.SweepResult.load(tmp_path)
    assert len(early) == 4 * n_before

    def counted(task: Any, *args: Any) -> Any:
        trained.append(task.position)
        return train(task, *args)

    monkeypatch.setattr(sweep_training, "train", counted)
    resumed = run(tmp_path)
    assert trained == [0, 1, 2]  # No group twice.
    assert_same(resumed, run())


def test_a_sweep_that_is_killed_goes_on(tmp_path: Path) -> None:
    code = (
        "import numpy as np, sys, test_sweep_folder as t\n"
        "t.run(sys.argv[1], {'width': list(range(2, 40)), 'learning_rate': [0.1]}, epochs=60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    folder = tmp_path / "sweep"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment, cwd=ROOT)
    while len(list(folder.glob("group-*.npz"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_before = len(list(folder.glob("group-*.npz")))
    assert 3 <= n_before < 38
    space = {"width": list(range(2, 40)), "learning_rate": [0.1]}
    assert_same(run(folder, space, epochs=60), run(None, space, epochs=60))


def test_a_finished_sweep_is_read_without_its_build(tmp_path: Path) -> None:
    result, loaded = run(tmp_path), tn.SweepResult.load(tmp_path)
    assert_same(result, loaded)
    assert loaded.best_settings == result.best_settings
    assert repr(loaded) == repr(result)
    assert tn.SweepResult.load(tmp_path, by="val_r2").by == "val_r2"


def test_groups_are_files_of_ensembles(tmp_path: Path) -> None:
    result = run(tmp_path)
    models = tn.Ensemble.load(tmp_path / "group-0001.npz", backend="numpy")
    assert models.seeds == [0, 1, 0, 1]
    np.testing.assert_array_equal(models[2].flat_parameters(), result.model(6).flat_parameters())


def test_settings_that_json_cannot_hold_keep_their_names(tmp_path: Path) -> None:
    def stack(layers: tuple[int, ...], kind: Any) -> tn.Sequential:
        first = tn.Linear(2, layers[0])
        return tn.Sequential(first, kind(), tn.Linear(layers[0], 1), dtype="float64", backend="numpy")

    space = {"layers": [(3,), (4,)], "kind": [tn.Tanh, tn.ReLU]}
    tn.sweep(stack, space, X, Y, epochs=1, folder=tmp_path)
    loaded = tn.SweepResult.load(tmp_path)
    assert loaded.table["layers"].tolist() == [(3,), (3,), (4,), (4,)]
    assert loaded.table["kind"].tolist() == ["Tanh", "ReLU"] * 2


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "settings": ({"space": {"width": [3, 4, 6], "learning_rate": [0.1, 0.01]}}, r"settings\[4\] is .*'width': 5"),
    "seeds": ({"seeds": [0, 2]}, r"seeds\[1\] is 1, here it is 2"),
    "data": ({"x": X + 1e-15}, "its data is"),
    "epochs": ({"epochs": 3}, r"cases\[0\] is .*'epochs': 2"),
    "optimizer": ({"optimizer": tn.Adam(beta1=0.8)}, r"cases\[0\] is .*beta1=0.9"),
    "metrics": ({"metrics": ()}, "its metrics is"),
    "callbacks": ({"callbacks": [tn.EarlyStopping()]}, "its callbacks is"),
    "bootstrap": ({"bootstrap": True}, "its bootstrap is False, here it is True"),
    "group size": ({"group_size": 2}, "its groups is"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_folder_of_another_sweep_is_refused(case: str, tmp_path: Path) -> None:
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    changes, message = OTHERS[case]
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_initial_values_make_another_sweep(tmp_path: Path) -> None:
    def made(scale: float) -> Any:
        return lambda: tn.Sequential(tn.Linear(2, 1, weight_init=tn.Normal(scale)), backend="numpy")

    tn.sweep(made(0.1), {}, X, Y, folder=tmp_path)
    with pytest.raises(ValueError, match="values"):
        tn.sweep(made(0.2), {}, X, Y, folder=tmp_path)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"other files and no sweep\.json"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_sweep_that_was_killed_while_it_wrote_its_head_begins_again(tmp_path: Path) -> None:
    (tmp_path / ".tinynet-0_a1b2c3.tmp").write_text('{"format": "tiny')
    assert len(run(tmp_path)) == 12


def test_settings_that_cannot_be_told_apart_later_are_refused(tmp_path: Path) -> None:
    class Odd(tn.Schedule):
        def __call__(self, epochs: Any) -> Any:
            return 0.1 + 0 * epochs

    with pytest.raises(TypeError, match="told apart by their repr"):
        run(tmp_path / "a", {"width": [3]}, optimizer=tn.SGD(Odd()))
    assert len(run(None, {"width": [3]}, optimizer=tn.SGD(Odd()))) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "truncated or corrupt"),
        (lambda path: build(3).save(path), "holds no runs of a sweep"),
        (lambda path: path.write_bytes((path.parent / "group-0000.npz").read_bytes()), "other runs than it should"),
    ],
)
def test_a_damaged_group_is_an_error(damage: Any, message: str, tmp_path: Path) -> None:
    run(tmp_path)
    damage(tmp_path / "group-0001.npz")
    with pytest.raises(ModelFileError, match=message):
        run(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "tinynet sweep", "version": 99, "identity": {}}'])
def test_a_damaged_head_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(text)
    for read in (run, tn.SweepResult.load):
        with pytest.raises(ModelFileError, match="does not describe a sweep"):
            read(tmp_path)


def test_the_head_is_json_that_people_can_read(tmp_path: Path) -> None:
    run(tmp_path)
    head = json.loads((tmp_path / "sweep.json").read_text())
    assert head["identity"]["settings"][0] == {"width": 3, "learning_rate": 0.1}
