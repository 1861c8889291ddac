"""The tinynet command: training, predicting and evaluating, from classes and numbers to columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_files import figures, rows, write_csv, write_flowers

import tinynet as tn
from tinynet.cli.main import main
from tinynet.cli.reading import RowsRead
from tinynet.datasets import sine
from tinynet.datasets.csvfile import BLOCK_ROWS


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that do not depend on which tests ran before."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, on the backend that needs no compiling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    return tmp_path


def write_prices(path: str, n: int = 200, seed: int = 0) -> None:
    """Prices that follow from size and age exactly."""
    rng = np.random.default_rng(seed)
    size, age = rng.uniform(50, 200, n), rng.uniform(0, 50, n)
    write_csv(path, ["size", "price", "age"], size, 100_000 + 3_000 * size - 1_000 * age, age)


# -- without data ----------------------------------------------------------------------------------------------------


def test_without_data_the_notebooks_sines_are_learned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "auto")
    assert main(["train"]) == 0
    out = capsys.readouterr().out
    losses = [float(line.split("loss ")[1].split()[0]) for line in out.splitlines() if line.startswith("epoch ")]
    assert len(losses) >= 10
    assert losses[-1] < 0.01 * losses[0]
    (result,) = (line for line in out.splitlines() if line.startswith("result "))
    assert result.endswith("on 1,000 validation rows")
    assert "meaning   the model explains 99." in out
    # The rows that were held out are those of the seed, and the figure is that of the model in the file.
    data = sine(5000, seed=0)
    held = np.sort(np.random.default_rng(0).permutation(5000)[:1000])
    r2 = tn.load("tinynet-model.npz").evaluate(data.x[held], data.y[held], metrics="r2")["r2"]
    assert r2 > 0.995
    assert 0 < 1 - r2 < 5e-5, "so near to 1 that four digits would say that it is 1"
    assert f"r2 {r2:.5f} " in result
    assert Path("tinynet-loss.png").read_bytes().startswith(b"\x89PNG")
    assert "tinynet-model.npz" in out
    assert "tinynet-loss.png" in out


def test_the_notebooks_own_network_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--notebook", "--plot", "none"]) == 0
    out = capsys.readouterr().out
    losses = [float(line.split("loss ")[1].split()[0]) for line in out.splitlines() if line.startswith("epoch ")]
    # The sines have variance 1/2 about 0, and a sigmoid cannot be negative: a quarter above what is best without it.
    assert losses[-1] < 0.48 < losses[0]
    net = tn.load("tinynet-model.npz")
    assert [type(layer).__name__ for layer in net.layers] == ["Linear", "Sigmoid", "Linear", "Sigmoid"]
    assert [layer.n_out for layer in net.layers if isinstance(layer, tn.Linear)] == [5, 3]
    write_prices("d.csv")
    assert main(["train", "d.csv", "--notebook"]) == 2
    assert "--notebook expects no data" in capsys.readouterr().err


def test_two_runs_are_the_same_to_the_last_bit() -> None:
    for name in ("a.npz", "b.npz"):
        assert main(["train", "--notebook", "--epochs", "3", "--plot", "none", "--quiet", "--out", name]) == 0
    assert tn.load("a.npz").flat_parameters().tobytes() == tn.load("b.npz").flat_parameters().tobytes()


def test_without_matplotlib_one_line_says_how_to_get_the_plot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main(["train", "--notebook", "--epochs", "2"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "matplotlib" in line]
    assert len(lines) == 1
    assert "pip install matplotlib" in lines[0]
    assert Path("tinynet-model.npz").exists()
    assert main(["train", "--notebook", "--epochs", "2", "--plot", "loss.png"]) == 2


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--notebook", "--epochs", "2", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_the_plot_is_written_in_the_format_of_its_name(name: str, magic: bytes) -> None:
    assert main(["train", "--notebook", "--epochs", "2", "--quiet", "--plot", name]) == 0
    assert Path(name).read_bytes().startswith(magic)


# -- classes ---------------------------------------------------------------------------------------------------------


def test_labels_are_learned_evaluated_and_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    write_flowers("train.csv")
    write_flowers("test.csv", seed=1)
    assert main(["train", "train.csv", "--layers", "16", "--out", "m.npz"]) == 0
    out = capsys.readouterr().out
    for said in ("120 rows, 2 features", "3 classes: elm, fir, oak", "24 validation rows", "Softmax", "m.npz"):
        assert said in out
    net = tn.load("m.npz")
    assert net.metadata == {"features": ["size", "noise"], "targets": ["kind"], "classes": ["elm", "fir", "oak"]}

    assert main(["evaluate", "m.npz", "test.csv", "--plot", "quality.png"]) == 0
    told = capsys.readouterr().out
    measured = figures(told)
    assert measured["accuracy"] > 0.9
    counts = [line.split()[1:] for line in told.partition("confusion")[2].splitlines()[2:]]
    assert sum(int(count) for row in counts for count in row) == 120
    assert Path("quality.png").stat().st_size > 1000
    assert main(["predict", "m.npz", "test.csv"]) == 0
    head, *predicted = capsys.readouterr().out.split()
    truth = [row[2] for row in rows("test.csv")[1:]]
    assert head == "kind"
    assert np.mean(np.array(predicted) == truth) == pytest.approx(measured["accuracy"], abs=1e-5)


def test_probabilities_are_those_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_flowers("d.csv")
    main(["train", "d.csv", "--epochs", "5", "--quiet"])
    assert main(["predict", "tinynet-model.npz", "d.csv", "--probabilities", "--out", "p.csv"]) == 0
    head, *table = rows("p.csv")
    assert head == ["kind", "p(elm)", "p(fir)", "p(oak)"]
    x = np.array([[float(cell) for cell in row[:2]] for row in rows("d.csv")[1:]])
    expected = tn.load("tinynet-model.npz").predict(x)
    got = np.array([[float(cell) for cell in row[1:]] for row in table])
    assert got.astype("float32").tobytes() == expected.tobytes()
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-6)
    assert [row[0] for row in table] == [head[1 + k][2:-1] for k in got.argmax(axis=1)]


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_two_classes_go_with_either_cross_entropy(
    loss: str, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    x = rng.normal(size=100)
    write_csv("d.csv", ["x", "sign"], x, ["minus" if v < 0 else "plus" for v in x])
    assert main(["train", "d.csv", "--loss", loss, "--epochs", "50", "--quiet", "--learning-rate", "0.01"]) == 0
    assert main(["predict", "tinynet-model.npz", "d.csv", "--probabilities"]) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert np.mean([(label == "plus") == (v > 0) for (label, *_), v in zip(lines, x, strict=True)]) > 0.95
    assert all((label == "plus") == (float(plus) >= float(minus)) for label, minus, plus in lines)


def test_whole_numbers_of_few_values_are_classes_and_it_says_so(
    capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    write_csv("d.csv", None, rng.normal(size=40), np.arange(40) % 2 + 1)
    main(["train", "d.csv", "--epochs", "2"])
    assert "2 classes: 1, 2 (whole numbers of few values; --task regression" in capsys.readouterr().out
    main(["predict", "tinynet-model.npz", "d.csv"])
    assert set(capsys.readouterr().out.split()[1:]) <= {"1", "2"}
    main(["train", "d.csv", "--epochs", "2", "--task", "regression"])
    assert "1: numbers; losses are those of standardised values\n" in capsys.readouterr().out


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_are_predicted_in_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    write_prices("train.csv")
    write_prices("test.csv", seed=1)
    assert main(["train", "train.csv", "--target", "price", "--epochs", "100", "--learning-rate", "0.01"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "tinynet-model.npz", "test.csv"]) == 0
    measured = figures(capsys.readouterr().out)
    assert main(["predict", "tinynet-model.npz", "test.csv", "--out", "p.csv"]) == 0
    predicted = np.array([float(row[0]) for row in rows("p.csv")[1:]])
    truth = np.array([float(row[1]) for row in rows("test.csv")[1:]])
    assert rows("p.csv")[0] == ["price"]
    assert 1 - np.square(predicted - truth).sum() / np.square(truth - truth.mean()).sum() > 0.99
    assert measured["mae"] == pytest.approx(np.abs(predicted - truth).mean(), rel=1e-4)
    main(["evaluate", "tinynet-model.npz", "test.csv", "--worst", "1"])
    line = int(capsys.readouterr().out.splitlines()[-1].split()[0])
    assert line == np.abs(predicted - truth).argmax() + 2  # Lines count from 1, and the first has the names.
    last = tn.load("tinynet-model.npz").layers[-1]
    assert isinstance(last, tn.Denormalize)
    assert measured["loss"] * last.scale[0] ** 2 == pytest.approx(np.square(predicted - truth).mean(), rel=1e-3)


def test_several_targets_of_different_units_are_learned_alike(rng: np.random.Generator) -> None:
    x = rng.uniform(-1, 1, 200)
    write_csv("d.csv", ["x", "small", "large"], x, 1e-6 * x, 1e6 * (x + 5))
    assert main(["train", "d.csv", "--target", "small,large", "--epochs", "60", "--quiet"]) == 0
    main(["predict", "tinynet-model.npz", "d.csv", "--out", "p.csv"])
    predicted = np.array(rows("p.csv")[1:], dtype=float)
    np.testing.assert_allclose(predicted[:, 0], 1e-6 * x, atol=2e-7)
    np.testing.assert_allclose(predicted[:, 1], 1e6 * (x + 5), atol=2e5)


@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_other_losses_of_numbers_do(loss: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_prices("d.csv")
    assert (
        main(["train", "d.csv", "--target", "price", "--loss", loss, "--epochs", "60", "--learning-rate", "0.01"]) == 0
    )
    main(["evaluate", "tinynet-model.npz", "d.csv"])
    assert figures(capsys.readouterr().out.split("NEW.csv\n")[1])["r2"] > 0.95


def test_a_large_offset_is_pointed_out(capsys: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    x = rng.normal(size=60)
    write_csv("d.csv", ["time", "other", "y"], 1.7e9 + x, x, x**2)
    main(["train", "d.csv", "--epochs", "1"])
    assert "time: small changes of large numbers; --dtype float64" in capsys.readouterr().out
    main(["train", "d.csv", "--epochs", "1", "--dtype", "float64"])
    assert "small changes" not in capsys.readouterr().out


# -- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_found_by_name_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    write_prices("d.csv", n=30)
    main(["train", "d.csv", "--target", "price", "--epochs", "3", "--quiet"])
    size, _, age = zip(*rows("d.csv")[1:], strict=True)
    write_csv("turned.csv", ["age", "size", "more"], age, size, ["x"] * len(age))
    printed = []
    for path in ("d.csv", "turned.csv"):
        assert main(["predict", "tinynet-model.npz", path]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    write_csv("lacks.csv", ["sice", "age"], size, age)
    assert main(["predict", "tinynet-model.npz", "lacks.csv"]) == 2
    assert "expects a column 'size'" in capsys.readouterr().err


def test_an_ignored_column_is_not_needed_later() -> None:
    write_csv("d.csv", ["id", "x", "y"], ["a", "b", "c", "d", "e", "f"], np.arange(6), np.arange(6) / 7)
    assert main(["train", "d.csv", "--ignore", "id", "--epochs", "2", "--quiet"]) == 0
    write_csv("new.csv", ["x"], [1, 2])
    assert main(["predict", "tinynet-model.npz", "new.csv", "--out", "p.csv"]) == 0
    assert len(rows("p.csv")) == 3


def test_a_name_with_a_comma_is_quoted() -> None:
    write_csv("d.csv", ["x", "a, b"], np.arange(8), np.arange(8) / 9)
    assert main(["train", "d.csv", "--target", '"a, b"', "--epochs", "2", "--quiet"]) == 0
    assert tn.load("tinynet-model.npz").metadata["targets"] == ["a, b"]


def test_a_model_made_in_python_predicts_too(capsys: pytest.CaptureFixture[str]) -> None:
    net = tn.Sequential(tn.Linear(2, 3), seed=0)
    net.save("m.npz")
    write_csv("d.csv", ["p", "q"], [1, 2], [3, 4])
    assert main(["predict", "m.npz", "d.csv"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "y0,y1,y2"
    got = np.array([line.split(",") for line in lines], dtype="float32")
    assert got.tobytes() == net.predict([[1, 3], [2, 4]]).tobytes()


# -- resuming and configuration --------------------------------------------------------------------------------------


def test_a_training_that_was_cut_short_is_resumed_to_the_same_end() -> None:
    write_prices("d.csv")
    options = ["train", "d.csv", "--target", "price", "--quiet", "--plot", "none", "--schedule", "constant"]
    options += ["--checkpoint-every", "1"]
    assert main([*options, "--epochs", "6", "--checkpoint", "a", "--out", "whole.npz"]) == 0
    assert main([*options, "--epochs", "4", "--checkpoint", "b", "--out", "part.npz"]) == 0
    assert main([*options, "--epochs", "6", "--checkpoint", "b", "--resume", "--out", "resumed.npz"]) == 0
    whole, part, resumed = (tn.load(f"{name}.npz").flat_parameters() for name in ("whole", "part", "resumed"))
    assert resumed.tobytes() == whole.tobytes() != part.tobytes()


CONFIG = """
data = "d.csv"
target = ["large", "a, b"]
layers = [7, 5]
learning_rate = 0.02
epochs = 3
quiet = true
resume = false
"""


def test_options_come_from_a_toml_file_and_the_command_line_wins() -> None:
    write_csv("d.csv", ["large", "x", "a, b"], np.arange(9) * 3.5, np.arange(9), np.arange(9) / 9)
    Path("c.toml").write_text(CONFIG)
    assert main(["train", "--config", "c.toml", "--layers", "6", "--out", "m.npz"]) == 0
    net = tn.load("m.npz")
    assert [layer.n_out for layer in net.layers if isinstance(layer, tn.Linear)] == [6, 2]
    assert net.metadata == {"features": ["x"], "targets": ["large", "a, b"]}
    assert main(["train", "--config", "c.toml", "--out", "m.npz"]) == 0
    assert [layer.n_out for layer in tn.load("m.npz").layers if isinstance(layer, tn.Linear)] == [7, 5, 2]


def test_no_hidden_layer_is_a_linear_model() -> None:
    write_prices("d.csv")
    options = ["--layers", "none", "--epochs", "100", "--learning-rate", "0.05"]
    assert main(["train", "d.csv", "--target", "price", "--quiet", *options]) == 0
    net = tn.load("tinynet-model.npz")
    difference = net.predict([[150, 20], [50, 20], [50, 10]]).astype(float)[:, 0]
    assert difference[0] - difference[1] == pytest.approx(300_000, rel=1e-3)
    assert difference[2] - difference[1] == pytest.approx(10_000, rel=1e-2)


def test_a_long_read_is_told_beside_the_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_prices("d.csv", n=2 * BLOCK_ROWS + 5)
    main(["train", "d.csv", "--target", "price", "--epochs", "1", "--plot", "none", "--quiet"])
    monkeypatch.setattr(RowsRead, "every", 0.0)
    main(["predict", "tinynet-model.npz", "d.csv"])
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 * BLOCK_ROWS + 6
    assert err.splitlines() == [f"tinynet: d.csv: {n:,} rows read ..." for n in (4096, 8192, 8197)]
