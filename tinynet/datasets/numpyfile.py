"""NPY and NPZ files: one table, or arrays by name. Nothing is unpickled."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.arrays import as_real_array, check_finite
from tinynet.datasets.files import opened
from tinynet.datasets.tables import Choose, Dataset, Header

PAIRS = (("x", "y"), ("X", "y"), ("X", "Y"), ("data", "target"), ("x_train", "y_train"))
"""Names under which features and targets are looked for in an NPZ file."""

TEST_PAIR = ("x_test", "y_test")

UNREADABLE = (
    ValueError,
    EOFError,
    OSError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy raises of a file that is damaged or no file of arrays: a forged shape asks for all memory, a torn archive
for a place before the file's start, and a header is parsed as Python is."""


def read_npy(path: str | os.PathLike[str], choose: Choose) -> Dataset:
    """Read a table from an NPY file; its columns are known by their positions."""
    loaded = _load(path)
    source = repr(os.fspath(path))
    if not isinstance(loaded, np.ndarray):
        raise ValueError(f"{source} holds several arrays. Give it a name that ends in .npz.")
    table = _rows(loaded, source)
    columns = choose(Header(tuple(str(i) for i in range(table.shape[1])), False, source))
    features = table.copy() if columns.targets else table
    features[:, columns.targets] = 0  # Whether targets may be missing, their readers know.
    check_finite(features, source)
    y = table[:, columns.targets] if columns.targets else None
    return Dataset(
        table[:, columns.features],
        y[:, 0] if y is not None and y.shape[1] == 1 else y,
        features=tuple(str(place) for place in columns.features),
        targets=tuple(str(place) for place in columns.targets),
        source=source,
        named=False,
    )


def read_npz(
    path: str | os.PathLike[str], target: Sequence[str] = (), *, with_targets: bool = True
) -> tuple[Dataset, Dataset | None]:
    """Read features and targets from an NPZ file, and its test set if it has one.

    Parameters
    ----------
    path : path
        Arrays ``x`` and ``y``, or another pair of ``PAIRS``; ``x_test`` and ``y_test`` are a test set.
    target : sequence of str
        The name of the array of targets, where it is not the usual one.
    with_targets : bool
        Whether targets are needed.
    """
    source = repr(os.fspath(path))
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        raise ValueError(f"{source} holds a single array without a name. Give it a name that ends in .npy.")
    if with_targets:
        x_name, y_name = _pair(arrays, tuple(target), source)
    else:
        x_name, y_name = _only_features(arrays, source), ""
    data = _dataset(arrays, x_name, y_name, source)
    x_test, y_test = TEST_PAIR
    if x_test in arrays and x_name == "x_train" and (y_test in arrays or not with_targets):
        return data, _dataset(arrays, x_test, y_test if with_targets else "", source)
    return data, None


def _load(path: str | os.PathLike[str]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    source = repr(os.fspath(path))
    with opened(path) as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            if len(set(loaded.files)) < len(loaded.files):
                raise ValueError("it has two arrays of one name")
            return {name: loaded[name] for name in loaded.files}
        except UNREADABLE as error:
            raise ValueError(
                f"{source} cannot be read as arrays of numbers: {error}. Objects are never unpickled; "
                "save plain arrays with numpy.save or numpy.savez."
            ) from error


def _pair(arrays: dict[str, NDArray[Any]], target: tuple[str, ...], source: str) -> tuple[str, str]:
    """Return the names of the features and the targets."""
    listing = ", ".join(arrays) or "none"
    if not target:
        for pair in PAIRS:
            if set(pair) <= set(arrays):
                return pair
        raise ValueError(
            f"{source} must hold arrays x and y; it holds {listing}. Name the targets with --target; the features "
            "are x, or the only other array."
        )
    if len(target) > 1 or target[0] not in arrays:
        raise ValueError(f"--target expects the name of an array in {source}: {listing}; got {', '.join(target)}.")
    features = [x for x, _ in PAIRS if x in arrays and x != target[0]] or [name for name in arrays if name != target[0]]
    if not features or (len(features) > 1 and features[0] not in dict(PAIRS)):
        raise ValueError(
            f"{source} must hold the features as x, or as the only array besides the target; has {listing}."
        )
    return features[0], target[0]


def _only_features(arrays: dict[str, NDArray[Any]], source: str) -> str:
    usual = [x for x, _ in PAIRS if x in arrays]
    if usual or len(arrays) == 1:
        return usual[0] if usual else next(iter(arrays))
    raise ValueError(f"{source} must hold the features as x; it holds {', '.join(arrays) or 'nothing'}.")


def _dataset(arrays: dict[str, NDArray[Any]], x_name: str, y_name: str, source: str) -> Dataset:
    x = _samples(arrays[x_name], f"{source}, array {x_name!r},")
    if not y_name:
        return Dataset(x, None, None, (), source)
    y = _targets(arrays[y_name], f"{source}, array {y_name!r},")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise ValueError(
            f"{source}: {y_name} must have one row for each of the {len(x)} of {x_name}; its shape is {y.shape}."
        )
    names = (y_name,) if y.ndim == 1 else tuple(f"{y_name}{i}" for i in range(y.shape[1]))
    return Dataset(x, y, None, names, source)


def _targets(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return real numbers, or texts."""
    return array.astype(np.str_) if array.dtype.kind in "SU" else as_real_array(array, name)


def _samples(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return real, finite numbers, a row for each sample: images become rows."""
    table = _rows(array, name)
    check_finite(table, name)
    return table


def _rows(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return real numbers, a row for each sample."""
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} must hold at least one sample; its shape is {array.shape}.")
    return as_real_array(array, name).reshape(len(array), -1)
