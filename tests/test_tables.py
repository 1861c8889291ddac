"""``Table``: one array from every kind of table, the same for new data as for those that it was fitted on."""

from __future__ import annotations

import csv
import datetime
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

import tinynet as tn

DAYS = [datetime.datetime(2026, 1, 5), datetime.datetime(2026, 2, 7, 12), None, datetime.datetime(2026, 3, 1)]
COLUMNS: dict[str, list[Any]] = {
    "size": [1.5, None, 2.5, 4.0],
    "count": [1, 2, 3, 4],
    "ok": [True, False, True, True],
    "colour": ["red", "blue", None, "red"],
    "when": DAYS,
    "zip": ["00501", "1", "00501", "1"],
    "price": [1.5, 2.5, 3.5, 4.5],
}
OPTIONS: dict[str, Any] = {"categorical": "zip", "missing": "indicator"}


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def csv_file(folder: Path) -> Path:
    path = folder / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows_of(COLUMNS))
    return path


def parquet_file(folder: Path) -> Path:
    pl.DataFrame(COLUMNS).write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


SOURCES: dict[str, Any] = {
    "columns": lambda folder: COLUMNS,
    "rows": lambda folder: rows_of(COLUMNS),
    "rows of another order": lambda folder: rows_of(dict(reversed(COLUMNS.items()))),
    "texts of a CSV reader": lambda folder: list(csv.DictReader(csv_file(folder).read_text().splitlines())),
    "pandas": lambda folder: pd.DataFrame(COLUMNS),
    "pandas with its own types": lambda folder: pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas with categories": lambda folder: pd.DataFrame(COLUMNS).astype({"colour": "category", "zip": "category"}),
    "polars": lambda folder: pl.DataFrame(COLUMNS),
    "polars with categories": lambda folder: pl.DataFrame(COLUMNS).with_columns(pl.col("colour").cast(pl.Categorical)),
    "CSV": csv_file,
    "Parquet": parquet_file,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_every_kind_of_table_gives_the_same_array(make: Any, tmp_path: Path) -> None:
    table = tn.Table.fit(COLUMNS, "price", **OPTIONS)
    assert table.array(make(tmp_path)).tobytes() == table.array(COLUMNS).tobytes()
    assert table.targets_of(make(tmp_path))[:, 0].tolist() == COLUMNS["price"]
    found = tn.Table.fit(make(tmp_path), "price", **OPTIONS)
    assert set(found.encodings) == set(table.encodings)


def test_a_table_is_kept_in_the_file_of_a_model(tmp_path: Path) -> None:
    table = tn.Table.fit({**COLUMNS, "price": list("abab")}, "price", decimal=",", missing_words="-9", **OPTIONS)
    assert pickle.loads(pickle.dumps(table)) == table
    assert tn.Table.of(json.loads(json.dumps(table.metadata()))) == table
    net = tn.Sequential(tn.Linear(len(table.columns), 2), seed=0)
    net.metadata |= table.metadata()
    net.save(tmp_path / "net.npz")
    assert tn.Table.of(tn.load(tmp_path / "net.npz").metadata) == table


def test_words_and_numbers_become_what_scikit_learn_makes_of_them() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(60, 2))
    numbers[rng.random(60) < 0.2, 1] = np.nan
    frame = pd.DataFrame(numbers, columns=["a", "b"]).assign(kind=rng.choice(["oak", "elm", "fir"], 60))
    oracle = make_column_transformer(
        ("passthrough", ["a"]),
        (SimpleImputer(add_indicator=True), ["b"]),
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["kind"]),
    )
    new = frame.head(10).assign(kind=["ash", "oak"] * 5)
    table = tn.Table.fit(frame, missing="indicator")
    np.testing.assert_allclose(table.array(frame), oracle.fit_transform(frame), rtol=1e-12)
    with pytest.warns(UserWarning, match=r"'kind' has 'ash' in 5 rows, not seen in training") as told:
        np.testing.assert_allclose(table.array(new), oracle.transform(new), rtol=1e-12)
    assert [warning.filename for warning in told] == [__file__]


def test_rare_words_share_a_column() -> None:
    words = ["b"] * 4 + ["c"] * 3 + ["a"] * 3 + ["z", "y"]
    table = tn.Table.fit({"kind": words}, most_levels=2)
    assert table.columns == ("kind=a", "kind=b", "kind=other")  # Of a and c, which are as frequent, the first.
    assert table.array({"kind": ["a", "c", "b", "never"]}).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_parts_of_dates_are_those_of_the_calendar() -> None:
    days = [datetime.datetime(2023, 1, 1) + datetime.timedelta(hours=7 * i) for i in range(2000)]
    array = tn.Table.fit({"t": days}).array({"t": days})
    sunday_noon = datetime.datetime(2024, 2, 4, 12)
    whole, turns = (sunday_noon - datetime.datetime(1970, 1, 1)).total_seconds() / 86400, [34.5 / 366, 6.5 / 7, 0.5]
    expected = [whole, *(f(2 * np.pi * turn) for turn in turns for f in (np.sin, np.cos))]
    assert array.shape == (2000, 7)
    np.testing.assert_allclose(tn.Table.fit({"t": days}).array({"t": [sunday_noon]})[0], expected, rtol=1e-9, atol=1e-9)
    midnights = tn.Table.fit({"t": [day.date() for day in days[:100]]})
    assert [name for name in midnights.columns if "day_" in name] == []


def test_means_stand_for_gaps_and_those_of_new_data_count_for_nothing() -> None:
    table = tn.Table.fit({"a": [1.0, 3.0, None], "b": [1, 2, 3]}, missing="mean")
    assert table.columns == ("a", "b")
    assert table.array({"a": [None, 100], "b": [None, 7]}).tolist() == [[2, 2], [100, 7]]


SMALL: dict[str, list[Any]] = {"a": [1.0, 2.0, 3.0], "kind": ["x", "y", "x"]}
ZONED = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 3
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "a gap": ({"a": [1.0, None, 2.0]}, {}, ValueError, "row 1, column 'a': the value is missing.*missing mean"),
    "a gap among words": ({"a": ["x", "", "x"]}, {}, ValueError, "row 1, column 'a': the value is missing"),
    "infinity": ({"a": [1.0, np.inf, 2.0]}, {}, ValueError, "row 1, column 'a': expected a finite number; got inf"),
    "a slip": ({"a": ["1.5", "2.5", "x"]}, {}, ValueError, "row 2, column 'a': features must be numbers; got 'x'"),
    "other things": ({"a": [1, {}, 2]}, {}, ValueError, "row 1, column 'a': expected a number, a date"),
    "time zones": ({"a": ZONED}, {}, TypeError, "without a time zone"),
    "time zones of pandas": ({"a": pd.Series(ZONED)}, {}, TypeError, "without a time zone"),
    "time zones of polars": ({"a": pl.Series(ZONED)}, {}, TypeError, "without a time zone"),
    "complex numbers": ({"a": np.ones(3) * 1j}, {}, TypeError, "got complex128"),
    "no value at all": ({"a": [None] * 3}, {"missing": "mean"}, ValueError, "column 'a' must have a value in some row"),
    "names": ({"a": [f"n{i}" for i in range(60)]}, {}, ValueError, "60 different words in 60 rows.*--ignore 'a'"),
    "no such column": (SMALL, {"categorical": "kin"}, ValueError, "expects a column 'kin'.*Did you mean 'kind'"),
    "a categorical target": (SMALL, {"target": "kind", "categorical": "kind"}, ValueError, "'kind' is a target"),
    "nothing is left": (SMALL, {"ignore": ["a", "kind"]}, ValueError, "at least one column that is not ignored"),
    "no such policy": (SMALL, {"missing": "median"}, ValueError, "missing must be one of .*'mean'.*got 'median'"),
    "lengths": ({"a": [1, 2], "b": [1]}, {}, ValueError, r"columns of one length; got lengths \[1, 2\]"),
}


@pytest.mark.parametrize(("columns", "options", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_named(
    columns: dict[str, Any], options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tn.Table.fit(columns, **options)


def test_an_index_without_a_name_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",a\n0,1.5\n1,2.5\n")
    with pytest.raises(ValueError, match="expected nothing in column 0, which has no name"):
        tn.Table.fit(path)
    assert tn.Table.fit(path, ignore=0).columns == ("a",)


NEW: dict[str, tuple[Any, str]] = {
    "a column is gone": ({"a": [1]}, "The model expects a column 'kind' in the table; it has 'a'"),
    "words for numbers": ({"a": ["x"], "kind": ["x"]}, "column 'a': features must be numbers, as in training; got 'x'"),
    "a gap": ([{"a": 1.0, "kind": "x"}, {"kind": "x"}], "row 1, column 'a': the value is missing"),
}


@pytest.mark.parametrize(("source", "message"), NEW.values(), ids=NEW.keys())
def test_new_tables_are_checked(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tn.Table.fit(SMALL).array(source)
    with pytest.raises(TypeError, match="expected numbers, as the model was fitted on; got dates"):
        tn.Table.fit(SMALL).array({"a": DAYS[:1], "kind": ["x"]})


def mutated(change: Any) -> dict[str, Any]:
    metadata = tn.Table.fit(SMALL).metadata()
    change(metadata["table"])
    return metadata


BROKEN: dict[str, Any] = {
    "no columns": lambda table: table.update(columns=[]),
    "a key is gone": lambda table: table.pop("missing"),
    "another policy": lambda table: table.update(missing="guess"),
    "another mark": lambda table: table.update(decimal=";"),
    "words": lambda table: table.update(missing_words=[1]),
    "a kind": lambda table: table["columns"][0].update(kind=["number"]),
    "a mean too many": lambda table: table["columns"][0].update(mean=[1.0, 2.0]),
    "a mean that is none": lambda table: table["columns"][0].update(mean=[float("nan")]),
    "levels": lambda table: table["columns"][1].update(levels=[1, 2]),
    "a key too many": lambda table: table["columns"][1].update(width=1),
    "parts": lambda table: table["columns"][1].update(parts=["century"]),
    "one name twice": lambda table: table["columns"][1].update(name="a"),
    "no table": lambda table: table["columns"].append(3),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_description_that_is_none_is_refused(change: Any) -> None:
    with pytest.raises(ValueError, match=r"must|two columns of one name"):
        tn.Table.of(mutated(change))


@pytest.mark.parametrize("call", [tn.Table.fit, tn.datasets.read])
def test_who_calls_from_python_is_told_of_arguments(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "gap.csv"
    path.write_text("a,y\n1,2\n,3\n")
    with pytest.raises(ValueError, match="--missing mean") as caught:
        call(path, target="y")
    assert caught.value.__notes__ == ["In Python: --missing is the argument missing."]
