"""Columns of many words as vectors that are learned: tables in Python, and ``tinynet train --embedding``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from tinynet.cli.main import main
from tinynet.cli.sweep import MODEL as SWEPT
from tinynet.datasets import Table

TREES = ["oak", "elm", "fir", "ash", "yew"]
HEIGHTS = dict(zip(TREES, [10.0, 30.0, 20.0, 50.0, 40.0], strict=True))
ROWS = [{"tree": TREES[i % 5], "age": float(i % 7), "kind": "ab"[i % 2]} for i in range(70)]
Y = np.array([HEIGHTS[row["tree"]] + row["age"] for row in ROWS])  # type: ignore[index, operator]


def text(rows: list[dict[str, object]], y: np.ndarray | None = None) -> str:
    lines = [[*rows[0], *(["height"] if y is not None else [])]]
    lines += [[*map(str, row.values()), *([str(y[i])] if y is not None else [])] for i, row in enumerate(rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def test_columns_of_many_words_are_numbered_and_others_are_not() -> None:
    table = Table.fit(ROWS, embedding=3)
    assert table.columns == ("tree", "age", "kind=a", "kind=b")
    assert table.array(ROWS[:3]).tolist() == [[3, 0, 1, 0], [1, 1, 0, 1], [2, 2, 1, 0]]
    assert table.scaled == [1, 2, 3]
    assert table.embedding is not None
    assert {name: table.embedding[name] for name in ("levels", "size", "columns", "n_in")} == {
        "levels": [6],
        "size": [4],
        "columns": [0],
        "n_in": 4,
    }
    assert Table.of(table.metadata()) == table
    assert Table.fit(ROWS, embedding=5).embedding is None
    assert Table.fit(ROWS).embedding is None


def test_words_that_were_not_there_and_gaps_share_a_level_of_their_own() -> None:
    table = Table.fit(ROWS, embedding=3, missing="indicator")
    new = [{"tree": "box", "age": 1.0, "kind": "a"}, {"tree": None, "age": 1.0, "kind": "a"}]
    with pytest.warns(UserWarning, match="'tree' has 'box'"):
        assert table.array(new)[:, 0].tolist() == [5, 5]
    assert table.embedding is not None
    layer = tn.Embedding(**table.embedding).build(seed=0)
    assert not layer.weight[5].any()
    assert layer.weight[:5].all()


def test_a_network_learns_what_words_mean() -> None:
    table = Table.fit(ROWS, embedding=3)
    x = table.array(ROWS)
    first = [tn.Normalize(4, columns=table.scaled).adapt(x), tn.Embedding(**(table.embedding or {}))]
    net = tn.Sequential(*first, tn.Linear(7, 1), tn.Denormalize(1).adapt(Y), seed=0)
    net.fit(x, Y, optimizer=tn.Adam(0.05), epochs=100)
    assert float(np.abs(net.predict(x)[:, 0] - Y).max()) < 3.0


def test_words_that_hardly_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match="different words in 12"):
        Table.fit({"id": [f"name {i}" for i in range(12)]}, embedding=3)


@pytest.mark.parametrize("coded", [1, "yes", [True]])
def test_a_description_that_is_damaged_is_refused(coded: object) -> None:
    kept = Table.fit(ROWS, embedding=3).metadata()
    kept["table"]["columns"][0]["coded"] = coded
    with pytest.raises(ValueError, match="a column must have"):
        Table.of(kept)


def test_the_command_line_trains_predicts_and_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    Path("d.csv").write_text(text(ROWS, Y))
    Path("new.csv").write_text(text([*ROWS[:3], {"tree": "box", "age": 1.0, "kind": "a"}]))
    common = ["d.csv", "--target", "height", "--layers", "8", "--embedding", "3"]
    assert main(["train", *common, "--plot", "none", "--epochs", "60", "--learning-rate", "0.05"]) == 0
    assert "'tree': 5 words as vectors of 4 numbers" in capsys.readouterr().out
    net = tn.load("tinynet-model.npz")
    assert [type(layer).__name__ for layer in net.layers[:3]] == ["Normalize", "Embedding", "Linear"]
    assert main(["predict", "tinynet-model.npz", "new.csv"]) == 0
    out = capsys.readouterr()
    assert "'tree' has 'box' in 1 row" in out.err
    found = [float(line.split(",")[-1]) for line in out.out.splitlines()[1:]]
    np.testing.assert_allclose(found[:3], Y[:3], atol=6.0)
    assert main(["sweep", *common, "--no-plot", "--epochs", "2", "--seeds", "1", "--out", "runs", "--quiet"]) == 0
    assert isinstance(tn.load(Path("runs") / SWEPT).layers[1], tn.Embedding)
