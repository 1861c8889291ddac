"""Dataset: samples with their targets; and which columns of a table are which."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """Samples with their targets, as they were read.

    Attributes
    ----------
    x : (n_samples, n_features) array of real numbers
    y : (n_samples,) or (n_samples, n_targets) array of numbers or strings, or None
    features : tuple of str or None
        Names of the columns of ``x``; None for images.
    targets : tuple of str
    source : str
        Where it comes from, for messages.
    lines : (n_samples,) int array or None
        The line of each sample in a text file.
    labelled : bool
        Whether the format says that targets are labels.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    features: tuple[str, ...] | None
    targets: tuple[str, ...]
    source: str
    lines: NDArray[np.int64] | None = None
    labelled: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: NDArray[np.int64]) -> Dataset:
        """Return some of the samples."""
        y = None if self.y is None else self.y[index]
        lines = None if self.lines is None else self.lines[index]
        return dataclasses.replace(self, x=self.x[index], y=y, lines=lines)

    def place(self, row: int) -> str:
        """Say where a sample stands, for messages."""
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}, {where}"


@dataclass(frozen=True)
class Header:
    """The columns of a table: their names, or their positions as names where the file has none."""

    names: tuple[str, ...]
    named: bool
    source: str

    def __post_init__(self) -> None:
        doubled = [name for name, count in Counter(self.names).items() if count > 1]
        if doubled:
            raise ValueError(f"{self.source} has two columns {doubled[0]!r}. Give every column a name of its own.")

    def __len__(self) -> int:
        return len(self.names)

    def position(self, name: str) -> int | None:
        """Return where a column stands: by its name, else by its position, from the end if negative."""
        if name in self.names:
            return self.names.index(name)
        try:
            place = int(name)
        except ValueError:
            return None
        return place % len(self) if -len(self) <= place < len(self) else None

    def require(self, names: Sequence[str], who: str) -> tuple[int, ...]:
        """Return where columns stand, or say which is not there and what is."""
        places = [self.position(name) for name in names]
        for name, place in zip(names, places, strict=True):
            if place is None:
                hint = "Give positions from 0, or the names in the first line."
                if self.named:
                    hint = "".join(f"Did you mean {near!r}?" for near in difflib.get_close_matches(name, self.names, 1))
                message = f"{who} expects a column {name!r} in {self.source}; it has {self.listing()}. {hint}"
                raise ValueError(message.rstrip())
        return tuple(place for place in places if place is not None)

    def listing(self, most: int = 12) -> str:
        """Name the columns, not all if they are many."""
        shown = [repr(name) for name in self.names[:most]] if self.named else []
        rest = len(self) - len(shown)
        if not shown:
            return f"{len(self)} columns and no header"
        return ", ".join(shown) + (f" and {rest} more" if rest else "")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are features and which are targets."""

    features: tuple[int, ...]
    targets: tuple[int, ...]


Choose = Callable[[Header], Columns]


def split_columns(header: Header, target: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> Columns:
    """Choose columns for training: the targets (by default the last column), and all others that are not ignored.

    Examples
    --------
    >>> split_columns(Header(("a", "b", "c"), True, "f.csv"), target=("b",))
    Columns(features=(0, 2), targets=(1,))
    """
    unused = set(header.require(ignore, "--ignore"))
    used = tuple(place for place in range(len(header)) if place not in unused)
    targets = header.require(target, "--target") if target else used[-1:]
    if unused & set(targets):
        raise ValueError(f"--ignore leaves out the target {header.names[targets[0]]!r}. Give it in one of them only.")
    features = tuple(place for place in used if place not in targets)
    if not features:
        raise ValueError(
            f"{header.source} must have at least one column besides the target; it has {header.listing()}. "
            "Columns are separated by commas, semicolons or tabs."
        )
    return Columns(features, targets)


def known_columns(header: Header, features: tuple[str, ...], targets: tuple[str, ...] = ()) -> Columns:
    """Choose columns for a model that was trained on columns of these names.

    Where the model or the table has no names, a table of as many columns as the model has features is taken as it is.

    Examples
    --------
    >>> known_columns(Header(("c", "b", "a"), True, "f.csv"), ("a", "b"))
    Columns(features=(2, 1), targets=())
    """
    unnamed = not header.named or all(name.isdigit() for name in features)
    if unnamed and not targets and len(header) == len(features):
        return all_columns(header)
    return Columns(header.require(features, "The model"), header.require(targets, "The model"))


def all_columns(header: Header) -> Columns:
    """Choose all columns as features."""
    return Columns(tuple(range(len(header))), ())
