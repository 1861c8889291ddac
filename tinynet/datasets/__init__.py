"""Data sets: what lies in a file, and the notebook's sine problem.

A CSV, NPY or NPZ file, or a folder of IDX files (MNIST and its kin), becomes a ``Dataset``: features that are numbers,
and targets that are numbers or labels. ``tinynet.datasets.targets`` turns those into what a network learns.

>>> data = sine(1000, seed=0)
>>> data.x.shape, data.y.shape
((1000, 4), (1000, 3))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tinynet.datasets.csvfile import read_csv
from tinynet.datasets.idx import is_idx_name, read_idx_file, read_idx_folder
from tinynet.datasets.numpyfile import read_npy, read_npz
from tinynet.datasets.tables import Choose, Dataset, all_columns, known_columns, split_columns

__all__ = ["Dataset", "read", "read_known", "sine"]


def read(
    path: str | os.PathLike[str], target: Sequence[str] = (), ignore: Sequence[str] = ()
) -> tuple[Dataset, Dataset | None]:
    r"""Read data to train on.

    Parameters
    ----------
    path : path
        A CSV, NPY or NPZ file, or a folder of IDX files. Anything that does not end in ``.npy`` or ``.npz`` is read as
        CSV.
    target : sequence of str
        Names or positions of the target columns (the last one by default); in an NPZ file, the name of the array.
    ignore : sequence of str
        Columns that are neither features nor targets.

    Returns
    -------
    data, test : Dataset, Dataset or None
        ``test`` where the source has a test set of its own.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it does not hold what it should; the message names the line and the column.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "iris.csv")
    ...     _ = path.write_text("length,width,species\n5.1,3.5,setosa\n6.4,3.2,versicolor\n")
    ...     data, _ = read(path)
    >>> data.features, data.y.tolist()
    (('length', 'width'), ['setosa', 'versicolor'])
    """
    if Path(path).is_dir():
        return read_idx_folder(path)
    if Path(path).suffix == ".npz":
        return read_npz(path, target)
    return _read_table(path, partial(split_columns, target=tuple(target), ignore=tuple(ignore))), None


def read_known(
    path: str | os.PathLike[str],
    features: Sequence[str] | None,
    targets: Sequence[str] = (),
    *,
    with_targets: bool = False,
    target: Sequence[str] = (),
) -> Dataset:
    """Read data for a model that knows its columns: by name where the file has names, else by position.

    Parameters
    ----------
    path : path
        As for ``read``; of a source with a test set of its own, the test set.
    features : sequence of str or None
        The columns that the model was trained on; None if they had no names: then all that are not targets.
    targets : sequence of str
        The target columns that it was trained on.
    with_targets : bool
        Whether targets are needed; columns that are not needed are not looked at.
    target : sequence of str
        Where the targets stand in this file, if not in ``targets``.
    """
    if Path(path).is_dir():
        data, test = read_idx_folder(path)
        return test or data
    if is_idx_name(path) and not with_targets:
        return read_idx_file(path)
    if Path(path).suffix == ".npz":
        data, test = read_npz(path, target, with_targets=with_targets)
        return test or data
    if features is not None:
        wanted = tuple(target or targets) if with_targets else ()
        return _read_table(path, partial(known_columns, features=tuple(features), targets=wanted))
    return _read_table(path, partial(split_columns, target=tuple(target)) if with_targets else all_columns)


def _read_table(path: str | os.PathLike[str], choose: Choose) -> Dataset:
    return read_npy(path, choose) if Path(path).suffix == ".npy" else read_csv(path, choose)


def sine(n_samples: int = 1000, seed: int | None = 0) -> Dataset:
    """Return the notebook's problem: three sines of four numbers that are uniform in [0, 6).

    Examples
    --------
    >>> data = sine(2)
    >>> bool(np.isclose(data.y[1, 2], np.sin(data.x[1, 1] + data.x[1, 3])))
    True
    """
    x = np.random.default_rng(seed).uniform(0, 6, (n_samples, 4))
    y = np.column_stack([np.sin(x.sum(axis=1)), np.sin(6 * x[:, 1]), np.sin(x[:, 1] + x[:, 3])])
    return Dataset(
        x,
        y,
        features=("x0", "x1", "x2", "x3"),
        targets=("sin(x0 + x1 + x2 + x3)", "sin(6 x1)", "sin(x1 + x3)"),
        source="the sine problem",
    )
