"""IDX files: the format of MNIST and its kin, plain or gzipped.

A file is the bytes 0, 0, a type and the number of axes; the length of each axis as a big-endian 32-bit number; and the
elements, big-endian, the last axis fastest (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.datasets.files import opened
from tinynet.datasets.tables import Dataset

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Element types by their code."""

TRAIN, TEST = ("train",), ("t10k", "test")
"""What the names of the files of a training set and a test set start with."""


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array in an IDX file, in the byte order of this machine.

    Raises
    ------
    ValueError
        If the file is not IDX, or truncated.
    """
    name = repr(os.fspath(path))
    with opened(path) as file:
        data = file.read()
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        raise ValueError(f"{name} must start as an IDX file: 0, 0, a type and the number of axes; got {data[:4]!r}.")
    dtype, n_axes = np.dtype(TYPES[data[2]]), data[3]
    start = 4 + 4 * n_axes
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    size = dtype.itemsize
    for n in shape:
        size *= n
    if len(data) != start + size:
        raise ValueError(
            f"{name} is truncated or corrupt: its shape {shape} takes {start + size:,} bytes; got {len(data):,}. "
            "Get another copy."
        )
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def is_idx_name(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is named as IDX files are, for instance ``t10k-images-idx3-ubyte.gz``."""
    return Path(path).name.removesuffix(".gz").endswith(("idx3-ubyte", "idx1-ubyte"))


def read_idx_file(path: str | os.PathLike[str]) -> Dataset:
    """Read images without labels."""
    images = read_idx(path)
    if images.ndim < 2 or images.size == 0:
        raise ValueError(f"{os.fspath(path)!r} must hold images; its shape is {images.shape}.")
    return Dataset(images.reshape(len(images), -1), None, None, (), repr(os.fspath(path)))


def read_idx_folder(folder: str | os.PathLike[str]) -> tuple[Dataset, Dataset | None]:
    """Read a training set, and the test set if it is there, from a folder with the usual names."""
    data = _read_set(Path(folder), TRAIN)
    if data is None:
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} must hold IDX files: train-images-idx3-ubyte and train-labels-idx1-ubyte, with or "
            "without .gz; they are not there. For other data give a CSV, NPY or NPZ file."
        )
    return data, _read_set(Path(folder), TEST)


def _read_set(folder: Path, prefixes: tuple[str, ...]) -> Dataset | None:
    images_path, labels_path = (_find(folder, prefixes, kind) for kind in ("images-idx3", "labels-idx1"))
    if images_path is None or labels_path is None:
        return None
    images, labels = read_idx_file(images_path), read_idx(labels_path)
    if labels.shape != (len(images),):
        raise ValueError(
            f"{os.fspath(labels_path)!r} must hold a label for each of the {len(images):,} images; its shape is "
            f"{labels.shape}. Get the two files of one set."
        )
    return Dataset(images.x, labels, None, ("label",), repr(os.fspath(folder)), labelled=True)


def _find(folder: Path, prefixes: tuple[str, ...], kind: str) -> Path | None:
    """Return the first that exists of the names in use: the dash before "idx" is a dot in some copies."""
    kinds = (kind, kind.replace("-", "."))
    for prefix, middle, ending in product(prefixes, kinds, ("", ".gz")):
        path = folder / f"{prefix}-{middle}-ubyte{ending}"
        if path.is_file():
            return path
    return None
