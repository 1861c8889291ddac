"""The command line: losses, settings of the optimizer, advice, and what outputs mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import figures, rows, write_csv

import tinynet as tn
from tinynet.cli.main import main

QUICK = [
    "--epochs",
    "60",
    "--layers",
    "8",
    "--quiet",
    "--plot",
    "none",
    "--backend",
    "numpy",
    "--learning-rate",
    "0.02",
]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_counts(path: str = "c.csv", n: int = 200, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)  # The same counts in whatever order the tests run.
    x = rng.uniform(-1, 1, n)
    y = rng.poisson(np.exp(1 + x)) * scale
    write_csv(path, ["x", "count"], x, y)
    return x, y


@pytest.mark.parametrize("scale", [1, 1000], ids=["few", "thousands"])
def test_counts_are_learned_with_the_poisson_loss(scale: int, capsys: pytest.CaptureFixture[str]) -> None:
    x, _ = write_counts(scale=scale)
    assert main(["train", "c.csv", "--loss", "poisson", *QUICK]) == 0
    net = tn.load("tinynet-model.npz", backend="numpy")
    assert isinstance(net.loss, tn.PoissonLoss)
    rate = net.predict(x[:, None])[:, 0]
    assert (rate > 0).all()
    np.testing.assert_allclose(rate, scale * np.exp(1 + x), rtol=0.35)
    assert main(["evaluate", "tinynet-model.npz", "c.csv", "--backend", "numpy"]) == 0
    assert figures(capsys.readouterr().out)["r2"] > 0.3


def test_counts_that_could_be_classes_are_numbers_to_a_loss_of_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    write_counts()
    loud = [option for option in QUICK if option != "--quiet"]
    assert main(["train", "c.csv", "--loss", "poisson", *loud]) == 0
    assert "count: numbers; errors while training are those of multiples of the mean" in capsys.readouterr().out
    assert main(["train", "c.csv", *loud]) == 0
    assert "classes" in capsys.readouterr().out


def test_a_sweep_takes_the_poisson_loss() -> None:
    x, _ = write_counts()
    options = [
        "--epochs",
        "40",
        "--seeds",
        "2",
        "--quiet",
        "--no-plot",
        "--backend",
        "numpy",
        "--learning-rate",
        "0.03",
    ]
    assert main(["sweep", "c.csv", "--loss", "poisson", "--clip-norm", "1,10", "--out", "s", *options]) == 0
    rate = tn.load("s/best.npz", backend="numpy").predict(x[:, None])[:, 0]
    np.testing.assert_allclose(rate, np.exp(1 + x), rtol=0.5)
    head, *settings = rows("s/settings.csv")
    assert {row[head.index("clip_norm")] for row in settings} == {"1.0", "10.0"}


def test_train_takes_the_settings_that_sweep_takes() -> None:
    x = RNG.normal(size=(60, 2))
    write_csv("d.csv", ["a", "b", "price"], *x.T, x.sum(axis=1))
    net: dict[str, tn.Sequential] = {}
    given: dict[str, list[str]] = {
        "plain": [],
        "dropout": ["--dropout", "0.5"],
        "decay": ["--weight-decay", "0.5"],
        "momentum": ["--momentum", "0.9"],
        "clip": ["--clip-norm", "0.001"],
    }
    for name, options in given.items():
        assert main(["train", "d.csv", "--optimizer", "sgd", "--out", f"{name}.npz", *options, *QUICK]) == 0
        net[name] = tn.load(f"{name}.npz", backend="numpy")
    assert [type(layer) for layer in net["dropout"].layers].count(tn.Dropout) == 1
    plain = net["plain"].predict(x)
    assert all(not np.allclose(net[name].predict(x), plain) for name in given if name != "plain")
    sizes = {name: np.abs(net[name].get_weights()[0]).sum() for name in given}
    assert sizes["decay"] < sizes["plain"]


DIVERGED: dict[str, tuple[list[str], str]] = {
    "a rate of its own": (
        ["--learning-rate", "1e6"],
        r"Lower --learning-rate \(it is 1e\+06\), or clip gradients \(--clip",
    ),
    "clipped": (["--learning-rate", "1e30", "--clip-norm", "1e30"], "or lower --clip-norm"),
}


@pytest.mark.parametrize(("options", "advice"), DIVERGED.values(), ids=DIVERGED.keys())
def test_advice_names_options_of_the_command(
    options: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    x = RNG.normal(size=(60, 2))
    write_csv("d.csv", ["a", "b", "price"], *x.T, x.sum(axis=1))
    quick = ["--epochs", "60", "--quiet", "--plot", "none", "--backend", "numpy", "--optimizer", "sgd"]
    with np.errstate(all="ignore"):
        assert main(["train", "d.csv", "--schedule", "constant", *quick, *options]) == 2
    told = capsys.readouterr().err
    assert "diverged" in told
    assert told.count("\n") == 1
    assert re.search(advice, told)
    assert "clip_norm" not in told
    assert "tn." not in told


def test_advice_of_the_library_names_what_is_there() -> None:
    x, y = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 1))
    with np.errstate(all="ignore"):
        with pytest.raises(tn.DivergenceError, match=r"clip_norm=1\.0.*scale the data \(tn\.Normalize\)") as caught:
            tn.Sequential(tn.Linear(2, 1), backend="numpy").fit(x, y, optimizer=tn.SGD(1e9), epochs=50)
        assert caught.value.reason.startswith("Training diverged in epoch")
        assert "Lower" not in caught.value.reason
        net = tn.Sequential(tn.Normalize(2).adapt(x), tn.Linear(2, 1), backend="numpy")
        with pytest.raises(tn.DivergenceError, match=r"lower clip_norm, or scale the targets"):
            net.fit(x, y, optimizer=tn.SGD(1e30, clip_norm=1e30), epochs=50)
        # There is nothing else to scale where targets are classes.
        net = tn.Sequential(tn.Normalize(2).adapt(x), tn.Linear(2, 4), tn.ReLU(), tn.Linear(4, 2), backend="numpy")
        with pytest.raises(tn.DivergenceError, match=r"\(it is 1e\+30\), or clip gradients \(.*\)\. The model holds"):
            net.fit(x, y[:, 0] > 0, loss="cross_entropy", optimizer=tn.SGD(1e30), epochs=50)


REFUSED: dict[str, tuple[str, str]] = {
    "momentum of adam": ("train c.csv --momentum 0.9", "--momentum expects --optimizer rmsprop or sgd; got adam"),
    "momentum of one of two": ("sweep c.csv --optimizer sgd,adam --momentum 0.9", "or sgd; got adam"),
    "dropout of 1": ("train c.csv --dropout 1", "--dropout must be a finite number >= 0 and < 1"),
    "clipping to 0": ("train c.csv --clip-norm 0", "--clip-norm must be a finite number > 0"),
    "negative counts": ("train n.csv --loss poisson", "--loss poisson expects targets that are counts.*got -3"),
    "poisson of words": ("train w.csv --loss poisson", "--loss for classes must be one of.*got 'poisson'"),
    "an option misspelt": (
        "train c.csv --epoch 3",
        r"unrecognized arguments: --epoch 3\. Did you mean '--epochs'\? See",
    ),
    "an option of others": ("train c.csv --lr=0.1", r"--lr=0\.1\. Did you mean '--learning-rate'\?"),
    "an option like none": ("train c.csv --xyzzy", r"unrecognized arguments: --xyzzy\. See"),
}


@pytest.mark.parametrize(("command", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_go_together(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_counts()
    write_csv("n.csv", ["x", "y"], RNG.normal(size=30), np.r_[-3.0, RNG.normal(size=29) + 9])
    write_csv("w.csv", ["x", "y"], RNG.normal(size=30), ["a", "b", "c"] * 10)
    try:
        status = main(command.split())
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_few_rows_have_no_r2_and_are_no_error(n: int, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("few.csv", ["x", "y"], np.arange(n) * 1.5, np.arange(n) * 0.7)
    assert main(["train", "few.csv", "--backend", "numpy", "--epochs", "2", "--plot", "none"]) == 0
    assert "mae" in capsys.readouterr().out
    write_csv("one.csv", ["x", "y"], [1.0], [2.0])
    assert main(["evaluate", "tinynet-model.npz", "one.csv", "--backend", "numpy"]) == 0
    assert set(figures(capsys.readouterr().out)) == {"rows", "loss", "rmse", "mae"}
    options = ["--epochs", "2", "--seeds", "1", "--quiet", "--no-plot", "--backend", "numpy", "--out", "s"]
    assert main(["sweep", "few.csv", *options]) == 0


def test_few_rows_are_given_as_many_updates_to_make_progress_as_many_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """An epoch of 32 rows is one update: 20 of them are no time to wait for."""
    rng = np.random.default_rng(0)
    write_csv("noise.csv", ["x", "y"], rng.normal(size=40), rng.normal(size=40))
    assert main(["train", "noise.csv", "--backend", "numpy", "--layers", "8", "--plot", "none"]) == 0
    out = capsys.readouterr().out
    n_epochs, best = (int(found) for found in re.findall(r"(?:trained   |since epoch )(\d+)", out))
    assert n_epochs - best == 2000 // 5 + 1


# -- models that Python trained ----------------------------------------------------------------------------------------

X = RNG.normal(size=(50, 2))
BITS = (X[:, 0] > 0.3).astype(int)
CLASSES = np.arange(50) % 3


def predicted(net: tn.Sequential, *options: str) -> list[list[str]]:
    net.save("m.npz")
    write_csv("x.csv", ["a", "b"], *X.T)
    assert main(["predict", "m.npz", "x.csv", "--out", "p.csv", "--backend", "numpy", *options]) == 0
    return rows("p.csv")[1:]


def named(net: tn.Sequential, classes: list[Any]) -> tn.Sequential:
    net.metadata = {"features": ["a", "b"], "classes": classes}
    return net


ENDS: dict[str, tuple[Any, tuple[tn.Layer, ...], str]] = {
    "logit": (tn.BinaryCrossEntropy(from_logits=True), (), "logit"),
    "probability": ("bce", (tn.Sigmoid(),), "probability"),
    "value": ("mse", (), "value"),
}


@pytest.mark.parametrize(("loss", "ends", "kind"), ENDS.values(), ids=ENDS.keys())
def test_two_classes_of_one_output_are_told_as_the_loss_means_them(
    loss: Any, ends: tuple[tn.Layer, ...], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tn.Sequential(tn.Linear(2, 1), *[end.fresh_copy() for end in ends], seed=0, backend="numpy")
    named(net, ["no", "yes"]).fit(X, BITS, loss=loss, epochs=3)
    z = net.predict(X)[:, 0]
    want = z >= (0.0 if kind == "logit" else 0.5)
    assert [row[0] for row in predicted(net)] == ["yes" if one else "no" for one in want]
    accuracy = net.evaluate(X, BITS, metrics="accuracy")["accuracy"]
    assert accuracy == np.mean(want == BITS)
    if kind == "value":
        capsys.readouterr()
        assert main(["predict", "m.npz", "x.csv", "--probabilities"]) == 2
        assert "--probabilities expects a model that gives probabilities" in capsys.readouterr().err
        return
    p = np.array([row[1:] for row in predicted(net, "--probabilities")], float)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-z)) if kind == "logit" else z, rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_logits_of_several_classes_become_probabilities() -> None:
    net = named(tn.Sequential(tn.Linear(2, 3), seed=0, backend="numpy"), ["a", "b", "c"])
    net.fit(X, CLASSES, loss="cross_entropy", epochs=3)
    p = np.array([row[1:] for row in predicted(net, "--probabilities")], float)
    z = net.predict(X).astype(float)
    np.testing.assert_allclose(p, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-5)
    assert [row[0] for row in predicted(net)] == ["abc"[k] for k in z.argmax(axis=1)]


def test_logarithms_of_rates_become_rates() -> None:
    net = tn.Sequential(tn.Linear(2, 1), seed=0, backend="numpy")
    net.fit(X, BITS, loss="poisson", epochs=3)
    got = np.array(predicted(net), float)
    np.testing.assert_allclose(got, np.exp(net.predict(X)), rtol=1e-6)


UNTOLD: dict[str, tuple[tn.Sequential, str]] = {
    "several labels": (
        named(tn.Sequential(tn.Linear(2, 2), backend="numpy"), ["a", "b"]),
        "has 2 labels, of which a row",
    ),
    "one output and no loss": (
        named(tn.Sequential(tn.Linear(2, 1), backend="numpy"), ["a", "b"]),
        "set net.loss first",
    ),
}


@pytest.mark.parametrize(("net", "message"), UNTOLD.values(), ids=UNTOLD.keys())
def test_a_model_that_does_not_tell_its_classes(
    net: tn.Sequential, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "labels" in message:
        net.fit(X, np.c_[BITS, BITS], loss=tn.BinaryCrossEntropy(from_logits=True))
    net.save("m.npz")
    write_csv("x.csv", ["a", "b"], *X.T)
    assert main(["predict", "m.npz", "x.csv"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lm", "br", "lbfgs"])
def test_optimizers_that_take_all_rows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.linspace(-1, 1, 80)
    write_csv("line.csv", ["x", "y"], x, 3 + 2 * x)
    options = ["train", "line.csv", "--layers", "3", "--activation", "tanh", "--backend", "numpy", "--plot", "none"]
    assert main([*options, "--optimizer", name, "--dtype", "float64", "--epochs", "40"]) == 0
    out = capsys.readouterr().out
    found = re.search(r"r2 ([0-9.]+) on", out)
    assert found is not None
    assert 0.999 < float(found[1]) <= 1
    assert "--learning-rate" not in out
    for option in (["--batch-size", "8"], ["--schedule", "constant"], ["--learning-rate", "0.1"]):
        assert main([*options, "--optimizer", name, *option]) != 0
        assert option[0] in capsys.readouterr().err
