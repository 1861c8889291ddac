"""A table from wherever it is: a CSV, Parquet or NPY file, standard input, or an object in memory."""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
from collections.abc import Sequence
from typing import Any

from tinynet.base.errors import DependencyError
from tinynet.datasets.csvfile import Progress, read_csv
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.files import opened, source_of, suffix_of
from tinynet.datasets.numpyfile import read_npy
from tinynet.datasets.parsing import Wanted
from tinynet.datasets.tables import Choose, Columns, Dataset, Header, all_columns

Names = str | int | Sequence[str | int]


def names_of(given: Names) -> tuple[str, ...]:
    """Return one name or position, or several, as texts."""
    return tuple(map(str, [given] if isinstance(given, str | int) else given))


def read_table(
    source: Any,
    choose: Choose,
    dialect: Dialect,
    known: Sequence[str] | None = None,
    wanted: Wanted | None = None,
    categorical: Sequence[str] = (),
    progress: Progress | None = None,
) -> Dataset:
    """Read the columns of a table, as they are.

    Parameters
    ----------
    source : path, or table in memory
        See ``Table.fit``.
    choose, dialect, known, wanted, progress
        See ``read_csv``.
    categorical : sequence of str
        Columns that hold words, by name or position.
    """
    wanted = wanted or Wanted()

    def choose_and_note(header: Header) -> Columns:
        columns = choose(header)
        for place in header.require(categorical, "--categorical"):
            if place not in columns.features:
                raise ValueError(
                    f"--categorical expects features; {header.label(place)!r} is a target, or ignored. Leave it out of "
                    "the list; of a target, say --task classification."
                )
            kinds[header.label(place)] = "word"
        # Columns that a model knows by other names, as by positions, are what the model says in its order.
        if len(held) == len(columns.features):
            kinds.update({header.label(place): kind for place, kind in zip(columns.features, held, strict=True)})
        return columns

    held = list(wanted.kinds.values())
    kinds = dict(wanted.kinds)
    wanted = dataclasses.replace(wanted, kinds=kinds)
    is_file = isinstance(source, str | os.PathLike)
    suffix = suffix_of(source) if is_file else ""
    if is_file and suffix not in (".npy", ".parquet"):
        return read_csv(source, choose_and_note, dialect, known, wanted, progress)
    from tinynet.datasets.objects import read_objects  # Much that no text needs.

    if not is_file:
        return read_objects(source, choose_and_note, dialect, wanted)
    table = read_npy(source, all_columns).x if suffix == ".npy" else _parquet(source)
    return read_objects(table, choose_and_note, dialect, wanted, source_of(source))


def _parquet(path: str | os.PathLike[str]) -> Any:
    """Return the frame in a Parquet file, read by whichever library is there."""
    with opened(path) as file:
        content = file.read()
    problems = []
    for name in ("polars", "pandas"):
        try:
            library = importlib.import_module(name)
            return library.read_parquet(io.BytesIO(content))
        except ImportError as error:
            problems.append(f"{name}: {error}")
        except Exception as error:
            # Each library has errors of its own, which are not ours to import.
            raise ValueError(f"{source_of(path)} cannot be read as Parquet by {name}: {error}.") from error
    raise DependencyError(
        "Reading Parquet needs polars, or pandas with pyarrow; neither can be imported "
        f"({'; '.join(' '.join(problem.split()) for problem in problems)}). Get it by: pip install polars"
    )
