"""The command line and the texts of tables: predict reads what train was taught to read."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tinynet as tn
from tinynet.cli.main import main

MODEL = "tinynet-model.npz"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, on the backend that needs no compiling."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    return tmp_path


def train(text: str, *arguments: str) -> tn.Sequential:
    Path("d.csv").write_text(text)
    assert main(["train", "d.csv", "--epochs", "2", "--layers", "4", "--plot", "none", "--quiet", *arguments]) == 0
    return tn.load(MODEL)


def predicted(path: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["predict", MODEL, path, *arguments]) == 0
    return capsys.readouterr().out.splitlines()[1:]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def table(names: list[str] | None, *columns: list[str], mark: str = ",") -> str:
    rows = [names] if names else []
    return "".join(mark.join(row) + "\n" for row in [*rows, *zip(*columns, strict=True)])


NUMBERS = [f"{i % 7}.{i % 3}" for i in range(30)]
COMMAS = [number.replace(".", ",") for number in NUMBERS]
TARGETS = [f"{i}.5" for i in range(30)]
INDEX = [str(i) for i in range(30)]


@pytest.mark.parametrize("labels", [("EU", "NA"), ("00501", "0501"), ("1_0", "10"), ("True", "False"), ("-", "+")])
def test_labels_are_predicted_as_they_stand_in_the_file(
    labels: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    x = [f"{(i % 2) * 4}.{i}" for i in range(30)]
    net = train(
        table(["x", "label"], x, [labels[i % 2] for i in range(30)]), "--epochs", "60", "--learning-rate", "0.05"
    )
    assert net.metadata["classes"] == sorted(labels)
    assert predicted("d.csv", capsys)[:4] == [*labels, *labels]
    assert main(["evaluate", MODEL, "d.csv"]) == 0
    assert f"{'accuracy':<18}1\n" in capsys.readouterr().out


def test_a_word_for_missing_is_told_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("d.csv").write_text(table(["x", "label"], NUMBERS, ["EU", "NA", "US"] * 10))
    assert main(["train", "d.csv", "--epochs", "1", "--plot", "none"]) == 0
    assert "3 classes: EU, NA, US (NA among them; --missing-words NA says that it is none)" in capsys.readouterr().out
    assert "line 3, column 'label': the target is missing" in refused(
        ["train", "d.csv", "--missing-words", "NA"], capsys
    )
    net = train(table(["x", "y"], NUMBERS, TARGETS), "--missing-words", "-999", "--missing-words", "NA,none")
    assert net.metadata["missing_words"] == ["-999", "NA", "none"]
    Path("n.csv").write_text("x\n1\n-999\n")
    assert "line 3, column 'x': the value is missing (got '-999')" in refused(["predict", MODEL, "n.csv"], capsys)
    assert len(predicted("n.csv", capsys, "--missing-words", "other")) == 2


def test_decimal_commas_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = train(table(["a", "y"], NUMBERS, TARGETS))
    targets = [target.replace(".", ",") for target in TARGETS]
    text = table(["a", "y"], COMMAS, targets, mark=";")
    Path("c.csv").write_text(text)
    assert "say --decimal ," in refused(["train", "c.csv"], capsys)
    net = train(text, "--decimal", ",", "--validation", "c.csv")
    net = train(text, "--decimal", ",")
    assert net.flat_parameters().tobytes() == plain.flat_parameters().tobytes()
    assert net.metadata == {"features": ["a"], "targets": ["y"], "decimal": ","}
    got = predicted("c.csv", capsys)
    Path("p.csv").write_text(table(["a"], NUMBERS))
    assert "say --decimal ." in refused(["predict", MODEL, "p.csv"], capsys)
    Path("two.csv").write_text("a,b\n1.5,2.5\n")
    assert "read with ',' as decimal mark, so that" in refused(["predict", MODEL, "two.csv"], capsys)
    assert predicted("p.csv", capsys, "--decimal", ".") == got
    assert main(["evaluate", MODEL, "c.csv"]) == 0


def test_years_are_names(capsys: pytest.CaptureFixture[str]) -> None:
    net = train(table(["1990", "1991", "1992"], NUMBERS, NUMBERS[::-1], TARGETS))
    assert net.metadata == {"features": ["1990", "1991"], "targets": ["1992"], "header": True}
    Path("t.csv").write_text(table(["1991", "1990"], NUMBERS[::-1], NUMBERS))
    assert predicted("t.csv", capsys) == predicted("d.csv", capsys)
    Path("one.csv").write_text("1991,1990\n0.0,0.5\n")
    assert predicted("one.csv", capsys) == [str(net.predict([[0.5, 0.0]])[0, 0])]


def test_a_first_line_that_may_be_either_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    whole = [str(i % 5) for i in range(30)]
    text = table(["0", "1", "2"], whole, whole[::-1], INDEX)
    Path("d.csv").write_text(text)
    assert "Say --header yes or --header no" in refused(["train", "d.csv"], capsys)
    net = train(text, "--header", "yes", "--task", "regression")
    assert (net.metadata["features"], net.metadata["header"]) == (["0", "1"], True)
    assert len(predicted("d.csv", capsys)) == 30
    net = train(text, "--header", "no", "--task", "regression")
    assert (net.metadata["features"], net.metadata["header"]) == (["0", "1"], False)
    Path("n.csv").write_text("0,1\n4,3\n")
    assert len(predicted("n.csv", capsys)) == 2
    assert len(predicted("n.csv", capsys, "--header", "yes")) == 1


def test_ignored_columns_and_targets_add_up() -> None:
    text = table(["id", "x", "note", "y", "z"], INDEX, NUMBERS, ["n"] * 30, TARGETS, NUMBERS)
    arguments = ["--ignore", "id", "--ignore", "note", "--target", "z", "--target", "y"]
    assert train(text, *arguments).metadata == {"features": ["x"], "targets": ["z", "y"]}
    assert train(text, "--ignore", "id,note", "--target", "z,y").metadata["targets"] == ["z", "y"]
    # Options of a file do not add to those of the command line, which win.
    Path("c.toml").write_text('ignore = ["id", "note"]\ntarget = "y"\nheader = true\n')
    assert train(text, "--config", "c.toml").metadata == {"features": ["x", "z"], "targets": ["y"]}
    assert train(text, "--config", "c.toml", "--target", "z").metadata == {"features": ["x", "y"], "targets": ["z"]}


def test_an_index_without_a_name_is_left_out_by_its_position(capsys: pytest.CaptureFixture[str]) -> None:
    text = table(["", "x", "y"], INDEX, NUMBERS, TARGETS)
    Path("d.csv").write_text(text)
    assert "leave it out: --ignore 0" in refused(["train", "d.csv"], capsys)
    assert train(text, "--ignore", "0").metadata == {"features": ["x"], "targets": ["y"]}
    assert len(predicted("d.csv", capsys)) == 30


def test_true_and_false_are_features(capsys: pytest.CaptureFixture[str]) -> None:
    train(table(["x", "flag", "y"], NUMBERS, ["True", "False"] * 15, TARGETS))
    Path("n.csv").write_text(table(["x", "flag"], NUMBERS, ["1", "0"] * 15))
    assert predicted("d.csv", capsys) == predicted("n.csv", capsys)


def test_gzipped_files_are_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    text = table(["x", "y"], NUMBERS, TARGETS)
    Path("d.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert main(["train", "d.csv.gz", "--epochs", "2", "--plot", "none", "--quiet"]) == 0
    assert main(["predict", MODEL, "d.csv.gz", "--out", "p.csv.gz"]) == 0
    capsys.readouterr()
    assert gzip.decompress(Path("p.csv.gz").read_bytes()).decode().splitlines()[1:] == predicted("d.csv.gz", capsys)


MIXED = table(
    ["id", "size", "colour", "when", "y"],
    ["01", "2"] * 15,
    [number if i % 9 else "" for i, number in enumerate(NUMBERS)],
    ["red", "blue", "red"] * 10,
    [f"2026-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(30)],
    TARGETS,
)


def test_words_dates_and_gaps_are_learned_from_and_predicted_of(capsys: pytest.CaptureFixture[str]) -> None:
    net = train(MIXED, "--categorical", "id", "--missing", "indicator")
    known = tn.Table.of(net.metadata)
    assert known.columns == (
        *("id=01", "id=2", "size", "size=missing", "colour=blue", "colour=red"),
        *("when.days", "when.year_sin", "when.year_cos", "when.week_sin", "when.week_cos"),
    )
    expected = net.predict(known.array("d.csv"))[:, 0].astype(str).tolist()
    assert predicted("d.csv", capsys) == expected
    Path("p.csv").write_text("colour,when,size,id\nmauve,2026-01-31,,2\n")
    assert main(["predict", MODEL, "p.csv"]) == 0
    told = capsys.readouterr().err
    assert "'p.csv': 1 of 'size'; each is its mean, and 1 in a column of gaps" in told
    assert "'p.csv': 'colour' has 'mauve' in 1 row, not seen in training" in told
    assert main(["evaluate", MODEL, "d.csv"]) == 0
    assert (
        main(
            [
                "sweep",
                "d.csv",
                "--layers",
                "2",
                "--epochs",
                "1",
                "--seeds",
                "1",
                "--missing",
                "mean",
                "--no-plot",
                "--quiet",
            ]
        )
        == 0
    )
    Path("p.csv").write_text("colour,when,size,id\nred,soon,1,2\n")
    assert "line 2, column 'when': expected a date such as 2026-01-31" in refused(["predict", MODEL, "p.csv"], capsys)


def test_levels_and_means_are_those_of_the_rows_to_train_on(capsys: pytest.CaptureFixture[str]) -> None:
    held = table(["x", "kind", "y"], ["100"] * 2, ["fir", "oak"], ["1.5"] * 2)
    Path("held.csv").write_text(held)
    text = table(["x", "kind", "y"], [*NUMBERS[:-1], ""], ["oak", "elm"] * 15, TARGETS)
    Path("d.csv").write_text(text)
    options = ["--missing", "mean", "--epochs", "1", "--plot", "none", "--validation", "held.csv"]
    assert main(["train", "d.csv", *options]) == 0
    told = capsys.readouterr().out
    assert "columns   'kind': words in 2 columns; 3 inputs in all" in told
    assert "missing   training rows: 1 of 'x'; each is the mean of the column" in told
    assert "note      validation rows: 'kind' has 'fir' in 1 row, not seen in training" in told
    (mean,) = tn.Table.of(tn.load(MODEL).metadata).encodings[0].mean
    assert mean == pytest.approx(np.mean([float(number) for number in NUMBERS[:-1]]), rel=1e-12)


def test_standard_input_and_parquet_are_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(MIXED, "--missing", "mean")
    expected = predicted("d.csv", capsys)

    def feed(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))  # type: ignore[arg-type]

    feed(gzip.compress(MIXED.encode()))
    assert predicted("-", capsys) == expected
    feed(MIXED.encode())
    assert main(["train", "-", "--missing", "mean", "--epochs", "2", "--layers", "4", "--plot", "none", "--quiet"]) == 0
    assert predicted("d.csv", capsys) == expected
    pl.read_csv("d.csv", try_parse_dates=True, schema_overrides={"id": pl.Int64}).write_parquet("d.parquet")
    assert predicted("d.parquet", capsys) == expected
    assert "standard input for both" in refused(["train", "-", "--validation", "-"], capsys)
    Path("e.parquet").write_bytes(b"PAR1?")
    assert "cannot be read as Parquet by polars" in refused(["predict", MODEL, "e.parquet"], capsys)


def test_the_former_meaning_of_missing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "d.csv", "--missing", "NA"])
    assert "must be one of error, mean, indicator; got 'NA'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--target", "--ignore", "--missing-words", "--decimal", "--categorical"])
def test_without_data_an_option_that_tells_of_them_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "sweep"):
        err = (
            refused([command, option, ","], capsys)
            if option == "--decimal"
            else refused([command, option, "a"], capsys)
        )
        assert f"{option} expects data to read, as in: tinynet {command} FILE" in err


def test_sweeps_read_alike(capsys: pytest.CaptureFixture[str]) -> None:
    text = table(
        ["", "1990", "1991", "y"], INDEX, COMMAS, COMMAS[::-1], [t.replace(".", ",") for t in TARGETS], mark=";"
    )
    Path("d.csv").write_text(text)
    arguments = [
        "--epochs",
        "2",
        "--layers",
        "4",
        "--seeds",
        "1",
        "--no-plot",
        "--quiet",
        "--decimal",
        ",",
        "--ignore",
        "0",
    ]
    assert main(["sweep", "d.csv", *arguments]) == 0
    assert len(tn.load("tinynet-sweep/best.npz").metadata) > 0
    assert main(["predict", "tinynet-sweep/best.npz", "d.csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 31


@pytest.mark.parametrize(
    ("key", "value"),
    [("header", "no"), ("decimal", ";"), ("missing_words", [1]), ("missing_words", "NA")],
)
def test_notes_that_are_none_are_refused(key: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    net = tn.Sequential(tn.Linear(1, 1), seed=0)
    net.metadata = {"features": ["x"], key: value}
    net.save(MODEL)
    Path("d.csv").write_text("x\n1\n")
    assert f"its metadata {key!r} must be" in refused(["predict", MODEL, "d.csv"], capsys)


def test_what_predict_writes_is_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ['say "yes"', "no, never"]
    train(
        table(["x", "label"], NUMBERS, [f'"{label}"' for label in [label.replace('"', '""') for label in labels] * 15])
    )
    assert main(["predict", MODEL, "d.csv", "--probabilities", "--out", "p.csv"]) == 0
    assert main(["train", "p.csv", "--target", "label", "--epochs", "1", "--plot", "none", "--out", "q.npz"]) == 0
    net = tn.load("q.npz")
    assert set(net.metadata["classes"]) <= set(labels)
    assert np.isfinite(net.flat_parameters()).all()


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "gr\\xf6\\xdfe\\u540d"), ("cp1252", "größe\\u540d")])
def test_names_that_the_output_cannot_hold_are_written_as_escapes(
    encoding: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", screen)
    train(table(["x", "größe名"], NUMBERS, TARGETS))
    assert main(["predict", MODEL, "d.csv"]) == 0
    assert main(["train", "d.csv", "--epochs", "1", "--plot", "none"]) == 0
    screen.flush()
    text = screen.buffer.getvalue().decode(encoding)
    assert text.startswith(f"{name}\n")
    assert f"target    {name}" in text
    assert screen.errors == "strict"
