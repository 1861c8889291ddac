"""Reading data: what a file holds comes out, and what it should not hold is named with its place."""

from __future__ import annotations

import csv
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.datasets import Dataset, read, read_known, sine
from tinynet.datasets.csvfile import BLOCK_ROWS
from tinynet.datasets.idx import TYPES, read_idx
from tinynet.datasets.targets import encode, find_task


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# -- the sine problem ------------------------------------------------------------------------------------------------


def test_the_sine_problem_is_the_notebooks() -> None:
    data = sine(1000, seed=3)
    assert data.y is not None
    assert data.x.shape == (1000, 4)
    assert data.x.min() >= 0
    assert data.x.max() < 6
    for x, y in zip(data.x.tolist(), data.y.tolist(), strict=True):
        assert y == pytest.approx([np.sin(x[0] + x[1] + x[2] + x[3]), np.sin(6 * x[1]), np.sin(x[1] + x[3])])


def test_the_sine_problem_follows_its_seed() -> None:
    assert sine(9, seed=1).x.tobytes() == sine(9, seed=1).x.tobytes() != sine(9, seed=2).x.tobytes()


# -- CSV: what is read -----------------------------------------------------------------------------------------------

ROWS = [["1", "2.5", "a"], ["-3", "4e2", "b"], ["5", "6", "a"]]
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
    "text": ("a,b,c\n1,red,2\n", "line 2, column 'b': features must be numbers; got 'red'.*--ignore 'b'"),
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
    "unknown": (("x",), (), "it has 'size', 'price'.$"),
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


def test_names_are_asked_for_where_positions_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has 3 columns and no header. Give positions from 0, or the names"):
        read_known(write(tmp_path, "1,2,3\n4,5,6\n"), ("a", "b"))


def test_targets_are_found_by_their_name_or_where_one_says(tmp_path: Path) -> None:
    path = write(tmp_path, "t,a,u\n7,1,8\n9,2,10\n")
    for target, expected in (((), ["7", "9"]), (("u",), ["8", "10"])):
        data = read_known(path, ("a",), ("t",), with_targets=True, target=target)
        assert data.y is not None
        assert data.y.tolist() == expected


# -- NPY and NPZ -----------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.arange(6.0)


def test_an_npy_table_is_read_as_csv_without_names(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", X)
    data, _ = read(tmp_path / "t.npy", ("0",))
    assert data.y is not None
    assert (data.features, data.targets) == (("1", "2"), ("0",))
    assert data.x.tobytes() == X[:, 1:].tobytes()
    assert data.y.tobytes() == X[:, 0].tobytes()


NPZ: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "x and y": ({"x": X, "y": Y}, (), "y"),
    "X and y": ({"X": X, "y": Y}, (), "y"),
    "data and target": ({"data": X, "target": Y}, (), "target"),
    "a column": ({"x": X, "y": Y[:, None]}, (), "y"),
    "a named target": ({"x": X, "y": -Y, "other": Y}, ("other",), "other"),
    "a named target, features by exclusion": ({"inputs": X, "outputs": Y}, ("outputs",), "outputs"),
}


@pytest.mark.parametrize(("arrays", "target", "name"), NPZ.values(), ids=NPZ.keys())
def test_npz_arrays_are_found(arrays: dict[str, Any], target: tuple[str, ...], name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    data, test = read(tmp_path / "d.npz", target)
    assert data.y is not None
    assert (data.features, data.targets, test) == (None, (name,), None)
    assert data.x.tobytes() == X.tobytes()
    assert data.y.tobytes() == Y.tobytes()


def test_npz_images_become_rows_and_a_test_set_is_found(tmp_path: Path) -> None:
    images = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    np.savez(tmp_path / "m.npz", x_train=images, y_train=[1, 0], x_test=images[:1] + 1, y_test=[0])
    data, test = read(tmp_path / "m.npz")
    assert data.x.tolist() == images.reshape(2, 6).tolist()
    assert test is not None
    assert test.x.tolist() == (images[:1] + 1).reshape(1, 6).tolist()
    assert read_known(tmp_path / "m.npz", None).x.tolist() == test.x.tolist()


BAD_NPZ: dict[str, tuple[dict[str, Any], tuple[str, ...], type[Exception], str]] = {
    "no y": ({"x": X}, (), ValueError, "must hold arrays x and y; it holds x. Name the targets with --target"),
    "no such target": ({"x": X, "y": Y}, ("z",), ValueError, "name of an array in .*: x, y; got z"),
    "several targets": ({"x": X, "y": Y}, ("x", "y"), ValueError, "got x, y"),
    "features unclear": ({"a": X, "b": X, "y": Y}, ("y",), ValueError, "features as x"),
    "lengths": ({"x": X, "y": Y[:5]}, (), ValueError, r"one row for each of the 6 of x; its shape is \(5,\)"),
    "3-D y": ({"x": X, "y": X.reshape(6, 3, 1)}, (), ValueError, r"its shape is \(6, 3, 1\)"),
    "NaN": (
        {"x": np.where(np.arange(18).reshape(6, 3) == 7, np.nan, X), "y": Y},
        (),
        ValueError,
        "got nan in row 2, column 1",
    ),
    "texts": ({"x": X.astype(str), "y": Y}, (), TypeError, "array 'x', must hold real numbers; got strings"),
    "complex": ({"x": X + 1j, "y": Y}, (), TypeError, "complex"),
    "a scalar": ({"x": np.float64(1), "y": Y}, (), ValueError, "at least one sample"),
    "objects": ({"x": np.array([{}]), "y": Y}, (), ValueError, "never unpickled"),
}


@pytest.mark.parametrize(("arrays", "target", "error", "message"), BAD_NPZ.values(), ids=BAD_NPZ.keys())
def test_npz_that_cannot_be_used_is_refused(
    arrays: dict[str, Any], target: tuple[str, ...], error: type[Exception], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(error, match=message):
        read(tmp_path / "d.npz", target)


def no_table(folder: Path, name: str) -> Path:
    np.savez(folder / "whole.npz", x=X, y=Y)
    content = {
        "text": b"hello world",
        "empty": b"",
        "truncated": (folder / "whole.npz").read_bytes()[:300],
        "damaged": (folder / "whole.npz").read_bytes().replace(X.tobytes(), X[::-1].tobytes()),
    }
    return write(folder, content[name], "d.npz")


@pytest.mark.parametrize("name", ["text", "empty", "truncated", "damaged"])
def test_a_file_that_is_no_npz_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        read(no_table(tmp_path, name))


def test_npy_and_npz_are_told_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", X)
    np.savez(tmp_path / "t.npz", x=X)
    (tmp_path / "t.npy").rename(tmp_path / "a.npz")
    (tmp_path / "t.npz").rename(tmp_path / "b.npy")
    with pytest.raises(ValueError, match=r"ends in \.npy"):
        read(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        read(tmp_path / "b.npy")


# -- IDX -------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray, code: int) -> bytes:
    """Write an array as the format says, element by element."""
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    letter = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}[code]
    return head + b"".join(struct.pack(f">{letter}", value) for value in array.ravel().tolist())


@pytest.mark.parametrize("compress", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("code", TYPES)
def test_every_idx_type_is_read(code: int, compress: Any, tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 2).reshape(2, 3, 2)
    read_back = read_idx(write(tmp_path, compress(idx(array, code)), "f"))
    assert read_back.tolist() == array.tolist()
    assert read_back.dtype.isnative


IMAGES, LABELS = np.arange(24).reshape(4, 3, 2), np.array([0, 1, 2, 1])
GOOD_IDX = idx(IMAGES, 8)
BAD_IDX = {
    "truncated": (GOOD_IDX[:-1], r"shape \(4, 3, 2\) takes 40 bytes; got 39"),
    "too long": (GOOD_IDX + b"x", "takes 40 bytes; got 41"),
    "forged shape": (GOOD_IDX[:4] + b"\xff" * 12 + GOOD_IDX[16:], "truncated or corrupt"),
    "no sizes": (GOOD_IDX[:6], "truncated or corrupt"),
    "another magic": (b"\x01" + GOOD_IDX[1:], "must start as an IDX file"),
    "another type": (GOOD_IDX[:2] + b"\x07" + GOOD_IDX[3:], "must start as an IDX file"),
    "empty": (b"", "must start as an IDX file"),
    "truncated gzip": (gzip.compress(GOOD_IDX)[:-9], "truncated or corrupt"),
    "damaged gzip": (gzip.compress(GOOD_IDX)[:12] + b"\xff" * 20, "truncated or corrupt"),
}


@pytest.mark.parametrize(("data", "message"), BAD_IDX.values(), ids=BAD_IDX.keys())
def test_a_damaged_idx_file_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_idx(write(tmp_path, data, "f"))


def idx_folder(folder: Path, middle: str = "-", ending: str = "", sets: tuple[str, ...] = ("train", "t10k")) -> Path:
    pack = gzip.compress if ending else bytes
    for name in sets:
        write(folder, pack(idx(IMAGES, 8)), f"{name}-images{middle}idx3-ubyte{ending}")
        write(folder, pack(idx(LABELS, 8)), f"{name}-labels{middle}idx1-ubyte{ending}")
    return folder


@pytest.mark.parametrize("middle", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_of_idx_files_is_read_with_its_test_set(middle: str, ending: str, tmp_path: Path) -> None:
    for data in read(idx_folder(tmp_path, middle, ending)):
        assert data is not None
        assert data.y is not None
        assert data.x.tolist() == IMAGES.reshape(4, 6).tolist()
        assert data.y.tolist() == LABELS.tolist()
        assert data.labelled


def test_a_folder_without_a_test_set_has_none(tmp_path: Path) -> None:
    data, test = read(idx_folder(tmp_path, sets=("train",)))
    assert test is None
    assert len(read_known(tmp_path, None)) == len(data)


def test_images_are_read_from_a_single_file(tmp_path: Path) -> None:
    idx_folder(tmp_path)
    assert read_known(tmp_path / "t10k-images-idx3-ubyte", None).x.shape == (4, 6)
    with pytest.raises(ValueError, match="must hold images"):
        read_known(tmp_path / "t10k-labels-idx1-ubyte", None)


def test_a_folder_without_idx_files_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        read(tmp_path)


def test_images_and_labels_of_different_sets_are_refused(tmp_path: Path) -> None:
    idx_folder(tmp_path)
    write(tmp_path, idx(LABELS[:3], 8), "train-labels-idx1-ubyte")
    with pytest.raises(ValueError, match="a label for each of the 4 images"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["nothing.csv", "nothing.npy", "nothing.npz", "nothing"])
def test_a_file_that_is_not_there_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / name)


# -- targets ---------------------------------------------------------------------------------------------------------


def dataset(y: Any, **more: Any) -> Dataset:
    array = np.array(y)
    names = tuple(f"t{i}" for i in range(1 if array.ndim == 1 else array.shape[1]))
    return Dataset(np.zeros((len(array), 1)), array, None, names, "here", **more)


TASKS: dict[str, tuple[Dataset, str, tuple[Any, ...] | None]] = {
    "texts": (dataset(["b", "a", "b", "a"]), "auto", ("a", "b")),
    "few whole numbers": (dataset(["2", "1", "2.0", "1"]), "auto", (1, 2)),
    "whole floats": (dataset([2.0, 1.0, 2.0, 1.0]), "auto", (1, 2)),
    "negative classes": (dataset([-1, 1, -1, 1]), "auto", (-1, 1)),
    "truth values": (dataset([True, False, True, False]), "auto", (0, 1)),
    "fractions": (dataset([0.5, 1.0, 0.5, 1.0]), "auto", None),
    "whole numbers that do not repeat": (dataset([1, 2, 3, 4]), "auto", None),
    "many whole numbers": (dataset(np.arange(21).repeat(9)), "auto", None),
    "20 whole numbers": (dataset(np.arange(20).repeat(9)), "auto", tuple(range(20))),
    "several targets": (dataset([[0, 1], [1, 0], [0, 1], [1, 0]]), "auto", None),
    "labels of images": (dataset([3, 4], labelled=True), "auto", (3, 4)),
    "classes wanted": (dataset([1, 2, 3, 4]), "classification", (1, 2, 3, 4)),
    "numbers wanted": (dataset([1, 2, 1, 2]), "regression", None),
    "mostly texts": (dataset(["1", "a", "b", "a", "b"]), "auto", ("1", "a", "b")),
}


@pytest.mark.parametrize(("data", "wanted", "classes"), TASKS.values(), ids=TASKS.keys())
def test_targets_are_told_to_be_classes_or_numbers(data: Dataset, wanted: str, classes: Any) -> None:
    assert find_task(data, wanted).classes == classes


BAD_TASKS: dict[str, tuple[Dataset, str, str]] = {
    "a slip among numbers": (dataset(["1.5", "2,5", "3", "4"]), "auto", "row 1: the target is '2,5', but 75%"),
    "text for numbers": (dataset(["1", "x"]), "regression", "row 1: the target must be a number; got 'x'"),
    "texts in several": (dataset([["1", "a"], ["2", "b"]]), "auto", "row 0: the target must be a number; got '1, a'"),
    "several classes": (dataset([[1, 2], [1, 2]]), "classification", "expects one target; got 2"),
    "fractions": (dataset([0.0, 0.5]), "classification", "row 1: classes must be texts or whole numbers; got 0.5"),
    "one class": (dataset(["a", "a"]), "auto", "'t0' is always 'a'; expected at least two"),
    "names": (dataset([f"n{i}" for i in range(50)]), "auto", "50 different values in 50 rows; classes must repeat"),
    "NaN": (dataset([0.5, np.nan]), "auto", "row 1: the target must be finite"),
    "task": (dataset([0.5, 1.0]), "clustering", "--task must be one of"),
}


@pytest.mark.parametrize(("data", "wanted", "message"), BAD_TASKS.values(), ids=BAD_TASKS.keys())
def test_targets_that_do_not_do_are_refused(data: Dataset, wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_task(data, wanted)


@given(
    st.lists(st.sampled_from(["x", "yy", "z z", "\u00e4"]), min_size=1), st.permutations(["x", "yy", "z z", "\u00e4"])
)
def test_labels_are_encoded_as_their_place_among_the_classes(labels: list[str], classes: list[str]) -> None:
    assert encode(dataset(labels), tuple(classes)).tolist() == [classes.index(label) for label in labels]


@pytest.mark.parametrize("y", [["2", "7.0", "2"], [2, 7, 2], [2.0, 7.0, 2.0]])
def test_whole_numbers_are_encoded_however_they_are_written(y: Any) -> None:
    assert encode(dataset(y), (2, 7)).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("y", "classes"), [(["a", "c"], ("a", "b")), ([1, 5], (1, 2)), ([1, 0], (1, 2))])
def test_a_label_that_is_no_class_is_refused_with_its_place(y: Any, classes: Any) -> None:
    with pytest.raises(ValueError, match=f"here, row 1: {y[1]!r} is not one of the classes {classes[0]!r}"):
        encode(dataset(y), classes)
