"""Encodings: how one column of a table becomes columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.datasets.dates import PARTS, parts_of, parts_that_vary
from tinynet.datasets.frame import KINDS, Column, Kind

Missing = Literal["error", "mean", "indicator"]

POLICIES = ("error", "mean", "indicator")


@dataclass(frozen=True)
class Encoding:
    """How a column becomes numbers.

    A number is itself. A word is a column for each level, 1 in that of its own, and one for all other words, if some
    were left over when the levels were chosen; a word that was not seen then is 0 in all levels. A date is its parts.
    Where a value is missing, each column has its mean. With ``coded``, a word is its number among the levels, which an
    ``Embedding`` reads, and the number after the last is that of words that were not seen and of missing ones.

    Attributes
    ----------
    name : str
    kind : {"number", "date", "word"}
    levels : tuple of str
        Words that have a column each.
    other : bool
        Whether there is one for the others.
    parts : tuple of str
        Of ``PARTS``, for dates.
    mean : tuple of float
        Of each column, over the values that were there.
    indicator : bool
        Whether one more column is 1 where a value is missing.
    coded : bool
        Whether a word is a number.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    other: bool = False
    parts: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    indicator: bool = False
    coded: bool = False

    @classmethod
    def of(
        cls, name: str, column: Column, missing: Missing, most_levels: int, embedding: int | None = None
    ) -> Encoding:
        """Choose the encoding of a column by its values; words of more than ``embedding`` levels are numbers.

        Raises
        ------
        ValueError
            If all of them are missing.
        """
        gaps = column.missing
        if gaps.all():
            raise ValueError(
                f"column {name!r} must have a value in some row; it has none in {len(gaps):,}. Leave it out: "
                f"--ignore {name!r} (ignore=)."
            )
        made = cls(name, column.kind)
        if column.kind == "date":
            made = replace(made, parts=parts_that_vary(column.values))
        if column.kind == "word":
            counts = np.bincount(column.values[~gaps], minlength=len(column.levels))
            if embedding is not None and np.count_nonzero(counts) > embedding:
                levels = tuple(sorted(column.levels[i] for i in np.flatnonzero(counts)))
                return replace(made, levels=levels, mean=(float(len(levels)),), coded=True)
            # The most frequent; of those that are alike, the first in the alphabet.
            order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: (-counts[i], column.levels[i]))
            made = replace(
                made,
                levels=tuple(sorted(column.levels[i] for i in order[:most_levels])),
                other=len(order) > most_levels,
            )
        values = made._values(column)[~gaps]
        with np.errstate(over="ignore"):
            mean = values.mean(axis=0)
        if not np.isfinite(mean).all():  # The sum is beyond float64; the mean is not.
            mean = (values / len(values)).sum(axis=0)
        return replace(made, mean=tuple(mean.tolist()), indicator=missing == "indicator" and bool(gaps.any()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it becomes."""
        if self.coded:
            return (self.name,)
        names = {"number": ("",), "date": self.parts, "word": (*self.levels, *(["other"] * self.other))}[self.kind]
        mark = {"number": "", "date": ".", "word": "="}[self.kind]
        return (*(f"{self.name}{mark}{name}" for name in names), *([f"{self.name}=missing"] * self.indicator))

    def encode(self, column: Column) -> NDArray[np.float64]:
        """Return the columns of numbers, (n_rows, len(columns)).

        Examples
        --------
        >>> colour = Encoding("colour", "word", ("green", "red"), mean=(0.25, 0.75))
        >>> colour.encode(Column("word", np.array([0, 1, -1]), ("red", "blue"))).tolist()
        [[0.0, 1.0], [0.0, 0.0], [0.25, 0.75]]
        """
        gaps = column.missing
        values = self._values(column)
        values[gaps] = self.mean
        return np.column_stack([values, gaps]) if self.indicator else values

    def unknown(self, column: Column) -> dict[str, int]:
        """Return the words that have no column of their own, with their numbers, where none was left over before."""
        if self.kind != "word" or self.other:
            return {}
        counts = np.bincount(column.values[column.values >= 0], minlength=len(column.levels))
        return {
            level: int(count)
            for level, count in zip(column.levels, counts, strict=True)
            if count and level not in self.levels
        }

    def _values(self, column: Column) -> NDArray[np.float64]:
        """Return the columns without that of gaps."""
        if self.kind == "number":
            return np.array(column.values[:, None], dtype=np.float64)
        if self.kind == "date":
            return parts_of(column.values)[:, [PARTS.index(part) for part in self.parts]]
        if self.coded:
            numbers = {level: float(place) for place, level in enumerate(self.levels)}
            found = [*(numbers.get(level, float(len(self.levels))) for level in column.levels), float(len(self.levels))]
            return np.asarray(np.array(found)[column.values][:, None])
        width = len(self.levels) + self.other
        known = {level: place for place, level in enumerate(self.levels)}
        # The last row of the table is that of gaps, and of words that have no column.
        rows = np.vstack([np.eye(width), np.zeros((1, width))])
        places = [known.get(level, len(self.levels) if self.other else width) for level in column.levels]
        return np.asarray(rows[np.array([*places, width])[column.values]])

    def config(self) -> dict[str, Any]:
        """Return the encoding as plain data, without what goes without saying."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {name: value for name, value in plain.items() if value not in ([], False)}

    @classmethod
    def from_config(cls, config: Any) -> Encoding:
        """Return the encoding that plain data describe.

        Raises
        ------
        ValueError
            If they describe none.
        """
        if not isinstance(config, Mapping) or not set(config) <= set(cls.__dataclass_fields__):
            raise ValueError(f"a column must be a table of {', '.join(cls.__dataclass_fields__)}; got {config!r:.80}.")
        given = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in config.items()}
        made = cls(**{"name": None, "kind": None, **given})  # type: ignore[arg-type]
        texts = (
            (*made.levels, *made.parts) if isinstance(made.levels, tuple) and isinstance(made.parts, tuple) else (0,)
        )
        fits = (
            isinstance(made.name, str)
            and made.kind in KINDS
            and all(isinstance(text, str) for text in texts)
            and set(made.parts) <= set(PARTS)
            and isinstance(made.other, bool)
            and isinstance(made.indicator, bool)
            and isinstance(made.coded, bool)
            and (made.kind == "word" or not made.coded)
            and isinstance(made.mean, tuple)
            and all(isinstance(value, int | float) and np.isfinite(value) for value in made.mean)
            and len(made.mean) == len(made.columns) - made.indicator
        )
        if not fits:
            raise ValueError(
                f"a column must have a name, a kind, and a mean for each column of numbers; got {config!r:.80}."
            )
        return made


def size_for(n_levels: int) -> int:
    """Return how long vectors for so many levels should be: fastai's rule of thumb, at most 50.

    Examples
    --------
    >>> [size_for(n) for n in (2, 12, 100, 10_000)]
    [2, 6, 21, 50]
    """
    return int(min(50, max(2, round(1.6 * n_levels**0.56))))


def vectors_of_levels(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw vectors for the levels of a coded column: normal ones, and 0 for the last, which nobody may ever see."""
    drawn = rng.standard_normal(shape)
    drawn[-1] = 0.0
    return drawn
