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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.base.checks import member, whole
from tinynet.datasets.csvfile import Progress
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.encoding import POLICIES, Missing
from tinynet.datasets.files import suffix_of
from tinynet.datasets.idx import is_idx_name, read_idx_file, read_idx_folder
from tinynet.datasets.numpyfile import read_npy, read_npz
from tinynet.datasets.options import with_arguments_named
from tinynet.datasets.parsing import Wanted
from tinynet.datasets.sources import Names, names_of, read_table
from tinynet.datasets.table import MOST_LEVELS, Table
from tinynet.datasets.tables import Dataset, all_columns, are_positions, known_columns, split_columns

__all__ = ["Dataset", "read", "read_known", "sine"]


@with_arguments_named
def read(
    path: str | os.PathLike[str],
    target: Names = (),
    ignore: Names = (),
    *,
    decimal: str = ".",
    header: bool | None = None,
    missing_words: str | Sequence[str] = (),
    missing: Missing = "error",
    missing_targets: str = "error",
    categorical: Names = (),
    most_levels: int = MOST_LEVELS,
    progress: Progress | None = None,
) -> tuple[Dataset, Dataset | None]:
    r"""Read data to train on.

    Parameters
    ----------
    path : path
        A CSV, Parquet, NPY or NPZ file, gzipped or not, ``"-"`` for standard input, or a folder of IDX files. What does
        not end in ``.npy``, ``.npz`` or ``.parquet`` is read as CSV: separated by commas, semicolons, tabs or spaces,
        with names in the first line or none.
    target : str, int, or sequence of them
        Names or positions of the target columns (the last one by default); in an NPZ file, the name of the array.
    ignore : str, int, or sequence of them
        Columns that are neither features nor targets.
    decimal : {".", ","}
        The decimal mark in a CSV file.
    header : bool, optional
        Whether the first line of a CSV file holds names, which may be numbers, as years are. By default it is found
        out; where it cannot be, that is an error.
    missing_words : str or sequence of str
        Words that stand for a missing value in any column of a CSV file, for instance ``("NA", "-999")``. An empty cell
        is always missing, and so are ``NA``, ``-``, ``?``, ``nan``, ``null`` and ``none`` where numbers or dates are
        expected; among words they are words.
    missing, categorical, most_levels
        As for ``Table.fit``.
    missing_targets : {"error", "ignore"}
        "ignore": targets that are numbers may be missing.
    progress : callable, optional
        Is told now and then how many rows of a CSV file are read.

    Returns
    -------
    data, test : Dataset, Dataset or None
        ``test`` where the source has a test set of its own. Columns of true and false are 1 and 0; where columns hold
        words, dates or gaps, ``data.table.columns`` names those of ``data.x``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it does not hold what it should, a value is missing, or an argument does not apply to such a file; the
        message names the line and the column.

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
    target, ignore, words = names_of(target), names_of(ignore), names_of(categorical)
    gaps = member("missing_targets", missing_targets, ("error", "ignore")) == "ignore"
    dialect = Dialect(decimal, header, names_of(missing_words), gaps)
    member("missing", missing, POLICIES)
    said = {**_said(dialect), "categorical": words, "missing": None if missing == "error" else missing}
    if Path(path).is_dir():
        _require_none("a folder of IDX files", {"target": target, "ignore": ignore, **said})
        return read_idx_folder(path)
    if suffix_of(path) == ".npz":
        _require_none("an NPZ file", {"ignore": ignore, **said})
        found, test = read_npz(path, target)
        return replace(found, target_gaps=gaps), None if test is None else replace(test, target_gaps=gaps)
    choose = partial(split_columns, target=target, ignore=ignore)
    if suffix_of(path) == ".npy":
        _require_none("an NPY file", said)
        return replace(read_npy(path, choose), target_gaps=gaps), None
    data = read_table(path, choose, dialect, None, Wanted({}, missing != "error"), words, progress)
    data = replace(data, target_gaps=gaps)
    return Table.of_data(data, missing, most_levels, dialect).applied(data), None


def read_known(
    path: str | os.PathLike[str],
    features: Sequence[str] | None,
    targets: Sequence[str] = (),
    *,
    with_targets: bool = False,
    target: Names = (),
    named: bool | None = None,
    decimal: str = ".",
    header: bool | None = None,
    missing_words: str | Sequence[str] = (),
    missing_targets: str = "error",
    table: Table | None = None,
    progress: Progress | None = None,
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
    target : str, int, or sequence of them
        Where the targets stand in this file, if not in ``targets``.
    named : bool, optional
        Whether ``features`` and ``targets`` are names, and not positions; by default they are unless all are numbers.
    decimal, header, missing_words, missing_targets, progress
        As for ``read``. A first line that has all ``features`` holds names.
    table : Table, optional
        What makes ``x`` of the features; by default they are numbers.
    """
    gaps = member("missing_targets", missing_targets, ("error", "ignore")) == "ignore"
    target, dialect = names_of(target), Dialect(decimal, header, names_of(missing_words), gaps)
    if Path(path).is_dir():
        data, test = read_idx_folder(path)
        return test or data
    if is_idx_name(path) and not with_targets:
        return read_idx_file(path)
    if suffix_of(path) == ".npz":
        data, test = read_npz(path, target, with_targets=with_targets)
        return replace(test or data, target_gaps=gaps)
    known: Sequence[str] = ()
    if features is None:
        choose = partial(split_columns, target=target) if with_targets else all_columns
    else:
        wanted, at = (tuple(targets), target) if with_targets else ((), ())
        if named is None:
            named = not are_positions(features)
        known = features if named else ()
        choose = partial(known_columns, features=tuple(features), targets=wanted, named=named, at=at)
    if suffix_of(path) == ".npy" and table is None:
        return replace(read_npy(path, choose), target_gaps=gaps)
    wanted_kinds = Wanted(otherwise="number") if table is None else table.wanted
    data = replace(read_table(path, choose, dialect, known, wanted_kinds, progress=progress), target_gaps=gaps)
    return data if table is None else table.applied(data)


def _said(dialect: Dialect) -> dict[str, Any]:
    """Return what is said of a text table, by the names of the arguments."""
    said = {name: value for name, value in vars(dialect).items() if value != getattr(Dialect(), name)}
    return {name: value for name, value in said.items() if name != "target_gaps"}  # Arrays have gaps, too.


def _require_none(what: str, arguments: dict[str, Any]) -> None:
    """Raise ValueError for an argument that says nothing of such data."""
    for name, value in arguments.items():
        if value not in (None, ()):
            raise ValueError(f"{name} expects a CSV file, as it says nothing of {what}; got {value!r}. Leave it out.")


def sine(n_samples: int = 1000, seed: int | None = 0) -> Dataset:
    """Return the notebook's problem: three sines of four numbers that are uniform in [0, 6).

    Examples
    --------
    >>> data = sine(2)
    >>> bool(np.isclose(data.y[1, 2], np.sin(data.x[1, 1] + data.x[1, 3])))
    True
    """
    x = np.random.default_rng(seed).uniform(0, 6, (whole("n_samples", n_samples), 4))
    y = np.column_stack([np.sin(x.sum(axis=1)), np.sin(6 * x[:, 1]), np.sin(x[:, 1] + x[:, 3])])
    return Dataset(
        x,
        y,
        features=("x0", "x1", "x2", "x3"),
        targets=("sin(x0 + x1 + x2 + x3)", "sin(6 x1)", "sin(x1 + x3)"),
        source="the sine problem",
    )
