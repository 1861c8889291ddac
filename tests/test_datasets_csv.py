"""CSV: what is read, what is refused, and which columns a model finds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import write
from hypothesis import given
from hypothesis import strategies as st

from tinynet.datasets import read, read_known
from tinynet.datasets.csvfile import BLOCK_ROWS
from tinynet.datasets.targets import encode

# -- CSV: what is read -----------------------------------------------------------------------------------------------

FORMS = {
    "comma": "u,v,w\n1,2.5,a\n-3,4e2,b\n5,6,a\n",
    "semicolon": "u;v;w\n1;2.5;a\n-3;4e2;b\n5;6;a\n",
    "tab": "u\tv\tw\n1\t2.5\ta\n-3\t4e2\tb\n5\t6\ta\n",
    "Windows line ends": "u,v,w\r\n1,2.5,a\r\n-3,4e2,b\r\n5,6,a\r\n",
    "byte order mark": "\ufeffu,v,w\n1,2.5,a\n-3,4e2,b\n5,6,a\n",
    "quotes": '"u","v","w"\n"1","2.5","a"\n"-3","4e2","b"\n"5","6","a"\n',
    "spaces": "u, v, w\n1, 2.5, a\n -3 , 4e2 ,b \n5,6, a\n",
    "blank lines": "\nu,v,w\n\n1,2.5,a\n-3,4e2,b\n  \n5,6,a\n\n",
    "no newline at the end": "u,v,w\n1,2.5,a\n-3,4e2,b\n5,6,a",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_csv_is_read_in_every_common_form(text: str, tmp_path: Path) -> None:
    data, test = read(write(tmp_path, text))
    assert data.x.tolist() == [[1.0, 2.5], [-3.0, 400.0], [5.0, 6.0]]
    assert data.y is not None
    assert data.y.tolist() == ["a", "b", "a"]
    assert (data.features, data.targets, test) == (("u", "v"), ("w",), None)


HEADERS = {
    "names over numbers": ("a,b\n1,2\n", True),
    "no names": ("1,2\n3,4\n", False),
    "no names, with a text": ("5.1,3.5,setosa\n4.9,3.0,setosa\n", False),
    "no names, a value missing": ("5.1,3.5\n,3.0\n", False),
    "some names are numbers": ("label,0,1\n3,1,2\n", True),
    "an unnamed index": (",a,b\n0,1,2\n", True),
    "names over texts": ("a,b\nx,y\n", True),
}


@pytest.mark.parametrize(("text", "named"), HEADERS.values(), ids=HEADERS.keys())
def test_names_in_the_first_line_are_recognised(text: str, named: bool, tmp_path: Path) -> None:
    seen = []

    def choose(header: Any) -> Any:
        seen.append(header.named)
        raise ZeroDivisionError

    from tinynet.datasets.csvfile import read_csv

    with pytest.raises(ZeroDivisionError):
        read_csv(write(tmp_path, text), choose)
    assert seen == [named]


CHOICES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "the last column": ((), (), ("a", "b", "c"), ("d",)),
    "a name": (("b",), (), ("a", "c", "d"), ("b",)),
    "a position": (("0",), (), ("b", "c", "d"), ("a",)),
    "a position from the end": (("-2",), (), ("a", "b", "d"), ("c",)),
    "several": (("d", "a"), (), ("b", "c"), ("d", "a")),
    "some ignored": (("a",), ("c",), ("b", "d"), ("a",)),
    "the last one ignored": ((), ("d",), ("a", "b"), ("c",)),
}


@pytest.mark.parametrize(("target", "ignore", "features", "targets"), CHOICES.values(), ids=CHOICES.keys())
def test_columns_are_chosen_by_name_and_position(
    target: tuple[str, ...],
    ignore: tuple[str, ...],
    features: tuple[str, ...],
    targets: tuple[str, ...],
    tmp_path: Path,
) -> None:
    data, _ = read(write(tmp_path, "a,b,c,d\n10,11,12,13\n20,21,22,23\n"), target, ignore)
    assert (data.features, data.targets) == (features, targets)
    assert data.y is not None
    value = {"a": 10, "b": 11, "c": 12, "d": 13}
    assert data.x[0].tolist() == [value[name] for name in features]
    assert data.y.reshape(2, -1)[0].astype(float).tolist() == [value[name] for name in targets]


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1))
def test_numbers_survive_a_csv_file_bit_for_bit(tmp_path_factory: Any, table: list[list[float]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c"], *table])
    data, _ = read(path)
    assert data.x.tobytes() == np.array(table)[:, :2].tobytes()
    assert encode(data, None).tobytes() == np.array(table)[:, 2:].tobytes()


def test_a_file_longer_than_a_block_is_read_whole_and_its_lines_are_counted(tmp_path: Path) -> None:
    n = 2 * BLOCK_ROWS + 3
    data, _ = read(write(tmp_path, "a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(n))))
    assert data.x[:, 0].tolist() == list(range(n))
    assert data.place(n - 1).endswith(f"line {n + 1}")


# -- CSV: what is refused --------------------------------------------------------------------------------------------

BAD_CSV: dict[str, tuple[str | bytes, str]] = {
    "missing": ("a,b\n1,2\n,3\n", r"line 3, column 'a': the value is missing \(got ''\)\. Fill"),
    "NA": ("a,b\n1,2\nNA,3\n", "line 3, column 'a': the value is missing"),
    "NaN": ("a,b\nnan,2\n", "line 2, column 'a': the value is missing"),
    "infinite": ("a,b\n1,2\n1,2\ninf,3\n", "line 4, column 'a': expected a finite number; got 'inf'"),
    "text": ("a,b,c\n1,7,2\n1,red,2\n", "line 3, column 'b': features must be numbers; got 'red'.*--ignore 'b'"),
    "decimal comma": ("a;b\n1,5;2\n", "column 'a': features must be numbers; got '1,5'"),
    "no names": ("1,2\n3,x4\n5,6\nx,7\n", "line 4, column '0'"),
    "missing target": ("a,b\n1,2\n2,\n", "line 3, column 'b': the target is missing"),
    "too long": ("a,b\n1,2,3\n", "line 2: expected 2 cells as in the first line; got 3"),
    "too short": ("a,b,c\n1,2,3\n1,2\n", "line 3: expected 3 cells as in the first line; got 2"),
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "only names": ("a,b\n", "names in its first line but no rows"),
    "one column": ("a\n1\n2\n", "at least one column besides the target"),
    "the same name twice": ("a,b,a\n1,2,3\n", "two columns 'a'"),
    "open quote": ('a,b\n1,"2\n', "is not CSV as expected.*quote"),
    "binary": (b"\x00\xff\xfe\x80" * 10, "must be CSV text in UTF-8"),
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_csv_that_cannot_be_used_is_refused_with_its_place(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, text))


BAD_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "a slip": (
        ("prise",),
        (),
        "--target expects a column 'prise' in .*; it has 'size', 'price'. Did you mean 'price'?",
    ),
    "unknown": (("x",), (), "it has 'size', 'price'[.](\\n|$)"),
    "beyond": (("2",), (), "expects a column '2'"),
    "beyond the start": (("-3",), (), "expects a column '-3'"),
    "unknown to ignore": ((), ("x",), "--ignore expects a column 'x'"),
    "target ignored": (("price",), ("price",), "--ignore leaves out the target 'price'"),
    "nothing left": (("price",), ("size",), "at least one column besides the target"),
}


@pytest.mark.parametrize(("target", "ignore", "message"), BAD_COLUMNS.values(), ids=BAD_COLUMNS.keys())
def test_a_column_that_is_not_there_is_named(
    target: tuple[str, ...], ignore: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, "size,price\n1,2\n3,4\n"), target, ignore)


# -- data for a model that knows its columns -------------------------------------------------------------------------

KNOWN: dict[str, tuple[str, tuple[str, ...] | None, list[float]]] = {
    "another order": ("b,a\n2,1\n", ("a", "b"), [1, 2]),
    "more columns": ("z,b,t,a\n9,2,text,1\n", ("a", "b"), [1, 2]),
    "no names in the file": ("1,2\n3,4\n", ("a", "b"), [1, 2]),
    "no names in training": ("p,q\n1,2\n", ("0", "1"), [1, 2]),
    "no names, the target among them": ("1,9,2\n3,9,4\n", ("0", "2"), [1, 2]),
    "positions without the target": ("1,2\n3,4\n", ("1", "2"), [1, 2]),
    "no columns known": ("p,q\n1,2\n", None, [1, 2]),
}


@pytest.mark.parametrize(("text", "features", "row"), KNOWN.values(), ids=KNOWN.keys())
def test_a_model_finds_its_columns(
    text: str, features: tuple[str, ...] | None, row: list[float], tmp_path: Path
) -> None:
    data = read_known(write(tmp_path, text), features)
    assert data.x[0].tolist() == row
    assert data.y is None


def test_a_column_that_a_model_misses_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"The model expects a column 'age' in .*; it has 'size', 'ages'. Did you mean 'ag"
    ):
        read_known(write(tmp_path, "size,ages\n1,2\n"), ("size", "age"))
    with pytest.raises(ValueError, match=r"it has 'size', 'target'\.$"):  # Which is not like it.
        read_known(write(tmp_path, "size,target\n1,2\n"), ("size", "age"))


def test_names_are_asked_for_where_positions_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has 3 columns and no header. Give positions from 0, or the names"):
        read_known(write(tmp_path, "1,2,3\n4,5,6\n"), ("a", "b"))


def test_targets_are_found_by_their_name_or_where_one_says(tmp_path: Path) -> None:
    path = write(tmp_path, "t,a,u\n7,1,8\n9,2,10\n")
    for target, expected in (((), ["7", "9"]), (("u",), ["8", "10"])):
        data = read_known(path, ("a",), ("t",), with_targets=True, target=target)
        assert data.y is not None
        assert data.y.tolist() == expected
