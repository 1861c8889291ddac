"""Table: what makes an array of numbers from a table, the same one for new data as for those that it was fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member, whole
from tinynet.base.frozen import dataclass
from tinynet.base.hints import HintingAttributes
from tinynet.base.warned import warn_caller
from tinynet.datasets.cells import DECIMALS
from tinynet.datasets.dialect import Dialect
from tinynet.datasets.encoding import POLICIES, Encoding, Missing, size_for, vectors_of_levels
from tinynet.datasets.frame import Frame
from tinynet.datasets.options import with_arguments_named
from tinynet.datasets.parsing import Wanted
from tinynet.datasets.sources import Names, names_of, read_table
from tinynet.datasets.tables import Columns, Dataset, Header, known_columns, split_columns
from tinynet.datasets.targets import Label, encode, find_task

MOST_LEVELS = 50
"""Words of a column that become a column each; all others share one."""

SHOWN = 5
"""Unknown words that a message names."""


@dataclass(frozen=True)
class Table(HintingAttributes):
    r"""A description of a table, which makes an array for a network from all tables like it.

    Make one by ``Table.fit``. It is plain data: it can be pickled, and ``net.metadata |= table.metadata()`` keeps it in
    the model's file, from which ``Table.of(net.metadata)`` has it back; nothing is unpickled. ``tinynet predict`` then
    takes what ``fit`` took.

    Attributes
    ----------
    encodings : tuple of Encoding
        How each feature becomes numbers, in the order of the columns.
    missing : {"error", "mean", "indicator"}
    targets : tuple of str
    classes : tuple of str or int, or None
        None: the targets are numbers, or there are none.
    named : bool
        Whether columns are known by names, and not by positions.
    dialect : Dialect
        How texts are read.

    Examples
    --------
    >>> rows = [{"size": 1.5, "colour": "red", "price": 3}, {"size": 2.5, "colour": "blue", "price": 4}]
    >>> table = Table.fit(rows, target="price")
    >>> table.columns
    ('size', 'colour=blue', 'colour=red')
    >>> table.array([{"colour": "red", "size": 2}]).tolist()
    [[2.0, 0.0, 1.0]]
    """

    encodings: tuple[Encoding, ...]
    missing: Missing = "error"
    targets: tuple[str, ...] = ()
    classes: tuple[Label, ...] | None = None
    named: bool = True
    dialect: Dialect = dataclasses.field(default_factory=Dialect)

    @classmethod
    @with_arguments_named
    def fit(
        cls,
        source: Any,
        target: Names = (),
        ignore: Names = (),
        *,
        categorical: Names = (),
        missing: Missing = "error",
        most_levels: int = MOST_LEVELS,
        embedding: int | None = None,
        task: str = "auto",
        decimal: str = ".",
        header: bool | None = None,
        missing_words: str | Sequence[str] = (),
    ) -> Table:
        """Describe a table.

        Numbers stay numbers, true and false become 1 and 0, dates their parts, and words a column for each. A column of
        texts holds numbers, dates or words as one of a file does.

        Parameters
        ----------
        source : frame of pandas or polars, sequence of dicts, dict of columns, array, or path
            A path is that of a CSV or Parquet file, gzipped or not, or ``"-"`` for standard input.
        target : str, int, or sequence of them
            The columns that are to be predicted; none by default.
        ignore : str, int, or sequence of them
            Columns that are left out.
        categorical : str, int, or sequence of them
            Columns whose values name kinds of things, though they may look like numbers, such as ZIP codes.
        missing : {"error", "mean", "indicator"}
            What a missing value is: an error; the mean of its column; or that, with 1 in a column more, which each
            column gets that has gaps here.
        most_levels : int
            So many words of a column, the most frequent, get a column each; the others share one.
        embedding : int, optional
            Words of a column that has more of them than this become numbers in one column, for vectors that are
            learned; see the attribute ``embedding``. By default none do.
        task : {"auto", "classification", "regression"}
            What a target is.
        decimal, header, missing_words
            As for ``tinynet.datasets.read``.

        Raises
        ------
        ValueError, TypeError
            If a column is not there, holds what cannot be read, or has words that hardly repeat.
        """
        member("missing", missing, POLICIES)
        target, words = names_of(target), names_of(categorical)
        dialect = Dialect(decimal, header, names_of(missing_words))
        choose = partial(_chosen, target=target, ignore=names_of(ignore))
        data = read_table(source, choose, dialect, None, Wanted({}, missing != "error"), words)
        classes = find_task(data, task).classes if target else None
        return cls.of_data(data, missing, most_levels, dialect, classes, embedding)

    @classmethod
    def of_data(
        cls,
        data: Dataset,
        missing: Missing = "error",
        most_levels: int = MOST_LEVELS,
        dialect: Dialect | None = None,
        classes: tuple[Label, ...] | None = None,
        embedding: int | None = None,
    ) -> Table:
        """Describe a table that was read already; see ``fit``."""
        assert data.frame is not None
        most_levels = whole("most_levels", most_levels)
        if embedding is not None:
            embedding = whole("embedding", embedding)
        encodings = []
        for name, column in data.frame.columns.items():
            encoding = Encoding.of(name, column, missing, most_levels, embedding)
            if (encoding.other or encoding.coded) and not column.said and 2 * len(column.levels) > len(column.values):
                raise ValueError(
                    f"column {name!r} of {data.source} has {len(column.levels):,} different words in "
                    f"{len(column.values):,} rows; expected words that repeat. Leave it out: --ignore {name!r}; or say "
                    f"--categorical {name!r}, which takes the {most_levels} most frequent ones. Dates are read where "
                    "they look like 2026-01-31 or 2026-01-31 13:00."
                )
            encodings.append(encoding)
        # Another file may have its names elsewhere, so what was said of the first line of this one is not kept.
        dialect = dataclasses.replace(dialect or Dialect(data.decimal), header=None)
        return cls(tuple(encodings), missing, data.targets, classes, data.named, dialect)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that are read."""
        return tuple(encoding.name for encoding in self.encodings)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of the array."""
        return tuple(name for encoding in self.encodings for name in encoding.columns)

    @property
    def embedding(self) -> dict[str, Any] | None:
        """The arguments of the ``Embedding`` that reads the columns of numbered words; None if there are none.

        Examples
        --------
        >>> import tinynet as tn
        >>> table = Table.fit({"tree": ["oak", "elm", "fir"] * 4, "age": range(12)}, embedding=2)
        >>> tn.Embedding(**table.embedding)
        Embedding(4, 3, columns=[0], n_in=2)
        """
        levels = {place: len(e.levels) + 1 for place, e in self._placed() if e.coded}
        if not levels:
            return None
        sizes = [size_for(n) for n in levels.values()]
        given = {"levels": list(levels.values()), "size": sizes, "columns": list(levels), "n_in": len(self.columns)}
        return {**given, "init": vectors_of_levels}

    @property
    def scaled(self) -> list[int]:
        """The places of the columns that are to be standardised: ``tn.Normalize(n, columns=table.scaled)``."""
        return [place + i for place, e in self._placed() if not e.coded for i in range(len(e.columns))]

    def _placed(self) -> list[tuple[int, Encoding]]:
        """Return each encoding with the place of its first column."""
        ends = np.cumsum([len(encoding.columns) for encoding in self.encodings]).tolist()
        return list(zip([0, *ends], self.encodings, strict=False))

    def __str__(self) -> str:
        """Return a line for each feature, with the columns that it becomes, and one for the targets.

        Examples
        --------
        >>> rows = [{"size": 1.5, "colour": "red", "price": 3}, {"size": 2.5, "colour": "blue", "price": 4}]
        >>> print(Table.fit(rows, target="price"))
        size    number  size
        colour  word    colour=blue, colour=red
        price   target
        """
        features = [(encoding.name, str(encoding.kind), _listed(encoding.columns)) for encoding in self.encodings]
        rows = [*features, *((name, "target", "") for name in self.targets)]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        return "\n".join(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {to}".rstrip() for name, kind, to in rows)

    @property
    def plain(self) -> bool:
        """Whether all columns are numbers without gaps, so that the array is the table as it is."""
        return self.missing == "error" and all(encoding.kind == "number" for encoding in self.encodings)

    @with_arguments_named
    def array(self, source: Any) -> NDArray[np.float64]:
        """Return the features in a table like the one that this describes, as an array for ``fit`` and ``predict``.

        Parameters
        ----------
        source
            As for ``fit``; columns are found by name, in any order, and others are not looked at.

        Returns
        -------
        (n_rows, len(columns)) float64 array

        Raises
        ------
        ValueError, TypeError
            If a column is not there, or holds something else.

        Warns
        -----
        UserWarning
            If there are words that were not there before.
        """
        data = self._read(source, with_targets=False)
        if self.unknown(data):
            warn_caller(f"{data.source}: {self.unknown(data)}")
        return np.asarray(self.applied(data).x)

    @with_arguments_named
    def targets_of(self, source: Any) -> NDArray[Any]:
        """Return the targets in a table: numbers, (n_rows, n_targets) float64, or class numbers, (n_rows,) int64.

        Examples
        --------
        >>> table = Table.fit({"size": [1, 2, 3, 4], "kind": ["oak", "elm", "oak", "elm"]}, target="kind")
        >>> table.classes, table.targets_of({"size": [1, 2], "kind": ["elm", "oak"]}).tolist()
        (('elm', 'oak'), [0, 1])
        """
        if not self.targets:
            raise ValueError("the table has no targets; expected some. Name them: Table.fit(..., target=...).")
        return encode(self._read(source, with_targets=True), self.classes)

    def _read(self, source: Any, with_targets: bool) -> Dataset:
        targets = self.targets if with_targets else ()
        choose = partial(known_columns, features=self.features, targets=targets, named=self.named)
        return read_table(source, choose, self.dialect, self.features if self.named else (), self.wanted)

    @property
    def wanted(self) -> Wanted:
        """What is to be read."""
        return Wanted({encoding.name: encoding.kind for encoding in self.encodings}, self.missing != "error")

    def applied(self, data: Dataset) -> Dataset:
        """Return data with ``x`` made of what was read."""
        assert data.frame is not None
        return dataclasses.replace(data, x=self._encoded(data.frame), table=self)

    def _encoded(self, frame: Frame) -> NDArray[np.float64]:
        # Columns that are known by positions have those of their own table as names.
        held = zip(self.encodings, frame.columns.values(), strict=True)
        if frame.matrix is not None and self.plain:
            return frame.matrix
        return np.hstack([encoding.encode(column) for encoding, column in held])

    def unknown(self, data: Dataset) -> str:
        """Say which words of data were not there before; an empty text if all were."""
        assert data.frame is not None
        told = []
        for encoding, column in zip(self.encodings, data.frame.columns.values(), strict=True):
            found = encoding.unknown(column)
            if found:
                words = ", ".join(map(repr, list(found)[:SHOWN])) + ", ..." * (len(found) > SHOWN)
                n_rows = sum(found.values())
                told.append(
                    f"{encoding.name!r} has {words} in {n_rows:,} row{'s' * (n_rows > 1)}, not seen in training, "
                    "and taken as none of the words that were"
                )
        return "; ".join(told)

    def gaps(self, data: Dataset) -> str:
        """Say how many values are missing from data, and what is done about it; an empty text if none are."""
        assert data.frame is not None
        counts = {name: int(column.missing.sum()) for name, column in data.frame.columns.items()}
        found = [f"{count:,} of {name!r}" for name, count in counts.items() if count]
        what = {"mean": "the mean of the column", "indicator": "its mean, and 1 in a column of gaps"}
        coded = " (or a level of its own)" * any(encoding.coded for encoding in self.encodings)
        return f"{', '.join(found)}; each is {what[self.missing]}{coded}" if found else ""

    # -- as data -----------------------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        """Return what the metadata of a model are to have, so that the model takes tables: ``net.metadata |= ...``.

        Examples
        --------
        >>> table = Table.fit({"size": [1.0, None]}, missing="mean")
        >>> Table.of(table.metadata()) == table
        True
        """
        kept: dict[str, Any] = {
            "missing": self.missing,
            "columns": [encoding.config() for encoding in self.encodings],
            "named": self.named,
            "decimal": self.dialect.decimal,
            "missing_words": list(self.dialect.missing_words),
        }
        known = {"targets": self.targets, "classes": self.classes}
        names = {name: list(values) for name, values in known.items() if values}
        return {"features": list(self.features), **names, "table": kept}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Table:
        """Return the table that the metadata of a model keep.

        Raises
        ------
        ValueError
            If they keep none, or one that is not as it should be.
        """
        kept = metadata.get("table")
        if not isinstance(kept, Mapping):
            raise ValueError(f"the metadata keep no table; expected one under 'table'; got {kept!r:.80}.")
        try:
            words, columns, named = kept["missing_words"], kept["columns"], kept["named"]
            missing = member("missing", kept["missing"], POLICIES)
            decimal = member("decimal", kept["decimal"], DECIMALS)
        except KeyError as error:
            raise ValueError(f"the table in the metadata must have {error}; got {', '.join(kept)}.") from None
        if not isinstance(columns, list | tuple) or not columns or not isinstance(named, bool) or not _are_texts(words):
            raise ValueError(
                "the table in the metadata must have columns, words for gaps, and tell whether it has names."
            )
        encodings = tuple(Encoding.from_config(config) for config in columns)
        if len({encoding.name for encoding in encodings}) < len(encodings):
            raise ValueError("the table in the metadata has two columns of one name.")
        targets, classes = metadata.get("targets", ()), metadata.get("classes")
        if not _are_texts(targets) or not isinstance(classes, list | tuple | None):
            raise ValueError("the targets and classes in the metadata must be lists of names.")
        dialect = Dialect(decimal, None, tuple(words))
        return cls(encodings, missing, tuple(targets), None if classes is None else tuple(classes), named, dialect)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _chosen(header: Header, target: tuple[str, ...], ignore: tuple[str, ...]) -> Columns:
    """Choose all columns that are neither targets nor ignored; unlike for a command, there may be no target."""
    if target:
        return split_columns(header, target, ignore)
    unused = set(header.require(ignore, "--ignore"))
    features = tuple(place for place in header.places if place not in unused)
    if not features:
        raise ValueError(
            f"{header.source} must have at least one column that is not ignored; it has {header.listing()}."
        )
    return Columns(features, (), tuple(sorted(set(range(len(header))) - {*header.places, *unused})))


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Name some things, not all if they are many."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
