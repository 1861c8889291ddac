"""``tinynet sweep``: what a user types, sees and finds in the folder."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import figures

import tinynet as tn
from tinynet.cli.main import main

QUICK = ["--epochs", "3", "--seeds", "2", "--out", "d"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, on the backend that needs no compiling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    rng = np.random.default_rng(0)
    size, age = rng.uniform(50, 200, 60), rng.uniform(0, 50, 60)
    write("prices.csv", ["size", "age", "price"], size, age, 100_000 + 3_000 * size - 1_000 * age)
    kind = rng.integers(0, 3, 60)
    write("flowers.csv", ["size", "kind"], kind * 4 + rng.normal(size=60), [("oak", "elm", "fir")[k] for k in kind])
    return tmp_path


def write(path: str, names: list[str], *columns: Any) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *zip(*columns, strict=True)])


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_leaves_tables_the_best_model_and_plots(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--layers", "4", "--layers", "6,6", "--learning-rate", "1e-3:1e-1:log:3", "--optimizer", "adam,sgd"]
    assert main(["sweep", "prices.csv", *arguments, *QUICK]) == 0
    out = capsys.readouterr().out
    for said in ("60 rows, 2 features", "12 validation rows", "12 settings x 2 seeds, 24 runs", "and 2 more settings"):
        assert said in out
    assert "tinynet predict d/best.npz NEW.csv" in out
    runs, settings = rows("d/runs.csv"), rows("d/settings.csv")
    assert len(runs) == 24
    assert {row["layers"] for row in runs} == {"4", "6,6"}
    assert {row["optimizer"] for row in runs} == {"adam", "sgd"}
    assert sorted({float(row["learning_rate"]) for row in runs}) == [0.001, 0.01, 0.1]
    means = [float(row["val_loss_mean"]) for row in settings if row["n_diverged"] == "0"]
    assert means == sorted(means)
    for row in settings:
        own = [float(run["val_loss"]) for run in runs if run["setting"] == row["setting"]]
        if row["n_diverged"] == "0":
            assert float(row["val_loss_mean"]) == pytest.approx(np.mean(own))
    assert Path("d/parallel.png").read_bytes().startswith(b"\x89PNG")
    assert Path("d/losses.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_model_predicts_in_the_units_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["sweep", "prices.csv", "--layers", "16", "--learning-rate", "0.01", "--epochs", "60", "--out", "d", "--quiet"]
    )
    assert capsys.readouterr() == ("", "")
    assert main(["evaluate", "d/best.npz", "prices.csv"]) == 0
    assert figures(capsys.readouterr().out)["r2"] > 0.95
    net = tn.load("d/best.npz")
    assert net.metadata["features"] == ["size", "age"]
    assert net.metadata["settings"]["layers"] == [16]


def test_the_learning_rate_falls_to_zero_as_in_train() -> None:
    arguments = ["prices.csv", "--learning-rate", "0.01", "--layers", "5", "--batch-size", "16", "--epochs", "4"]
    main(["train", *arguments, "--early-stopping", "0", "--plot", "none", "--quiet", "--out", "m.npz"])
    main(["sweep", *arguments, "--early-stopping", "0", "--quiet", "--seeds", "1", "--out", "d"])
    assert tn.load("d/best.npz").flat_parameters().tolist() == tn.load("m.npz").flat_parameters().tolist()


def test_a_sweep_names_the_command_that_trains_its_best_setting(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--layers", "5,3", "--layers", "2", "--learning-rate", "0.01,1e-7", "--optimizer", "sgd,adamw"]
    assert main(["sweep", "prices.csv", *settings, "--seeds", "1", "--epochs", "4", "--no-plot", "--out", "d"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("train "))
    command = shlex.split(line.removeprefix("train     ").removesuffix(" (the best setting alone)"))
    assert command[:3] == ["tinynet", "train", "prices.csv"]
    assert main([*command[1:], "--plot", "none", "--quiet", "--out", "m.npz"]) == 0
    assert tn.load("d/best.npz").flat_parameters().tolist() == tn.load("m.npz").flat_parameters().tolist()


def test_classes_are_ranked_by_accuracy_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--learning-rate", "0.1,0.0001", "--dropout", "0,0.2", "--by", "val_accuracy", *QUICK]
    assert main(["sweep", "flowers.csv", *arguments]) == 0
    accuracies = [float(row["val_accuracy_mean"]) for row in rows("d/settings.csv")]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[-1]
    capsys.readouterr()
    assert main(["predict", "d/best.npz", "flowers.csv"]) == 0
    assert set(capsys.readouterr().out.split()) <= {"kind", "oak", "elm", "fir"}


def test_a_random_search_draws_as_many_as_asked() -> None:
    ranges = ["--learning-rate", "1e-3:1e-1:log", "--dropout", "0:0.5:linear", "--activation", "relu,tanh"]
    assert main(["sweep", "prices.csv", *ranges, "--samples", "5", *QUICK, "--quiet"]) == 0
    settings = rows("d/settings.csv")
    assert len({row["learning_rate"] for row in settings}) == 5
    assert all(1e-3 <= float(row["learning_rate"]) < 1e-1 for row in settings)


def test_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", "--notebook", "--layers", "3", "--layers", "4", "--layers", "5", *QUICK]
    assert main(command) == 0
    tables = Path("d/runs.csv").read_bytes(), Path("d/best.npz").read_bytes()
    Path("d/group-0001.npz").unlink()
    capsys.readouterr()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "goes on with what is there" in out
    assert "runs 4/6  were finished before" in out
    assert Path("d/runs.csv").read_bytes() == tables[0]
    parameters = tn.load("d/best.npz").flat_parameters()
    Path("old.npz").write_bytes(tables[1])
    assert parameters.tolist() == tn.load("old.npz").flat_parameters().tolist()


def test_without_matplotlib_one_line_says_how_to_get_the_plots(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main(["sweep", "--notebook", *QUICK]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "matplotlib" in line]
    assert len(lines) == 1
    assert Path("d/best.npz").exists()
    assert main(["sweep", "--notebook", *QUICK, "--no-plot"]) == 0
    assert "matplotlib" not in capsys.readouterr().out


def test_ctrl_c_says_where_the_rest_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinynet.sweeps.training.train", interrupt)
    assert main(["sweep", "--notebook", *QUICK]) == 130
    assert "what is finished is in d; the same command goes on from there" in capsys.readouterr().out


ERRORS: dict[str, tuple[str, str]] = {
    "range to draw from": (
        "--learning-rate 1e-4:1e-1:log",
        "--learning-rate expects a number of steps.*or --samples N",
    ),
    "two ranges": ("--samples 3 --dropout 0:0.1:linear --dropout 0.2", "--dropout expects one range to draw from"),
    "bad range": ("--learning-rate 1:2:cubic", "--learning-rate expects a number, numbers with commas, or a range"),
    "bad rate": ("--learning-rate 0.1,0", "--learning-rate must be a finite number > 0; got 0"),
    "bad dropout": ("--dropout 1", "--dropout must be a finite number >= 0 and < 1"),
    "bad layers": ("--layers 3,x", "a width in --layers must be a whole number; got 'x'"),
    "bad activation": ("--activation rely", "--activation must be one of .*'relu'.*; got 'rely'"),
    "not of the optimizer": ("--momentum 0.9", "--momentum expects --optimizer rmsprop or sgd; got adam"),
    "bad jobs": ("--jobs 0", "--jobs must be a whole number >= 1; got 0"),
    "bad figure": ("--by val_accuracy", "by expects a figure of this sweep"),
    "folder": ("--out taken", "'taken' has other files and no sweep.json"),
    "missing file": ("none.csv", "No such file or directory: 'none.csv'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_that_helps(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").mkdir()
    Path("taken/thesis.tex").write_text("precious")
    arguments, message = ERRORS[case]
    try:
        code = main(["sweep", *([] if case == "missing file" else ["prices.csv"]), *arguments.split()])
    except SystemExit as leaving:
        code = leaving.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert not Path("tinynet-sweep").exists()


def test_optimizers_that_take_all_rows_are_swept_beside_others() -> None:
    options = ["sweep", "prices.csv", "--layers", "3", "--activation", "tanh", *QUICK]
    assert main([*options, "--optimizer", "adam,lm,lbfgs"]) == 0
    found = {row["optimizer"]: float(row["val_loss"]) for row in rows("d/runs.csv")}
    assert set(found) == {"adam", "lm", "lbfgs"}
    assert found["lm"] < found["adam"]
    assert main([*options, "--optimizer", "lm", "--batch-size", "8,16"]) != 0
