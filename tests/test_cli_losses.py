"""The command line: quantiles, means with variances, smoothed labels, and targets that were not all measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import figures, rows, write_csv

import tinynet as tn
from tinynet.cli.main import main

HERE = ["--backend", "numpy"]
QUICK = [*("--epochs", "60", "--layers", "8", "--quiet", "--plot", "none", "--learning-rate", "0.02"), *HERE]
GAPS = ["--missing-targets", "ignore"]


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Two targets of one input, with gaps; a kind that is told by it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 200)
    y = np.column_stack([100 + 20 * x, x]) + rng.normal(size=(200, 2)) * [5.0, 0.2]
    y[rng.random(y.shape) < 0.3] = np.nan
    texts = [[{0: "", 1: "NA"}[i % 2] if np.isnan(v) else f"{v:.4f}" for i, v in enumerate(c)] for c in y.T]
    write_csv("t.csv", ["x", "price", "size"], x, *texts)
    write_csv("k.csv", ["x", "kind"], x, np.where(x > 0, "yes", "no"))
    return x, y


def test_quantiles_and_variances_are_columns_of_their_own_in_the_units_of_their_targets(
    table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target", "price,size", *GAPS, *QUICK]
    assert main(["train", "t.csv", "--loss", "quantile", "--quantiles", "0.1,0.5,0.9", *options]) == 0
    assert main(["predict", "tinynet-model.npz", "t.csv", "--out", "p.csv", *HERE]) == 0
    head, *found = rows("p.csv")
    assert head == ["price q0.1", "size q0.1", "price q0.5", "size q0.5", "price q0.9", "size q0.9"]
    values = np.array(found, float)
    assert (np.diff(values[:, 0::2]) >= 0).all()
    assert abs(np.median(values[:, 2]) - 100) < 10
    assert main(["train", "t.csv", "--loss", "gaussian_nll", *options]) == 0
    assert main(["predict", "tinynet-model.npz", "t.csv", "--out", "p.csv", *HERE]) == 0
    head, *found = rows("p.csv")
    assert head == ["price mean", "size mean", "price variance", "size variance"]
    assert 5 < np.median(np.array(found, float)[:, 2]) < 500
    capsys.readouterr()
    assert main(["evaluate", "tinynet-model.npz", "t.csv", *GAPS, *HERE]) == 0
    net = tn.load("tinynet-model.npz", backend="numpy")
    x, y = table
    errors = net.predict(x[:, None])[:, :2] - y
    assert figures(capsys.readouterr().out)["mae"] == pytest.approx(np.nanmean(np.abs(errors), axis=0).mean(), rel=1e-3)


def test_scales_and_figures_are_of_what_was_measured(table: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "t.csv", "--target", "price", "--ignore", "size", *GAPS, *QUICK]) == 0
    assert main(["evaluate", "tinynet-model.npz", "t.csv", *GAPS, *HERE]) == 0
    assert figures(capsys.readouterr().out)["r2"] > 0.8
    assert main(["predict", "tinynet-model.npz", "t.csv", "--out", "p.csv", *HERE]) == 0  # Needs no targets.
    x, y = table
    np.save("t.npy", np.column_stack([x, y]))
    assert main(["train", "t.npy", "--target", "1,2", *GAPS, *QUICK]) == 0
    options = [*("--layers", "4", "--epochs", "2", "--seeds", "1", "--no-plot", "--quiet", "--out", "s"), *HERE]
    command = ["sweep", "t.csv", "--target", "price,size", *GAPS, *options]
    assert main(command) == 0
    assert main([*command, "--loss", "gaussian_nll", "--out", "g"]) == 0
    best = tn.load("g/best.npz", backend="numpy")
    assert repr(best.layers[-1]) == "Denormalize(2, powers=(1, 2))"


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "focal", "categorical_focal"])
def test_losses_of_classes_give_probabilities(loss: str) -> None:
    smoothing = [] if "focal" in loss else ["--label-smoothing", "0.2"]
    assert main(["train", "k.csv", "--loss", loss, *smoothing, *QUICK]) == 0
    assert tn.load("tinynet-model.npz").loss.config().get("label_smoothing", 0) == (0.2 if smoothing else 0)
    assert main(["predict", "tinynet-model.npz", "k.csv", "--out", "p.csv", "--probabilities", *HERE]) == 0
    head, *found = rows("p.csv")
    assert head == ["kind", "p(no)", "p(yes)"]
    right = [row[0] == kind for row, (_, kind) in zip(found, rows("k.csv")[1:], strict=True)]
    assert np.mean(right) > 0.9


REFUSED = {
    "gap": ("train t.csv --target price,size", "column 'price': the target is missing"),
    "words": ("train k.csv --missing-targets ignore", "CrossEntropy takes rows as a whole"),
    "smoothing": (
        "train t.csv --target size --ignore price --label-smoothing 0.1 --missing-targets ignore",
        "is for classes",
    ),
    "quantiles": ("train k.csv --quantiles 0.1", "--quantiles is for --loss quantile"),
    "order": ("train t.csv --loss quantile --quantiles 0.9,0.1", "numbers that increase; got '0.9,0.1'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, message = REFUSED[name]
    try:
        code = main([*command.split(), "--quiet", *HERE])
    except SystemExit as error:  # Of the parser, for a value that is none.
        code = int(error.code or 0)
    assert code != 0
    assert re.search(re.escape(message), capsys.readouterr().err)


def test_few_rows_are_predicted_before_a_compiler_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.cli import predict

    assert main(["train", "k.csv", *QUICK]) == 0
    monkeypatch.delenv("TINYNET_BACKEND", raising=False)
    seen: list[str] = []
    monkeypatch.setattr(predict, "_table", lambda net, *rest: seen.append(net.backend.name) or [])
    for few in (predict.FEW, 0):
        monkeypatch.setattr(predict, "FEW", few)
        assert main(["predict", "tinynet-model.npz", "k.csv"]) == 0
    assert seen == ["numpy", tn.get_backend().name]
