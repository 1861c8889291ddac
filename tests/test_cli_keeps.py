"""Nothing replaces a file but a result: not a training that diverges, is interrupted or fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_errors import run

import tinynet as tn
from tinynet.cli.main import main
from tinynet.cli.places import MODEL
from tinynet.training.trainer import Trainer

GOOD = ["train", "d.csv", "--epochs", "3", "--layers", "4", "--quiet", "--validation", "0"]
DIVERGES = [*GOOD, "--optimizer", "sgd", "--learning-rate", "1e30", "--schedule", "constant", "--epochs", "60"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good data, on the backend that needs no compiling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    np.savetxt("d.csv", np.c_[x, x.sum(axis=1)], delimiter=",", header="a,b,y", comments="")
    return tmp_path


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in os.listdir()}


class Ending(tn.Callback):
    """Ends a training when an epoch ends, as the world does."""

    def __init__(self, error: BaseException, epoch: int = 2) -> None:
        self.error, self.epoch = error, epoch

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch == self.epoch:
            raise self.error


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException, epoch: int = 2) -> None:
    """Let trainings of the command line end by an error."""
    fit = tn.Sequential.fit

    def ended(self: tn.Sequential, *args: Any, callbacks: Any = (), **options: Any) -> tn.History:
        return fit(self, *args, callbacks=[*callbacks, Ending(error, epoch)], **options)

    monkeypatch.setattr(tn.Sequential, "fit", ended)


ENDS: dict[str, tuple[BaseException, int, str]] = {
    "Ctrl-C": (KeyboardInterrupt(), 130, "interrupted"),
    "no memory": (MemoryError("no room"), 2, "unfinished"),
    "a full disk": (OSError(28, "No space left on device"), 2, "unfinished"),
    "nobody reads the lines": (BrokenPipeError(), 141, "unfinished"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_was_learned_is_kept_beside_a_good_model(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(GOOD) == 0
    before = contents()
    error, code, word = ENDS[end]
    ending(monkeypatch, error)
    for number in ("", "-2"):
        assert main([*GOOD, "--epochs", "9"]) == code
        assert {name: data for name, data in contents().items() if name in before} == before
        kept = {f"tinynet-model.{word}{number}.npz", f"tinynet-loss.{word}{number}.png"}
        assert set(contents()) - set(before) == kept
        before = contents()
    whole, part = (tn.load(name).predict([[1.0, 2.0]]) for name in ("tinynet-model.npz", f"tinynet-model.{word}.npz"))
    assert np.isfinite(part).all()
    assert not np.array_equal(whole, part)


def test_what_was_learned_is_kept_where_nothing_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, KeyboardInterrupt())
    assert main([argument for argument in GOOD if argument != "--quiet"]) == 130
    assert sorted(contents()) == ["d.csv", "tinynet-loss.png", "tinynet-model.npz"]
    assert "after 3 epochs; the model is kept as it is, in tinynet-model.npz\n" in capsys.readouterr().out


def test_it_is_told_where_the_model_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GOOD) == 0
    ending(monkeypatch, KeyboardInterrupt())
    assert main([argument for argument in GOOD if argument != "--quiet"]) == 130
    told = "the model is kept as it is, in tinynet-model.interrupted.npz; tinynet-model.npz stays"
    assert told in capsys.readouterr().out


def test_a_training_that_diverges_replaces_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GOOD, "--checkpoint", "c"]) == 0
    before = contents()
    assert main([*DIVERGES, "--checkpoint", "d"]) == 2
    assert "diverged" in capsys.readouterr().err
    assert {name: data for name, data in contents().items() if name in before} == before


def test_nothing_is_written_where_nothing_was_learned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_run_chunk", interrupted)
    assert main([argument for argument in GOOD if argument != "--quiet"]) == 130
    assert sorted(contents()) == ["d.csv"]
    assert "nothing is written" in capsys.readouterr().out


def test_a_model_that_cannot_be_written_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(GOOD) == 0
    before = contents()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main([*GOOD, "--epochs", "5"]) == 2
    assert contents() == before


def test_a_resume_that_is_refused_replaces_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GOOD, "--checkpoint", "c"]) == 0
    before = contents()
    assert main([*GOOD, "--checkpoint", "c", "--resume", "--epochs", "5"]) == 2
    error = capsys.readouterr().err
    assert "its learning_rate is 'CosineDecay(initial=0.001, epochs=3, final=0.0)', now it is" in error
    assert "or --resume-changes learning-rate to go on with the new ones" in error
    assert contents() == before
    assert main([*GOOD, "--checkpoint", "c", "--resume", "--epochs", "5", "--resume-changes", "learning-rate"]) == 0
    assert contents()["tinynet-model.npz"] != before["tinynet-model.npz"]


def test_fewer_epochs_than_are_done_can_be_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--checkpoint", "c", "--schedule", "constant"]
    assert main([*GOOD, *options]) == 0
    assert main([*GOOD, *options, "--resume", "--epochs", "2"]) == 2
    assert (
        "it has 3 epochs behind it, now it is epochs=2. Give those, or --resume-changes epochs"
        in capsys.readouterr().err
    )
    assert main([*GOOD, *options, "--resume", "--epochs", "2", "--resume-changes", "epochs"]) == 0


def test_a_checkpoint_that_is_there_is_gone_on_from_or_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GOOD, "--checkpoint", "c"]) == 0
    before = contents()
    assert main([*GOOD, "--checkpoint", "c"]) == 2
    assert "--checkpoint expects a new file, or --resume to go on from it; 'c' is there" in capsys.readouterr().err
    assert contents() == before
    assert main([*GOOD, "--checkpoint", "c", "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--out", "./d.csv"], "DATA and --out"),
        (["--plot", "p.png", "--out", "p.png"], "--out and --plot"),
        (["--checkpoint", "tinynet-model.npz"], "--checkpoint and --out"),
        (["--validation", "v.csv", "--out", "v.csv"], "--validation and --out"),
        (["--config", "c.toml", "--checkpoint", "c.toml"], "--config and --checkpoint"),
    ],
)
def test_a_file_is_one_thing(arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.csv").write_bytes(Path("d.csv").read_bytes())
    Path("c.toml").write_text("epochs = 2")
    before = contents()
    assert main(["train", "d.csv", *arguments]) == 2
    assert f"{names} expect two files" in capsys.readouterr().err
    assert contents() == before


@pytest.mark.parametrize("name", ["d.csv", "tinynet-model.npz"])
def test_predictions_do_not_replace_what_they_are_made_of(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GOOD) == 0
    before = contents()
    assert main(["predict", "tinynet-model.npz", "d.csv", "--out", name]) == 2
    assert "and --out expect two files" in capsys.readouterr().err
    assert contents() == before


def test_data_may_be_held_out_of_themselves() -> None:
    assert main([*GOOD[:-2], "--validation", "d.csv"]) == 0


def test_names_of_255_bytes_leave_room_for_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ä" * 125 + "n.npz"
    assert main([*GOOD, "--plot", "none", "--out", name]) == 0
    ending(monkeypatch, KeyboardInterrupt())
    assert main([*GOOD, "--plot", "none", "--out", name]) == 130
    (kept,) = set(os.listdir()) - {"d.csv", name}
    assert kept.endswith("ä.interrupted.npz")
    assert tn.load(kept).n_parameters == tn.load(name).n_parameters


def test_a_reader_who_goes_away_does_not_lose_the_training() -> None:
    with run("train", "d.csv", "--epochs", "100000", "--validation", "0") as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch"):
            pass
        process.stdout.close()
        process.wait()
    assert process.returncode == 141
    assert np.isfinite(tn.load(MODEL).predict([[1.0, 2.0]])).all()
