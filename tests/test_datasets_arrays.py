"""NPY, NPZ and IDX files: what is read, and what is refused."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import write

from tinynet.datasets import read, read_known
from tinynet.datasets.idx import TYPES, read_idx

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


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.eye(3), y=np.arange(3))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("y.npy", archive.read("y.npy"))
    with pytest.raises(ValueError, match="two arrays of one name"):
        read(path)
