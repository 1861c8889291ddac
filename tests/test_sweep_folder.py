"""The folder of a sweep: interrupted sweeps go on, and end as if nothing had happened; other folders are refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.base.errors import ModelFileError
from tinynet.exchange.archive import read_archive, write_archive
from tinynet.exchange.atomic import atomic_open
from tinynet.exchange.remote import place_of
from tinynet.sweeps import training as sweep_training
from tinynet.sweeps.head import _digest

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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tn.SweepResult]:
    """A folder that is not changed, and its sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, run(folder, {"width": [3], "learning_rate": [0.1, 0.01]})


def copied(finished: tuple[Path, tn.SweepResult], folder: Path) -> dict[str, Any]:
    """Copy the folder; return what its head holds."""
    shutil.copytree(finished[0], folder, dirs_exist_ok=True)
    head: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return head


def test_a_bit_that_flips_in_the_head_is_noticed(finished: tuple[Path, tn.SweepResult], tmp_path: Path) -> None:
    copied(finished, tmp_path)
    path = tmp_path / "sweep.json"
    data = path.read_bytes()
    rng = random.Random(0)
    for place in rng.sample(range(len(data)), 60):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            with pytest.raises(ModelFileError, match=r"sweep\.json' does not describe a sweep"):
                tn.SweepResult.load(tmp_path)
    path.write_bytes(data)
    assert_same(tn.SweepResult.load(tmp_path), finished[1])


def test_a_head_may_be_laid_out_otherwise(finished: tuple[Path, tn.SweepResult], tmp_path: Path) -> None:
    head = copied(finished, tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps(head, indent=3, separators=(" , ", " : ")))
    assert_same(tn.SweepResult.load(tmp_path), finished[1])


Edit = Callable[[dict[str, Any]], object]
HEADS: dict[str, tuple[Edit, str]] = {
    "a seed less": (lambda head: head["identity"]["seeds"].pop(), "groups are not of the runs of 2 settings and 1"),
    "a seed twice": (lambda head: head["identity"].update(seeds=[1, 1]), "all different"),
    "an infinite seed": (lambda head: head["identity"].update(seeds=[float("inf"), 1]), "a seed must be a whole"),
    "no seeds": (lambda head: head["identity"].update(seeds=[]), "at least one"),
    "a setting less": (lambda head: head["identity"]["settings"].pop(), "groups are not of the runs of 1 settings"),
    "no settings": (lambda head: head["identity"].pop("settings"), "settings"),
    "settings of no kind": (lambda head: head["identity"].update(settings=[1, 2]), "no list of tables"),
    "a group less": (lambda head: head["identity"]["groups"].pop(), "groups are not of the runs"),
    "groups of no kind": (lambda head: head["identity"].update(groups=[["a"]]), "a run must be a whole number"),
    "groups that are numbers": (lambda head: head["identity"].update(groups=3), "not iterable"),
    "another name": (lambda head: head.update(sha257=head.pop("sha256")), "which no sweep has"),
}


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("checksum", ["none, as of an older version", "right"])
def test_a_head_whose_parts_do_not_fit_is_an_error(
    case: str, checksum: str, finished: tuple[Path, tn.SweepResult], tmp_path: Path
) -> None:
    head = copied(finished, tmp_path)
    edit, message = HEADS[case]
    edit(head)
    if checksum == "right":
        head["sha256"] = _digest(head["identity"])
    else:
        head.pop("sha256", None)
    (tmp_path / "sweep.json").write_text(json.dumps(head))
    with pytest.raises(ModelFileError, match=rf"sweep\.json' does not describe a sweep: .*{message}"):
        tn.SweepResult.load(tmp_path)


def test_an_edited_head_is_told_from_a_damaged_layout(finished: tuple[Path, tn.SweepResult], tmp_path: Path) -> None:
    head = copied(finished, tmp_path)
    head["identity"]["settings"][0]["learning_rate"] = 0.5
    (tmp_path / "sweep.json").write_text(json.dumps(head))
    for read in (tn.SweepResult.load, run):
        with pytest.raises(ModelFileError, match="its checksum is wrong"):
            read(tmp_path)


def test_a_name_that_stands_twice_is_an_error(finished: tuple[Path, tn.SweepResult], tmp_path: Path) -> None:
    head = copied(finished, tmp_path)
    text = json.dumps(head).replace('"seeds": [0, 1]', '"seeds": [2, 3], "seeds": [0, 1]')
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ModelFileError, match="not all different"):
        tn.SweepResult.load(tmp_path)


GROUPS: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "other seeds": (lambda header, arrays: header.update(seeds=[0, 1, 1, 0]), "other runs than it should"),
    "a run twice": (lambda header, arrays: arrays.update({"sweep.runs": np.array([0, 1, 2, 2])}), "other runs"),
    "runs as floats": (lambda header, arrays: arrays.update({"sweep.runs": np.arange(4.0)}), "sweep.runs"),
    "runs in two rows": (
        lambda header, arrays: arrays.update({"sweep.runs": np.arange(4).reshape(2, 2)}),
        "sweep.runs",
    ),
    "no models": (lambda header, arrays: header.pop("n_models"), "n_models"),
    "more models": (lambda header, arrays: header.update(n_models=5), "is damaged"),
    "a figure for fewer": (lambda header, arrays: arrays.update({"figure.loss": np.zeros(3)}), "figure.loss"),
    "a figure of no kind": (lambda header, arrays: arrays.update({"figure.loss": np.zeros(4, bool)}), "figure.loss"),
    "losses for fewer": (lambda header, arrays: arrays.update({"history.loss": np.zeros((2, 3))}), "history.loss"),
    "losses in a row": (lambda header, arrays: arrays.update({"history.loss": np.zeros(4)}), "history"),
    "trained for ever": (lambda header, arrays: arrays.update({"sweep.n_epochs": np.full(4, 9)}), "0 to 2 epochs"),
    "diverged by half": (lambda header, arrays: arrays.update({"sweep.diverged": np.zeros(4)}), "sweep.diverged"),
    "not a number": (lambda header, arrays: arrays["parameters"].fill(np.nan), "weights must be finite"),
}


@pytest.mark.parametrize("case", GROUPS)
def test_a_group_that_does_not_hold_together_is_an_error(
    case: str, finished: tuple[Path, tn.SweepResult], tmp_path: Path
) -> None:
    copied(finished, tmp_path)
    header, arrays = read_archive(tmp_path / "group-0000.npz")
    edit, message = GROUPS[case]
    edit(header, arrays)
    write_archive(tmp_path / "group-0000.npz", header, arrays)
    with pytest.raises(ModelFileError, match=rf"group-0000\.npz.*{message}"):
        tn.SweepResult.load(tmp_path).model(0)


def test_groups_with_different_figures_are_an_error(tmp_path: Path) -> None:
    run(tmp_path, {"width": [3, 4]})
    header, arrays = read_archive(tmp_path / "group-0001.npz")
    arrays["figure.val_mae"] = arrays.pop("figure.val_r2")
    write_archive(tmp_path / "group-0001.npz", header, arrays)
    with pytest.raises(ModelFileError, match=r"group-0001\.npz' is damaged: it has other figures"):
        tn.SweepResult.load(tmp_path)


def test_whole_numbers_beyond_all_floats_stay_what_they_are() -> None:
    result = tn.sweep(lambda size: build(3), {"size": [10**400, 0.5]}, X, Y)
    assert result.table["size"].tolist() == [10**400, 0.5]


def test_a_folder_may_be_on_any_filesystem_that_fsspec_knows(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec: pip install fsspec")
    place = "memory://sweeps/one"
    assert_same(run(place), run())
    names = sorted(entry.rpartition("/")[2] for entry in fsspec.filesystem("memory").ls("/sweeps/one", detail=False))
    assert names[-1] == "sweep.json"
    assert not any(name.endswith(".tmp") for name in names)
    assert_same(run(place), run())  # Nothing is left to train.
    assert_same(tn.SweepResult.load(place), run())
    with pytest.raises(ValueError, match=r"folder of this very sweep; 'memory://sweeps/one' holds another"):
        run(place, x=X + 1)
    with pytest.raises(FileNotFoundError):
        tn.SweepResult.load("memory://sweeps/none")


def test_a_file_on_another_filesystem_is_replaced_whole_or_not_at_all() -> None:
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec: pip install fsspec")
    place = place_of("memory://whole/file")
    with atomic_open(place) as file:
        file.write(b"first")
    with pytest.raises(ZeroDivisionError), atomic_open(place) as file:
        file.write(b"second" * (1 // 0))
    assert place.read_bytes() == b"first"
    assert len(fsspec.filesystem("memory").ls("/whole")) == 1


def test_without_fsspec_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(tn.DependencyError, match=r"'memory://x' needs the package fsspec.*pip install fsspec"):
        run("memory://x")
