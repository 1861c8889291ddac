"""Cells of text tables: numbers, labels, missing values; and the arguments that choose among columns."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import write

from tinynet.datasets import read
from tinynet.datasets.cells import as_numbers, is_number
from tinynet.datasets.targets import encode, find_task

# -- numbers ---------------------------------------------------------------------------------------------------------

NUMBERS = ["0", "-1", "+2", "3.", ".5", "-0.25e3", "1E-300", " 7 ", "\t8", "9\u00a0", "007", "1e5", "00.50", "1" * 300]
NO_NUMBERS = [
    *("1_01", "1__0", "inf", "Infinity", "nan", "0x10", "1d3", "1 2", "1,5", "", " ", "-", "+", ".", "e5", "1e", "5%"),
    *("\uff11\uff12", "\u0661", "\u0967", "\u00b2", "\u22121", "1\u00a0000", "1\x00", "True", "1'000", "1j", "--1"),
]


@pytest.mark.parametrize("cell", NUMBERS)
def test_what_people_write_as_a_number_is_one(cell: str) -> None:
    assert is_number(cell)
    (value,) = as_numbers([cell])  # type: ignore[misc]
    assert value == float(cell)
    (with_comma,) = as_numbers([cell.replace(".", ",")], ",")  # type: ignore[misc]
    assert with_comma == value


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_what_only_python_reads_as_a_number_is_none(cell: str, tmp_path: Path) -> None:
    assert not is_number(cell)
    assert as_numbers(["1", cell]) is None
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "y"], ["1", "2", "0.5"], [cell, "3", "0.7"]])
    with pytest.raises(ValueError, match=r"line 3, column 'a': "):
        read(path)


def test_one_grammar_for_single_cells_and_for_columns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        cell = "".join(rng.choice(list("0123456789+-.eE _,\u0661"), rng.integers(1, 7)))
        for decimal in ".,":
            assert is_number(cell, decimal) == (as_numbers([cell], decimal) is not None), (cell, decimal)


# -- labels ----------------------------------------------------------------------------------------------------------


def labels_of(folder: Path, labels: list[str], task: str = "auto", **options: Any) -> Any:
    rows = "".join(f"{i}.5,{label}\n" for i, label in enumerate(labels * 10))
    data, _ = read(write(folder, f"a,label\n{rows}"), **options)
    return find_task(data, task), data


LABELS: dict[str, tuple[list[str], tuple[Any, ...]]] = {
    "NA among words": (["EU", "NA"], ("EU", "NA")),
    "plus and minus": (["+", "-"], ("+", "-")),
    "elements": (["K", "Na"], ("K", "Na")),
    "quoted NA": (['"EU"', '"NA"'], ("EU", "NA")),
    "all that stands for missing": (["NA", "?", "null", "nan"], ("?", "NA", "nan", "null")),
    "words that Python reads as numbers": (["inf", "nan", "1_0"], ("1_0", "inf", "nan")),
    "ZIP codes": (["00501", "0501", "10001"], ("00501", "0501", "10001")),
    "months": (["01", "02", "12"], ("01", "02", "12")),
    "codes with exponents": (["1e3", "1000"], ("1000", "1e3")),
    "longer than float64": (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
    "digits of another script": (["\u0661", "1"], ("1", "\u0661")),
    "true and false": (["True", "False"], ("False", "True")),
    "signs": (["+1", "-1"], (-1, 1)),
    "whole numbers of savetxt": (["0.000000000000000000e+00", "1.000000000000000000e+01"], (0, 10)),
    "whole numbers of pandas": (["1.0", "2.0"], (1, 2)),
}


@pytest.mark.parametrize(("labels", "classes"), LABELS.values(), ids=LABELS.keys())
def test_labels_are_what_stands_in_the_file(labels: list[str], classes: tuple[Any, ...], tmp_path: Path) -> None:
    task, data = labels_of(tmp_path, labels)
    assert task.classes == classes
    numbers = encode(data, classes)
    assert len(set(numbers[: len(labels)])) == len(labels)
    assert [str(classes[i]) in label or float(label) == classes[i] for i, label in zip(numbers, labels, strict=False)]


def test_words_that_may_mean_missing_are_pointed_out(tmp_path: Path) -> None:
    task, _ = labels_of(tmp_path, ["EU", "NA"])
    assert task.reason == "NA among them; --missing-words NA says that it is none"
    with pytest.raises(ValueError, match=r"line 3, column 'label': the target is missing \(got 'NA'\)"):
        labels_of(tmp_path, ["EU", "NA"], missing_words="NA")


@pytest.mark.parametrize("word", ["NA", "-", "", "nan", "?", "-nan", "#N/A"])
def test_a_missing_number_among_targets_is_named(word: str, tmp_path: Path) -> None:
    for others in (["1.5", "2.5"], ["1", "2"]):
        with pytest.raises(ValueError, match=rf"line 4.*the target is missing \(got '{word}'\)".replace("?", r"\?")):
            labels_of(tmp_path, [*others, word])


def test_a_word_for_missing_is_a_class_among_numbers_where_one_says_so(tmp_path: Path) -> None:
    assert labels_of(tmp_path, ["1", "2", "-"], "classification")[0].classes == ("-", "1", "2")


def test_labels_of_another_writing_are_other_labels(tmp_path: Path) -> None:
    _, data = labels_of(tmp_path, ["1", "02"])
    with pytest.raises(ValueError, match="line 3: '02' is not one of the classes 1, 2"):
        encode(data, (1, 2))


def test_codes_are_numbers_where_one_says_so(tmp_path: Path) -> None:
    task, data = labels_of(tmp_path, ["01", "02"], "regression")
    assert task.classes is None
    assert encode(data, None)[:2].tolist() == [[1.0], [2.0]]


def test_true_and_false_are_one_and_zero_among_targets_that_are_numbers(tmp_path: Path) -> None:
    _, data = labels_of(tmp_path, ["True", "False"], "regression")
    assert encode(data, None)[:2].tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_labels_beyond_the_whole_numbers_of_float64_stay_apart(dtype: Any, tmp_path: Path) -> None:
    labels = np.array([2**53, 2**53 + 1] * 5, dtype)
    np.savez(tmp_path / "d.npz", x=np.zeros((10, 1)), y=labels)
    data, _ = read(tmp_path / "d.npz")
    classes = find_task(data, "classification").classes
    assert classes == (2**53, 2**53 + 1)
    assert encode(data, classes).tolist() == [0, 1] * 5


# -- missing values, true and false ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["NA", "n/a", "-", "?", "NaN", "null", "None", "", "."])
def test_a_missing_feature_is_named(word: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 3, column 'a': the value is missing"):
        read(write(tmp_path, f"a,b,y\n1,2,3\n{word},2,3\n"))


def test_words_for_missing_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,y\n1,2,3\n-999,2,3\n")
    assert read(path)[0].x[1, 0] == -999
    for missing in ("-999", ["-999", "NA"]):
        with pytest.raises(ValueError, match=r"line 3, column 'a': the value is missing \(got '-999'\)"):
            read(path, missing_words=missing)


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("TRUE", "FALSE")])
def test_columns_of_true_and_false_are_one_and_zero(words: tuple[str, str], tmp_path: Path) -> None:
    yes, no = words
    data, _ = read(write(tmp_path, f"a,b,c,y\n{yes},1,{no},x\n{no},2,{no},y\n"))
    assert data.x.tolist() == [[1, 1, 0], [0, 2, 0]]
    headerless, _ = read(write(tmp_path, f"{yes},1,{no},x\n{no},2,{no},y\n"))
    assert headerless.x.tolist() == [[1, 1, 0], [0, 2, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\nTrue,1\n1,2\n", "line 3, column 'a': expected true or false, as in the first row; got '1'"),
        ("a,y\nTrue,1\nyes,2\n", "line 3, column 'a': expected true or false, as in the first row; got 'yes'"),
        ("a,y\nTrue,1\n,2\n", "line 3, column 'a': the value is missing"),
        ("a,y\n1,1\nTrue,2\n", "line 3, column 'a': features must be numbers; got 'True'"),
    ],
)
def test_a_column_is_of_one_kind(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, text))


# -- decimal commas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [";", "\t", '","'])
def test_decimal_commas_are_read_where_one_says_so(mark: str, tmp_path: Path) -> None:
    rows = [["a", "b", "y"], ["1,5", "-2,25e1", "0,1"], ["2", "3", "4,5"]]
    if mark == '","':
        text = "".join('"' + mark.join(row) + '"\n' for row in rows)
    else:
        text = "".join(mark.join(row) + "\n" for row in rows)
    data, _ = read(write(tmp_path, text), decimal=",")
    assert data.x.tolist() == [[1.5, -22.5], [2.0, 3.0]]
    assert encode(data, None)[:, 0].tolist() == [0.1, 4.5]
    with pytest.raises(ValueError, match=r"column 'a': features must be numbers; got '1,5'.*say --decimal ,"):
        read(write(tmp_path, text))


def test_decimal_commas_of_targets_are_no_labels(tmp_path: Path) -> None:
    data, _ = read(write(tmp_path, "a;y\n1;0,5\n2;1,5\n3;0,5\n4;1,5\n"))
    for task in ("auto", "regression"):
        with pytest.raises(ValueError, match=r"line 2.*'0,5'.*say --decimal ,"):
            find_task(data, task)
    assert find_task(data, "classification").classes == ("0,5", "1,5")


@pytest.mark.parametrize(
    ("text", "decimal", "message"),
    [
        ("a;b\n1.5;2\n", ",", r"got '1\.5'\. If '\.' is the decimal mark of this file, say --decimal \."),
        ('a,b\n"1,234.5",2\n', ".", "features must be numbers; got '1,234.5'"),
        ("a;b\n1.234,5;2\n", ",", "features must be numbers; got '1.234,5'"),
    ],
)
def test_numbers_of_another_decimal_mark_are_refused(text: str, decimal: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, text), decimal=decimal)


def test_a_decimal_mark_is_a_point_or_a_comma(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"decimal must be one of '.', ','; got ';'|decimal must be one of ',', '.'"):
        read(write(tmp_path, "a,b\n1,2\n"), decimal=";")


# -- arguments -------------------------------------------------------------------------------------------------------


def test_a_single_column_needs_no_list(tmp_path: Path) -> None:
    path = write(tmp_path, "ab,c,d\n1,2,3\n4,5,6\n")
    assert read(path, "ab", "c")[0].features == ("d",)
    assert read(path, 0, -1)[0].features == ("c",)


@pytest.mark.parametrize("name", ["\u0661", "1_0", " 0", "0x0"])
def test_positions_are_whole_numbers(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--target expects a column"):
        read(write(tmp_path, "a,b\n1,2\n"), name)


def test_a_target_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--target names a column twice; got b, 1"):
        read(write(tmp_path, "a,b\n1,2\n"), ("b", "1"))


@pytest.mark.parametrize(
    "argument", [{"ignore": ["a"]}, {"decimal": ","}, {"header": True}, {"missing_words": ["NA"]}, {"categorical": "a"}]
)
def test_an_argument_that_says_nothing_of_arrays_is_refused(argument: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=np.zeros(3))
    with pytest.raises(ValueError, match=f"{next(iter(argument))} expects a CSV file.*NPZ"):
        read(tmp_path / "d.npz", **argument)


def test_numpy_files_may_be_gzipped_and_named_in_capitals(tmp_path: Path) -> None:
    table = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "t.npy", table)
    write(tmp_path, gzip.compress((tmp_path / "t.npy").read_bytes()), "t.npy.gz")
    (tmp_path / "t.npy").rename(tmp_path / "T.NPY")
    for name in ("T.NPY", "t.npy.gz"):
        assert read(tmp_path / name)[0].x.tolist() == table[:, :1].tolist()


@pytest.mark.parametrize(
    ("y", "message"),
    [(np.arange(3) + 1j, "complex"), (np.arange(3).astype("M8[D]"), "dates")],
    ids=["complex", "dates"],
)
def test_targets_that_are_neither_numbers_nor_words_are_refused(y: Any, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=y)
    with pytest.raises(TypeError, match=f"array 'y', must hold real numbers; got {message}"):
        read(tmp_path / "d.npz")
