"""Log files have one row for each epoch, whatever happens: crashes, power failures, resumed and refused trainings."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tinynet as tn

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 2))
Y = X[:, :1] - X[:, 1:]
KINDS = ("Sequential", "Ensemble")
FORMATS: dict[str, type[tn.CSVLogger] | type[tn.JSONLogger]] = {"csv": tn.CSVLogger, "jsonl": tn.JSONLogger}


def model(kind: str = "Sequential", seed: int = 0) -> Any:
    net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Linear(3, 1), seed=seed, backend="numpy")
    return net if kind == "Sequential" else tn.Ensemble(net, 2)


class Crash(tn.Callback):
    """Fail when an epoch ends."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch == self.epoch:
            raise RuntimeError("power failure")


def train(
    log: tn.Callback, checkpoint: Path, epochs: int, crash: int | None = None, kind: str = "Sequential", **options: Any
) -> Any:
    seed, every = options.pop("seed", 0), options.pop("every", 4)
    callbacks = [log, tn.Checkpoint(checkpoint, **every if isinstance(every, dict) else {"every": every}), Crash(crash)]
    net = model(kind, seed)
    if crash is None:
        return net.fit(X, Y, epochs=epochs, batch_size=4, callbacks=callbacks, **options)
    with pytest.raises(RuntimeError, match="power failure"):
        net.fit(X, Y, epochs=epochs, batch_size=4, callbacks=callbacks, **options)
    return None


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log as they are read by others."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def epochs_in(path: Path) -> list[int]:
    return [int(row["epoch"]) for row in rows(path)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("append", [False, True])
def test_a_crash_neither_loses_nor_doubles_rows(kind: str, suffix: str, append: bool, tmp_path: Path) -> None:
    path, whole = tmp_path / f"log.{suffix}", tmp_path / f"whole.{suffix}"
    train(FORMATS[suffix](whole), tmp_path / "whole", 10, kind=kind)
    train(FORMATS[suffix](path, append), tmp_path / "c", 10, crash=5, kind=kind)
    assert epochs_in(path) == [0, 1, 2, 3, 4, 5]
    train(FORMATS[suffix](path, append), tmp_path / "c", 10, kind=kind, resume_from=tmp_path / "c")
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("append", [False, True])
def test_a_checkpoint_may_be_older_than_the_log(suffix: str, append: bool, tmp_path: Path) -> None:
    path = tmp_path / f"log.{suffix}"
    train(FORMATS[suffix](path, append), tmp_path / "c", 4)
    (tmp_path / "c").rename(tmp_path / "old")
    for _ in range(2):  # The second time the log is as long as the training, and the checkpoint as old.
        train(FORMATS[suffix](path, append), tmp_path / "c", 10, resume_from=tmp_path / "old")
        assert epochs_in(path) == list(range(10))


@pytest.mark.parametrize("suffix", FORMATS)
def test_trainings_in_one_file_do_not_touch_each_others_rows(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{suffix}"
    log = FORMATS[suffix](path, append=True)
    train(log, tmp_path / "a", 9, seed=1)
    first = path.read_bytes()
    train(log, tmp_path / "b", 9, crash=6)
    train(log, tmp_path / "b", 9, resume_from=tmp_path / "b")
    assert path.read_bytes().startswith(first)
    assert epochs_in(path) == [*range(9), *range(9)]


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_of_another_training_are_not_taken_for_ones_own(suffix: str, tmp_path: Path) -> None:
    path, alone = tmp_path / f"log.{suffix}", tmp_path / f"alone.{suffix}"
    train(FORMATS[suffix](alone), tmp_path / "alone", 8)
    train(FORMATS[suffix](path), tmp_path / "c", 8, crash=5)
    # By mistake, another training wrote to the same file before this one went on.
    train(FORMATS[suffix](path), tmp_path / "other", 7, seed=1)
    other = path.read_bytes()
    train(FORMATS[suffix](path, append=True), tmp_path / "d", 8, resume_from=tmp_path / "c")
    assert path.read_bytes().startswith(other)
    assert epochs_in(path) == [*range(7), *range(8)]
    path.write_bytes(other)
    train(FORMATS[suffix](path), tmp_path / "d", 8, resume_from=tmp_path / "c")
    assert path.read_bytes() == alone.read_bytes()  # A file for one training, and whole.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("append", [False, True])
def test_rows_that_were_lost_are_filled_in(kind: str, suffix: str, append: bool, tmp_path: Path) -> None:
    path, whole = tmp_path / f"log.{suffix}", tmp_path / f"whole.{suffix}"
    train(FORMATS[suffix](whole), tmp_path / "whole", 8, kind=kind)
    expected = whole.read_bytes()
    train(FORMATS[suffix](path, append), tmp_path / "c", 8, crash=5, kind=kind)
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    # A disk that has lost the last pages: at each byte, and at the ends of rows.
    for length in {0, *ends, *(end - 1 for end in ends), *(end - 7 for end in ends if end > 7)}:
        path.write_bytes(content[:length])
        train(FORMATS[suffix](path, append), tmp_path / "d", 8, kind=kind, resume_from=tmp_path / "c")
        assert path.read_bytes() == expected, length
    path.unlink()  # A logger that comes late, and one in a new folder.
    train(FORMATS[suffix](path, append), tmp_path / "d", 8, kind=kind, resume_from=tmp_path / "c")
    assert path.read_bytes() == expected


def test_random_crashes_leave_a_whole_log(tmp_path: Path) -> None:
    rng = random.Random(5)
    for trial in range(40):
        suffix, append = rng.choice(["csv", "jsonl"]), rng.random() < 0.5
        every: Any = {"every": rng.randrange(1, 9), "unit": rng.choice(["epoch", "update"])}
        path, checkpoint = tmp_path / f"{trial}.{suffix}", tmp_path / f"{trial}.ckpt"
        log, before = FORMATS[suffix](path, append), 0
        if append and rng.random() < 0.5:
            before = len(train(log, tmp_path / "before", 5, seed=1).epoch)
        # Until there is a checkpoint, a training that begins again is another one; see that there is one.
        crashes = [8, *(rng.randrange(9) for _ in range(3))]
        for crash in crashes:
            callbacks = [log, tn.Checkpoint(checkpoint, **every), Crash(crash)]
            resume = checkpoint if checkpoint.exists() else None
            with contextlib.suppress(RuntimeError):  # None, where the checkpoint is behind that epoch.
                model().fit(X, Y, epochs=9, batch_size=4, callbacks=callbacks, resume_from=resume)
        train(log, checkpoint, 9, every=every, resume_from=checkpoint)
        assert epochs_in(path) == [*range(before), *range(9)], (trial, suffix, append, every, crashes)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("append", [False, True])
def test_a_resume_within_the_first_epoch_repeats_what_was_logged(suffix: str, append: bool, tmp_path: Path) -> None:
    path = tmp_path / f"log.{suffix}"
    log = FORMATS[suffix](path, append)
    every = {"every": 2, "unit": "update"}
    train(log, tmp_path / "c", 5, crash=0, every=every)  # Three updates an epoch: its checkpoint is within it.
    assert epochs_in(path) == [0]
    train(log, tmp_path / "c", 5, every=every, resume_from=tmp_path / "c")
    assert epochs_in(path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("refused", ["by its checkpoint", "by a callback", "by its data"])
def test_a_training_that_is_refused_does_not_touch_the_log(
    kind: str, suffix: str, append: bool, refused: str, tmp_path: Path
) -> None:
    path = tmp_path / f"log.{suffix}"
    train(FORMATS[suffix](path), tmp_path / "c", 4, kind=kind)
    content, when = path.read_bytes(), path.stat().st_mtime_ns
    log, late = FORMATS[suffix](path, append), tn.CSVLogger(tmp_path / "nowhere" / "log.csv")
    attempts: dict[str, tuple[list[tn.Callback], dict[str, Any]]] = {
        "by its checkpoint": ([log], {"resume_from": tmp_path / "c", "batch_size": 3}),
        "by a callback": ([log, late], {}),
        "by its data": ([log], {"sample_weight": -np.ones(12)}),
    }
    callbacks, options = attempts[refused]
    with pytest.raises((ValueError, FileNotFoundError)):
        model(kind).fit(X, Y, epochs=6, callbacks=callbacks, **{"batch_size": 4} | options)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, when)
    path.unlink()
    with pytest.raises((ValueError, FileNotFoundError)):
        model(kind).fit(X, Y, epochs=6, callbacks=callbacks, **{"batch_size": 4} | options)
    assert not path.exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_training_that_ends_before_its_first_epoch_does_not_touch_the_log(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{suffix}"
    path.write_text("precious")
    stop = tn.LambdaCallback(on_train_begin=lambda logs: setattr(net, "stop_training", True))
    net = model()
    assert len(net.fit(X, Y, epochs=3, callbacks=[FORMATS[suffix](path), stop])) == 0
    assert path.read_text() == "precious"


def test_other_figures_get_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    first = train(tn.CSVLogger(path, append=True), tmp_path / "a", 2)
    second = train(tn.CSVLogger(path, append=True), tmp_path / "b", 2, validation_split=0.25, metrics="r2")
    third = train(tn.CSVLogger(path, append=True), tmp_path / "c", 1)
    table = pd.read_csv(path)
    assert list(table) == ["epoch", "loss", "learning_rate", "r2", "val_loss", "val_r2"]
    assert table["loss"].tolist() == first["loss"] + second["loss"] + third["loss"]
    assert table["val_loss"].isna().tolist() == [True, True, False, False, True]
    assert table["val_loss"][2:4].tolist() == second["val_loss"]
    with path.open(newline="") as file:
        assert {len(row) for row in csv.reader(file)} == {6}


def test_a_figure_that_comes_up_while_training_gets_a_column(tmp_path: Path) -> None:
    def add(epoch: int, logs: dict[str, float]) -> None:
        if epoch >= 2:
            logs["später"] = epoch / 2

    path = tmp_path / "log.csv"
    callbacks = [tn.LambdaCallback(on_epoch_end=add), tn.CSVLogger(path)]
    history = model().fit(X, Y, epochs=4, callbacks=callbacks)
    table = pd.read_csv(path, encoding="utf-8")
    assert table["loss"].tolist() == history["loss"]
    assert table["später"].fillna(-1).tolist() == [-1, -1, 1.0, 1.5]


def test_names_are_written_in_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def elsewhere(self: Path, *args: Any, encoding: str | None = None, **kwargs: Any) -> Any:
        mode = args[0] if args else kwargs.get("mode", "r")
        return opened(self, *args, encoding=encoding or (None if "b" in mode else "ascii"), **kwargs)

    def größe(prediction: Any, target: Any) -> float:
        return float(np.abs(prediction).max())

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", elsewhere)
        for _ in range(2):
            train(tn.CSVLogger(tmp_path / "log.csv", append=True), tmp_path / "c", 2, metrics=größe)
    assert (tmp_path / "log.csv").read_bytes().decode("utf-8").startswith("epoch,loss,größe,")
    assert epochs_in(tmp_path / "log.csv") == [0, 1, 0, 1]


def test_what_others_wrote_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    # As a spreadsheet saves it: a mark in front, other ends of lines, a remark in an old encoding, and no last end.
    text = b'\xef\xbb\xbfepoch,loss,learning_rate,remark\n0,0.5,0.1,"caf\xe9, ""x"""\n# half time\n1,0.25,0.1,'
    path.write_bytes(text)
    train(tn.CSVLogger(path, append=True), tmp_path / "c", 2)
    content = path.read_bytes()
    assert content.startswith(text + b"\r\n")
    assert [line.split(b",")[0] for line in content[len(text) :].split()] == [b"0", b"1"]
    assert content.splitlines()[-1].count(b",") == 3


def test_a_file_that_is_no_log_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "thesis.csv"
    path.write_text("chapter,pages\n1,30\n")
    net = model()
    before = net.flat_parameters()
    with pytest.raises(ValueError, match=r"a column 'epoch'; .* begins with 'chapter,pages'"):
        net.fit(X, Y, callbacks=[tn.CSVLogger(path, append=True)])
    assert path.read_text() == "chapter,pages\n1,30\n"
    np.testing.assert_array_equal(net.flat_parameters(), before)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_log_may_be_a_pipe(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{suffix}"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        train(FORMATS[suffix](path), tmp_path / "c", 3)
        text = os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
    assert len(text.splitlines()) == 3 + (suffix == "csv")


@pytest.mark.parametrize("make", [tn.CSVLogger, tn.JSONLogger])
def test_a_folder_is_no_log(make: Callable[..., tn.Callback], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is a folder"):
        model().fit(X, Y, callbacks=[make(tmp_path)])


def test_a_long_log_is_added_to_without_being_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    line = json.dumps({"epoch": 0, "loss": 1.0}) + "\n"
    path.write_text(line * 1000)
    inode = path.stat().st_ino
    train(tn.JSONLogger(path, append=True), tmp_path / "c", 2)
    assert path.stat().st_ino == inode
    assert len(rows(path)) == 1002


def test_a_new_learning_rate_keeps_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    train(tn.CSVLogger(path), tmp_path / "c", 8, crash=5)
    options: dict[str, Any] = {"optimizer": tn.Adam(0.5), "resume_changes": "learning_rate"}
    history = train(tn.CSVLogger(path), tmp_path / "c", 8, resume_from=tmp_path / "c", **options)
    table = pd.read_csv(path)
    assert table["loss"].tolist() == history["loss"]
    assert table["learning_rate"].tolist() == [0.001] * 4 + [0.5] * 4
