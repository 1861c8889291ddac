"""Dataset: samples with their targets; and which columns of a table are which."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.base.hints import CLOSE
from tinynet.datasets.frame import Frame

if TYPE_CHECKING:
    from tinynet.datasets.table import Table

POSITION = re.compile("-?[0-9]{1,9}")


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
    decimal : {".", ","}
        The decimal mark of targets that are texts.
    named : bool
        Whether the columns have names; else those are their positions.
    frame : Frame or None
        The features as they were read, where they may be more than numbers: with words, dates and gaps.
    table : Table or None
        What made ``x`` of ``frame``.
    target_gaps : bool
        Whether targets that are numbers may be missing: NaN, or as texts what stands for a missing number.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    features: tuple[str, ...] | None
    targets: tuple[str, ...]
    source: str
    lines: NDArray[np.int64] | None = None
    labelled: bool = False
    decimal: str = "."
    named: bool = True
    frame: Frame | None = None
    table: Table | None = None
    target_gaps: bool = False

    @classmethod
    def of_frame(cls, frame: Frame, y: NDArray[Any] | None, **about: Any) -> Dataset:
        """Return samples as they were read: ``x`` has no columns, until a table makes some, if not all are numbers."""
        n_rows = next((len(column.values) for column in frame.columns.values()), 0)
        x = np.empty((n_rows, 0)) if frame.matrix is None else frame.matrix
        return cls(x, y, tuple(frame.columns), frame=frame, **about)

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: NDArray[np.int64]) -> Dataset:
        """Return some of the samples."""
        y = None if self.y is None else self.y[index]
        lines = None if self.lines is None else self.lines[index]
        frame = None if self.frame is None else self.frame.rows(index)
        matrix = frame.matrix if self.frame is not None and self.x is self.frame.matrix and frame is not None else None
        x = self.x[index] if matrix is None else matrix
        return dataclasses.replace(self, x=x, y=y, lines=lines, frame=frame)

    def place(self, row: int) -> str:
        """Say where a sample stands, for messages."""
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}, {where}"


@dataclass(frozen=True)
class Header:
    """The columns of a table: their names, or their positions as names where the file has none.

    A column without a name in a file that has names is called by an empty text.
    """

    names: tuple[str, ...]
    named: bool
    source: str

    def __post_init__(self) -> None:
        doubled = [name for name, count in Counter(self.names).items() if name and count > 1]
        if doubled:
            raise ValueError(f"{self.source} has two columns {doubled[0]!r}. Give every column a name of its own.")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def places(self) -> tuple[int, ...]:
        """Where columns with names stand."""
        return tuple(place for place, name in enumerate(self.names) if name)

    def label(self, place: int) -> str:
        """Return the name of a column, or its position if it has none."""
        return self.names[place] or str(place)

    def without_names(self) -> Header:
        """Return the same columns, called by their positions."""
        return Header(tuple(str(place) for place in range(len(self))), False, self.source)

    def position(self, name: str, by_position: bool = True) -> int | None:
        """Return where a column stands: by its name, else by its position, from the end if negative."""
        if name and name in self.names:
            return self.names.index(name)
        if not by_position or not POSITION.fullmatch(name):
            return None
        place = int(name)
        return place % len(self) if -len(self) <= place < len(self) else None

    def require(self, names: Sequence[str], who: str, by_position: bool = True) -> tuple[int, ...]:
        """Return where columns stand, or say which is not there and what is."""
        places = [self.position(name, by_position) for name in names]
        for name, place in zip(names, places, strict=True):
            if place is None:
                hint = "Give positions from 0, or the names in the first line."
                if self.named:
                    from difflib import get_close_matches  # Only a name that is wrong pays for the import.

                    near = get_close_matches(name, self.names, 1, CLOSE)
                    hint = f"Did you mean {near[0]!r}?" if near else ""
                    if len(self) == 1 and "," in self.names[0]:
                        hint = "It was read with ',' as decimal mark, so that it separates nothing: say --decimal ."
                message = f"{who} expects a column {name!r} in {self.source}; it has {self.listing()}. {hint}"
                raise ValueError(message.rstrip())
        return tuple(place for place in places if place is not None)

    def listing(self, most: int = 12) -> str:
        """Name the columns, not all if they are many."""
        if not self.named:
            return f"{len(self)} columns and no header"
        named = [repr(name) for name in self.names if name]
        shown, rest = named[:most], len(named[most:])
        return ", ".join(shown) + (f" and {rest} more" if rest else "")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are features, which are targets, and which have no name and must be empty."""

    features: tuple[int, ...]
    targets: tuple[int, ...]
    empty: tuple[int, ...] = ()


Choose = Callable[[Header], Columns]


def split_columns(header: Header, target: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> Columns:
    """Choose columns for training: the targets (by default the last column), and all others that are not ignored.

    Examples
    --------
    >>> split_columns(Header(("a", "b", "c"), True, "f.csv"), target=("b",))
    Columns(features=(0, 2), targets=(1,), empty=())
    """
    unused = set(header.require(ignore, "--ignore"))
    used = tuple(place for place in header.places if place not in unused)
    targets = header.require(target, "--target") if target else used[-1:]
    if len(set(targets)) < len(targets):
        raise ValueError(f"--target names a column twice; got {', '.join(target)}. Give each once.")
    for place in targets:
        if not header.names[place]:
            raise ValueError(f"--target expects a column that has a name; column {place} of {header.source} has none.")
        if place in unused:
            raise ValueError(f"--ignore leaves out the target {header.label(place)!r}. Give it in one of them only.")
    features = tuple(place for place in used if place not in targets)
    if not features:
        raise ValueError(
            f"{header.source} must have at least one column besides the target; it has {header.listing()}. "
            "Columns are separated by tabs, semicolons, spaces or, where they are no decimal marks, commas."
        )
    return Columns(features, targets, tuple(sorted(set(range(len(header))) - {*header.places, *unused, *targets})))


def known_columns(
    header: Header,
    features: tuple[str, ...],
    targets: tuple[str, ...] = (),
    named: bool = True,
    at: tuple[str, ...] = (),
) -> Columns:
    """Choose columns for a model that was trained on columns of these names.

    Where the model or the table has no names, columns are known by their positions, and a table of as many columns as
    the model has features is taken as it is.

    Parameters
    ----------
    header : Header
    features, targets : tuple of str
        Those of the model; no targets if none are needed.
    named : bool
        Whether the model's are names, and not positions.
    at : tuple of str
        Where the targets stand in this table, if not in ``targets``.

    Examples
    --------
    >>> known_columns(Header(("c", "b", "a"), True, "f.csv"), ("a", "b"))
    Columns(features=(2, 1), targets=(), empty=())
    """
    by_position = not (named and header.named)
    if by_position and not targets and len(header.places) == len(features):
        return all_columns(header)
    own = header if named else header.without_names()
    places = own.require(features, "The model", by_position)
    return Columns(places, header.require(at, "--target") if at else own.require(targets, "The model", by_position))


def are_positions(names: Sequence[str]) -> bool:
    """Tell whether names may be the positions of columns: they are all whole numbers."""
    return all(POSITION.fullmatch(name) for name in names)


def all_columns(header: Header) -> Columns:
    """Choose all columns as features."""
    return Columns(header.places, ())
