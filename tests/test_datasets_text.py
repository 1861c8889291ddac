"""Text tables: their layouts, and which of their lines and columns have names."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dataset_files import write

from tinynet.datasets import read, read_known
from tinynet.datasets.targets import encode

# -- names -----------------------------------------------------------------------------------------------------------

ROWS = ["58.5,59.5,60.5", "57.25,60.5,61.5", "56.5,59.5,62.5"]
WHOLE = ["58,59,63", "57,60,65", "56,59,60"]

NUMBERS_AS_NAMES: dict[str, tuple[str, list[str]]] = {
    "years": ("1990,1991,1992", ROWS),
    "years over whole numbers": ("1990,1991,1992", WHOLE),
    "years with gaps, falling": ("2010,2005,1990", WHOLE),
    "positions": ("0,1,2", ROWS),
    "years and a word": ("1990,2000,label", ["1.5,2.5,a", "2.5,3.5,b", "3.5,4.5,a"]),
    "a word above words and years": ("country,1990,2000", ["1,FR,2", "2,DE,3", "3,IT,4"]),
    "positions of many whole numbers": ("0,1,2,3,4", ["5,3,0,1,2", "5,3,1,1,9", "2,2,2,2,1"]),
}


@pytest.mark.parametrize(("first", "rows"), NUMBERS_AS_NAMES.values(), ids=NUMBERS_AS_NAMES.keys())
def test_numbers_that_are_names_are_recognised(first: str, rows: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join([first, *rows]))
    names = first.split(",")
    ignore = [
        name for name, cell in zip(names, rows[0].split(","), strict=True) if cell.isalpha() and name != names[-1]
    ]
    data, _ = read(path, ignore=ignore)
    assert len(data) == len(rows)
    assert (*data.features, *data.targets) == tuple(name for name in names if name not in ignore)  # type: ignore[misc]


NO_NAMES = {
    "a truth table": ["0,0,0", "0,1,1", "1,0,1", "1,1,0"],
    "a ramp": ["1,2,3", "2,3,4", "3,4,5"],
    "a line": ["0,1", "0.5,1.5", "1,2"],
    "years as data": ["1990,1991,3", "1992,1993,4", "1994,1990,5"],
    "ids": ["1,2,a", "3,5,b", "2,4,a"],
    "measurements": ["5.1,3.5", "4.9,3", "4,3.1"],
    "one label of each kind": ["5.1,6.5,a", "4.9,3.2,b", "4.5,3.1,c"],
    "labels that repeat": ["1,2,a", "5,7,a", "2,1,b"],
}


@pytest.mark.parametrize("rows", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_numbers_that_are_data_are_no_names(rows: list[str], tmp_path: Path) -> None:
    data, _ = read(write(tmp_path, "\n".join(rows)))
    assert len(data) == len(rows)
    assert data.features == tuple(str(i) for i in range(len(rows[0].split(",")) - 1))


UNCLEAR = {
    "years above one row": ["1990,1991", "58,59"],
    "positions of few whole numbers": ["0,1,2", "5,3,0", "5,3,1", "2,2,2"],
    "wavelengths": ["400,402.5,405,407.5", "5,3,0,1", "5,3,1,1", "2,2,2,2"],
}


@pytest.mark.parametrize("rows", UNCLEAR.values(), ids=UNCLEAR.keys())
def test_what_may_be_names_or_data_is_asked_for(rows: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(rows))
    names = rows[0].split(",")
    with pytest.raises(ValueError, match=rf"it may hold either \({rows[0].replace(',', ', ')}\).*--header yes"):
        read(path)
    data, _ = read(path, header=True)
    assert (data.features, data.targets, len(data)) == (tuple(names[:-1]), (names[-1],), len(rows) - 1)
    data, _ = read(path, header=False)
    assert data.features == tuple(map(str, range(len(names) - 1)))
    assert data.x[0].tolist() == [float(name) for name in names[:-1]]


def test_a_model_finds_names_that_are_numbers(tmp_path: Path) -> None:
    turned = write(tmp_path, "1991,1990\n2.5,1.5\n")
    assert read_known(turned, ("1990", "1991"), named=True).x.tolist() == [[1.5, 2.5]]
    plain = write(tmp_path, "2.5,1.5\n3.5,4.5\n")
    assert read_known(plain, ("1990", "1991"), named=True).x.tolist() == [[2.5, 1.5], [3.5, 4.5]]
    other = write(tmp_path, "a,b,c\n1,2,3\n")
    with pytest.raises(ValueError, match=r"The model expects a column '1' in .*; it has 'a', 'b', 'c'"):
        read_known(other, ("1", "2"), named=True)


def test_a_model_without_names_takes_the_first_line_as_data_unless_it_is_words(tmp_path: Path) -> None:
    assert len(read_known(write(tmp_path, "0,1,2\n7,5,1\n"), ("0", "1", "2"), named=False)) == 2
    turned = write(tmp_path, "2,1,0\n7.5,5.5,1.5\n7.5,5.5,1.5\n7.5,5.5,1.5\n")
    assert read_known(turned, ("0", "1", "2"), named=False, header=True).x[0].tolist() == [7.5, 5.5, 1.5]


# -- columns without a name ------------------------------------------------------------------------------------------


def test_an_index_without_a_name_is_no_feature(tmp_path: Path) -> None:
    path = write(tmp_path, pd.DataFrame({"a": [1.5, 2.5], "b": [3.5, 4.5], "y": [5.5, 6.5]}).to_csv())
    with pytest.raises(
        ValueError, match=r"line 2: expected nothing in column 0, which has no name; got '0'.*--ignore 0"
    ):
        read(path)
    for ignore in (0, "0", [0]):
        data, _ = read(path, ignore=ignore)
        assert (data.features, data.x.tolist()) == (("a", "b"), [[1.5, 3.5], [2.5, 4.5]])
    assert read_known(path, ("b", "a")).x.tolist() == [[3.5, 1.5], [4.5, 2.5]]
    with pytest.raises(ValueError, match="--target expects a column that has a name; column 0"):
        read(path, target=0)


TRAILING = {
    "all lines": "a,b,\n1,2,\n3,4,\n",
    "rows": "a,b\n1,2,\n3,4,,\n",
    "the first line": "a,b,,\n1,2\n3,4\n",
    "no names": "1,2,\n3,4,\n",
    "lines above": ",,\na,b,\n1,2,\n3,4,\n",
}


@pytest.mark.parametrize("text", TRAILING.values(), ids=TRAILING.keys())
def test_separators_at_the_ends_of_lines_are_no_columns(text: str, tmp_path: Path) -> None:
    data, _ = read(write(tmp_path, text))
    assert data.x.tolist() == [[1.0], [3.0]]
    assert encode(data, None).tolist() == [[2.0], [4.0]]
    assert read(write(tmp_path, text), target=-1)[0].targets == data.targets


@pytest.mark.parametrize("text", ["a,b,\n1,2,\n3,4,5\n", "1,2,\n3,4,\n5,6,7\n"])
def test_a_value_below_no_name_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 3: expected nothing in column 2, which is empty in the first line; got"):
        read(write(tmp_path, text))


# -- layouts ---------------------------------------------------------------------------------------------------------

LAYOUTS: dict[str, str | bytes] = {
    "gzip": gzip.compress(b"u,v\n1,2.5\n-3,400\n"),
    "a comment": "# made by hand\nu,v\n1,2.5\n-3,400\n",
    "comments with commas": "# made by hand, twice\n#\n\nu,v\n1,2.5\n-3,400\n",
    "names of savetxt": "# u,v\n1,2.5\n-3,400\n",
    "names behind a hash": "#u\tv\n1\t2.5\n-3\t400\n",
    "a separator told": "sep=|\r\nu|v\r\n1|2.5\r\n-3|400\r\n",
    "spaces": "u v\n1 2.5\n-3 400\n",
    "spaces that align": "  u      v\n  1    2.5  \n -3  400.0\n",
    "UTF-16": "u\tv\n1\t2.5\n-3\t400\n".encode("utf-16"),
    "old line ends": "u,v\r1,2.5\r-3,400\r",
    "quotes and white space": '"u" ,v\n'.replace(" ,", ",") + '"1", "2.5"\n  -3 ,"400 "\n',
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_that_are_common(text: str | bytes, tmp_path: Path) -> None:
    for name in ("data.csv", "data.csv.gz", "data.txt"):
        data, _ = read(write(tmp_path, text, name))
        assert (data.features, data.targets) == (("u",), ("v",))
        assert data.x.tolist() == [[1.0], [-3.0]]
        assert encode(data, None).tolist() == [[2.5], [400.0]]


def test_the_separator_is_what_makes_all_lines_alike(tmp_path: Path) -> None:
    data, _ = read(write(tmp_path, "size; in m,price; net\n1,2\n3,4\n"))
    assert (data.features, data.targets) == (("size; in m",), ("price; net",))
    data, _ = read(write(tmp_path, "1,5 2,5\n-1 3\n"), decimal=",")
    assert data.x.tolist() == [[1.5], [-1.0]]
    assert read_known(write(tmp_path, "size in m\n1\n2\n"), ("size in m",)).x.tolist() == [[1.0], [2.0]]


def test_lines_are_counted_with_all_that_stands_above(tmp_path: Path) -> None:
    for above, line in (("", 3), ("# c\n\n# d\n", 6), ("sep=,\n", 4), ("", 3)):
        with pytest.raises(ValueError, match=f"line {line}, column 'a': features must be numbers; got 'x'"):
            read(write(tmp_path, f"{above}a,b\n1,2\nx,3\n"))
    with pytest.raises(ValueError, match="line 4, column 'a'"):
        read(write(tmp_path, "# c\n# a,b\n1,2\nx,3\n"))


BAD_LAYOUTS: dict[str, tuple[str | bytes, str]] = {
    "row names": ("a,b\nr1,1,2\nr2,3,4\n", "line 2: expected 2 cells.*got 3.*row names need a name"),
    "a comment below": ("a,b\n1,2\n# end\n", "line 3: expected 2 cells.*Comments may stand above"),
    "truncated gzip": (gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 99)[:-9], "truncated or corrupt"),
    "damaged gzip": (gzip.compress(b"a,b\n1,2\n")[:-8] + b"\1" * 8, "truncated or corrupt"),
    "a workbook": (b"PK\x03\x04...", "it is a ZIP archive or a workbook. Unpack it, or save the sheet as CSV"),
    "Parquet": (b"PAR1...", "it is a Parquet file. Give it a name that ends in .parquet"),
    "bzip2": (b"BZh9...", "compressed by bzip2. Unpack it"),
    "Latin-1": ("gr\u00f6\u00dfe,b\n1,2\n".encode("latin-1"), "CSV text in UTF-8; it is not"),
    "a missing value in a single column": ('a\n1\n""\n', "line 3, column 'a': the value is missing"),
    "a name twice": ("a, a\n1,2\n", "two columns 'a'"),
    "a long cell": ("a,b\n" + "1" * 400 + ",2\n", r"expected a finite number; got '1{40}\.\.\.'"),
}


@pytest.mark.parametrize(("text", "message"), BAD_LAYOUTS.values(), ids=BAD_LAYOUTS.keys())
def test_layouts_that_cannot_be_read_are_named(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_known(write(tmp_path, text), ("a",))


@pytest.mark.parametrize("seed", range(30))
def test_what_pandas_writes_is_read(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 200))
    frame = pd.DataFrame(rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-9, 9), columns=["x 1", "x;2", "x,3"])
    if rng.random() < 0.3:
        frame.columns = [str(year) for year in range(1990, 1993)]
    if rng.random() < 0.5:
        frame["flag"] = rng.random(n) < 0.5
    words = ["NA", "00501", "a \u00e4", 'b"', "c,d;e", "-"]
    frame["label"] = pd.Series(np.array(words)[rng.integers(0, len(words), n)], dtype="object")
    decimal, index = ".,"[rng.integers(2)], bool(rng.random() < 0.3)
    options = {
        "sep": "\t;"[rng.integers(2)] if decimal == "," or rng.random() < 0.5 else ",",
        "decimal": decimal,
        "index": index,
        "lineterminator": ["\n", "\r\n"][rng.integers(2)],
        "quoting": [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC][rng.integers(3)],
        "encoding": ["utf-8", "utf-8-sig", "utf-16"][rng.integers(3)],
    }
    path = tmp_path / ["d.csv", "d.csv.gz"][rng.integers(2)]
    frame.to_csv(path, **options)
    data, _ = read(path, ignore=[0] if index else (), decimal=decimal)
    assert data.features == tuple(frame.columns[:-1]), options
    np.testing.assert_array_equal(data.x, frame.iloc[:, :-1].to_numpy(np.float64))
    assert data.y is not None
    assert data.y.tolist() == frame["label"].tolist()
    known = read_known(path, data.features[::-1], ("label",), with_targets=True, decimal=decimal, named=True)
    np.testing.assert_array_equal(known.x, data.x[:, ::-1])
