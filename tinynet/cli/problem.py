"""The problem that ``tinynet train`` solves: its data, what is held out of them, and what is to be learned."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.cli.networks import LOSSES_OF_NUMBERS
from tinynet.cli.notes import Notes
from tinynet.cli.reading import RowsRead, how
from tinynet.cli.scaling import OfMean
from tinynet.datasets import Dataset, read, read_known, sine
from tinynet.datasets.encoding import Encoding, size_for
from tinynet.datasets.files import STDIN
from tinynet.datasets.table import Table
from tinynet.datasets.targets import Task, encode, find_task

ROWS, NOTEBOOK_ROWS = 5000, 1000
"""Of the sine problem: of 1,000, which the notebook has, nobody can tell the fast one of the three sines."""

WHAT = {"word": "words", "date": "dates"}

Pair = tuple[NDArray[Any], NDArray[Any]]
Say = Callable[[str, str], None]
"""Prints a line: what it is about, and the text."""


@dataclass(frozen=True)
class Problem:
    """Data to train on, with what is held out, and how to speak of it.

    Attributes
    ----------
    notes : Notes
    train : (x, y)
    held : dict of str to (x, y)
        What is held out: "validation", and "test" for a test set that came with the data. The first is watched in
        training.
    scaling : OfMean or None
        Of targets that are counts or rates.
    """

    notes: Notes
    train: Pair
    held: dict[str, Pair]
    scaling: OfMean | None


def read_problem(args: argparse.Namespace, say: Say) -> Problem:
    """Read the data and hold some of them out."""
    if args.data is None:
        _require_data(args)
        data, test = sine(NOTEBOOK_ROWS if args.notebook else ROWS, seed=args.seed), None
    else:
        if args.data == args.validation == STDIN:
            raise ValueError("DATA and --validation expect two files; got standard input for both. Name one of them.")
        progress = None if args.quiet else RowsRead(args.data)
        columns = {"categorical": args.categorical, "missing": args.missing or "error"}
        data, test = read(args.data, args.target, args.ignore, **how(args), **columns, progress=progress)
    say("data", f"{data.source}: {len(data):,} rows, {len(data.features or data.x[0]):,} features")
    task = find_task(data, args.task)
    if args.loss in LOSSES_OF_NUMBERS and "--task regression" in task.reason:
        task = find_task(data, "regression")  # That they were classes was a guess; the loss tells.
    train, held = _hold_out(args, data, test)
    table = None
    if data.table is not None and not data.table.plain:
        # Levels and means are those of the rows to train on: the others stand for what is not known yet.
        dialect = data.table.dialect
        table = Table.of_data(train, data.table.missing, dialect=dialect, embedding=args.embedding)
        _tell(table, train, held, say)
        train, held = table.applied(train), {name: table.applied(part) for name, part in held.items()}
    words = tuple(args.missing_words)
    notes = Notes(data.features, data.targets, task.classes, data.named, data.decimal, words, table)
    y = encode(train, task.classes)
    scaling = OfMean.of(y) if task.classes is None and args.loss == "poisson" and not args.notebook else None
    say("target", f"{', '.join(data.targets)}: {_describe(task, scaling, standardised=not args.notebook)}")
    for name, part in held.items():
        say("held out", f"{len(part):,} {name} rows; trained on {len(train):,}")
    pairs = {name: (part.x, encode(part, task.classes)) for name, part in held.items()}
    return Problem(notes, (train.x, y), pairs, scaling)


def _require_data(args: argparse.Namespace) -> None:
    """Raise ValueError for an option that says how data are to be read, where there are none."""
    for name in ("target", "ignore", "decimal", "missing", "missing_words", "categorical", "embedding"):
        if getattr(args, name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} expects data to read, as in: tinynet {args.command} FILE {option} ...; got none."
            )


def _tell(table: Table, train: Dataset, held: dict[str, Dataset], say: Say) -> None:
    """Say what the columns become, what is missing, and which words are held out with all of their rows."""
    others = [encoding for encoding in table.encodings if encoding.kind != "number"]
    told = [f"{encoding.name!r}: {_become(encoding)}" for encoding in others]
    if told:
        say("columns", f"{'; '.join(told)}; {len(table.columns):,} inputs in all")
    for name, part in {"training": train, **held}.items():
        for what, text in (("missing", table.gaps(part)), ("note", table.unknown(part))):
            if text:
                say(what, f"{name} rows: {text}")


def _become(encoding: Encoding) -> str:
    """Say what becomes of a column that holds no numbers."""
    if encoding.coded:
        return f"{len(encoding.levels)} words as vectors of {size_for(len(encoding.levels) + 1)} numbers"
    return f"{WHAT[encoding.kind]} in {len(encoding.columns)} columns"


def _describe(task: Task, scaling: OfMean | None, *, standardised: bool) -> str:
    """Tell what is learned, and why it is taken so where that is a guess."""
    if task.classes is None and scaling is not None:
        return "numbers; errors while training are those of multiples of the mean"
    if task.classes is None:
        return "numbers" + "; losses are those of standardised values" * standardised
    shown = ", ".join(str(name) for name in task.classes[:10]) + ", ..." * (len(task.classes) > 10)
    return f"{len(task.classes)} classes: {shown}" + (f" ({task.reason})" if task.reason else "")


def _hold_out(args: argparse.Namespace, data: Dataset, test: Dataset | None) -> tuple[Dataset, dict[str, Dataset]]:
    """Return what to train on, and what is held out by its name."""
    tests = {} if test is None else {"test": test}
    if isinstance(args.validation, str):
        options = {"named": data.named, "table": data.table, **how(args)}
        held = read_known(
            args.validation, data.features, data.targets, with_targets=True, target=args.target, **options
        )
        return data, {"validation": held, **tests}
    share = args.validation
    if share is None:
        share = 0.2 if test is None else 0.0
    if share == 0:
        return data, tests
    n_held = max(1, round(len(data) * share))
    if n_held >= len(data):
        raise ValueError(f"--validation {share:g} leaves none of {len(data)} rows to train on. Lower it, or give more.")
    # Rows are often sorted by their target: those that are held out are drawn from all.
    order = np.random.default_rng(args.seed).permutation(len(data))
    parts = data.rows(np.sort(order[n_held:])), data.rows(np.sort(order[:n_held]))
    return parts[0], {"validation": parts[1], **tests}
