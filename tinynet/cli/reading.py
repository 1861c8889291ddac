"""Options that tell how a text table is to be read, where that is not found out; a model keeps them to predict."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from typing import Any

from tinynet.cli.notes import Notes
from tinynet.cli.values import whole_number
from tinynet.datasets.cells import DECIMALS
from tinynet.datasets.encoding import POLICIES

HEADER = {"auto": None, "yes": True, "no": False}


def names(text: str) -> tuple[str, ...]:
    """Split names at commas, except within double quotes.

    Examples
    --------
    >>> names('age, "height, in m"')
    ('age', 'height, in m')
    """
    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []))


def add_options(add: Any, otherwise: str) -> None:
    """Add the options to a group of arguments; ``otherwise`` says what holds where they are not given."""
    add("--decimal", choices=DECIMALS, metavar="MARK", help=f"the decimal mark of a CSV file, . or , ({otherwise})")
    add(
        "--header",
        choices=HEADER,
        default="auto",
        metavar="auto|yes|no",
        help="whether its first line holds names (auto)",
    )
    add(
        "--missing-words",
        type=names,
        action="extend",
        default=[],
        metavar="WORDS",
        help="words that stand for a missing value in any column",
    )


def add_gaps(add: Any) -> None:
    """Add the option that tells whether targets may be missing."""
    add(
        "--missing-targets",
        choices=("error", "ignore"),
        default="error",
        help="of targets that are numbers and were not all measured: leave out what is missing (error)",
    )


def add_columns(add: Any) -> None:
    """Add the options that tell how columns become numbers: those of training, which a model keeps."""
    add(
        "--categorical",
        type=names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="columns that name kinds of things, as words do, though they look like numbers",
    )
    add(
        "--embedding",
        type=whole_number("--embedding"),
        metavar="N",
        help="columns of more than N words become vectors that are learned, and not a column for each word (none do)",
    )
    add(
        "--missing",
        type=_policy,
        metavar="|".join(POLICIES),
        help="what a missing value is: an error, the mean of its column, or that and 1 in a column of gaps (error)",
    )


def _policy(text: str) -> str:
    """Return what is done with gaps; the option once had another meaning, which people may mean."""
    if text in POLICIES:
        return text
    raise argparse.ArgumentTypeError(
        f"must be one of {', '.join(POLICIES)}; got {text!r}. Words that stand for a missing value are those of "
        f"--missing-words"
    )


class RowsRead:
    """Tells, on standard error, how many rows are read, where that takes long."""

    every = 2.0

    def __init__(self, source: str) -> None:
        self.source, self._last = source, time.monotonic()

    def __call__(self, n_rows: int) -> None:
        """Tell it if it is time."""
        now = time.monotonic()
        if now - self._last >= self.every:
            self._last = now
            print(f"tinynet: {self.source}: {n_rows:,} rows read ...", file=sys.stderr, flush=True)


def how(args: argparse.Namespace, notes: Notes | None = None) -> dict[str, Any]:
    """Return what is said as arguments of ``tinynet.datasets.read``: by the options, else in training."""
    notes = notes or Notes(None, (), None)
    said = {
        "decimal": args.decimal or notes.decimal,
        "header": HEADER[args.header],
        "missing_words": tuple(args.missing_words) or notes.missing_words,
        "missing_targets": None if getattr(args, "missing_targets", "error") == "error" else args.missing_targets,
    }
    return {name: value for name, value in said.items() if value not in (".", None, ())}
