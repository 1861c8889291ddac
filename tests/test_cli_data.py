"""The tinynet command: what is held out, and other files than CSV."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from cli_files import figures, rows, write_csv, write_flowers

import tinynet as tn
from tinynet.cli.main import main


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


# -- what is held out ------------------------------------------------------------------------------------------------


def test_a_validation_file_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    write_flowers("d.csv")
    write_flowers("v.csv", n=50, seed=2)
    assert main(["train", "d.csv", "--validation", "v.csv", "--epochs", "3"]) == 0
    assert "50 validation rows; trained on 120" in capsys.readouterr().out


@pytest.mark.parametrize(("share", "said"), [("0.5", "60 validation rows; trained on 60"), ("0", None)])
def test_a_share_is_held_out(share: str, said: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    write_flowers("d.csv")
    assert main(["train", "d.csv", "--validation", share, "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    assert (said in out) if said else ("held out" not in out and "val_loss" not in out)


def test_the_held_out_rows_are_not_the_last_ones() -> None:
    # Sorted by class, as files often are: with the last third held out, one class would never be seen.
    write_csv("d.csv", ["x", "c"], np.repeat([0.0, 5.0, 10.0], 20), np.repeat(["a", "b", "c"], 20))
    main(["train", "d.csv", "--validation", "0.34", "--quiet", "--learning-rate", "0.01"])
    main(["predict", "tinynet-model.npz", "d.csv", "--out", "p.csv"])
    assert [row[0] for row in rows("p.csv")[1:]] == list(np.repeat(["a", "b", "c"], 20))


@pytest.mark.parametrize("validation", ["0.2", "0"])
def test_early_stopping_stops(validation: str, capsys: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    write_csv("d.csv", ["x", "y"], rng.normal(size=50), rng.normal(size=50))
    arguments = ["--early-stopping", "3", "--epochs", "2000", "--schedule", "constant", "--learning-rate", "0.01"]
    assert main(["train", "d.csv", "--validation", validation, *arguments]) == 0
    out = capsys.readouterr().out
    assert "has not improved since epoch" in out
    assert int(out.split("\ntrained ")[1].split()[0]) < 2000


def test_training_stops_by_itself_where_rows_are_held_out_for_it(
    capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    write_csv("d.csv", ["x", "y"], rng.normal(size=50), rng.normal(size=50))
    for more, stops in (([], True), (["--early-stopping", "0"], False)):
        assert main(["train", "d.csv", "--epochs", "300", *more]) == 0
        assert ("val_loss has not improved" in capsys.readouterr().out) == stops


def test_training_never_stops_where_its_test_set_is_met_best(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(40, "train", 0)
    write_images(20, "t10k", 1)
    assert main(["train", ".", "--epochs", "100", "--layers", "8"]) == 0
    assert "\ntrained   100 epochs" in capsys.readouterr().out


# -- other files -----------------------------------------------------------------------------------------------------


def test_npz_files_go_all_the_way(capsys: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    x = rng.normal(size=(80, 3))
    np.savez("d.npz", x=x, y=np.where(x[:, 0] > 0, "up", "down"))
    assert main(["train", "d.npz", "--epochs", "30", "--quiet", "--learning-rate", "0.01"]) == 0
    assert main(["evaluate", "tinynet-model.npz", "d.npz"]) == 0
    assert figures(capsys.readouterr().out)["accuracy"] > 0.9
    np.save("new.npy", x)
    assert main(["predict", "tinynet-model.npz", "new.npy"]) == 0
    predicted = capsys.readouterr().out.split()[1:]
    assert np.mean([(label == "up") == (v > 0) for label, v in zip(predicted, x[:, 0], strict=True)]) > 0.9


def write_images(n: int, name: str, seed: int) -> None:
    """Images of 4 x 4 bytes; the class is the quarter that is bright. Two pixels hardly ever light up."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.integers(0, 60, (n, 4, 4))
    images[:, 0, 0] = images[:, 3, 3] = 0
    images[0, 0, 0] = images[0, 3, 3] = 255
    for image, label in zip(images, labels, strict=True):
        image[1 + label // 2, 1 + label % 2] = 255
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        Path(f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_images_are_tested_on_their_test_set(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(400, "train", 0)
    write_images(100, "t10k", 1)
    assert main(["train", ".", "--layers", "32", "--epochs", "20"]) == 0
    out = capsys.readouterr().out
    assert "100 test rows; trained on 400" in out
    accuracy = float(out.split("result")[1].split("accuracy ")[1].split()[0])
    assert accuracy > 0.95
    assert main(["evaluate", "tinynet-model.npz", "."]) == 0
    assert figures(capsys.readouterr().out)["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert main(["predict", "tinynet-model.npz", "t10k-images-idx3-ubyte.gz"]) == 0
    assert len(capsys.readouterr().out.split()) == 101


def test_a_test_set_stays_a_test_set_beside_a_validation_share(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(100, "train", 0)
    write_images(30, "t10k", 1)
    assert main(["train", ".", "--validation", "0.3", "--epochs", "2"]) == 0
    results = [line.split(" on ")[1] for line in capsys.readouterr().out.splitlines() if line.startswith("result")]
    assert results == ["30 validation rows", "30 test rows"]


def test_pixels_share_one_scale() -> None:
    write_images(400, "train", 0)
    main(["train", ".", "--epochs", "1", "--quiet", "--validation", "0"])
    first = tn.load("tinynet-model.npz").layers[0]
    pixels = np.frombuffer(gzip.decompress(Path("train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    np.testing.assert_allclose(first.mean, pixels.mean(), rtol=1e-6)
    np.testing.assert_allclose(first.scale, pixels.std(), rtol=1e-6)
