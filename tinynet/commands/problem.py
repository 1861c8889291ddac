"""The problem that ``tinynet train`` solves: its data, what is held out of them, and what is to be learned."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.commands.networks import Scaling
from tinynet.commands.notes import Notes
from tinynet.datasets import Dataset, read, read_known, sine
from tinynet.datasets.targets import encode, find_task

Pair = tuple[NDArray[Any], NDArray[Any]]
Say = Callable[[str, str], None]
"""Prints a line: what it is about, and the text."""


@dataclass(frozen=True)
class Problem:
    """Data to train on, with what is held out, and how to speak of it.

    Attributes
    ----------
    notes : Notes
    train, held : (x, y)
        ``held`` is None if nothing is held out.
    held_name : str
        "validation", or "test" for a test set that came with the data.
    scaling : Scaling or None
        Of targets that are numbers.
    """

    notes: Notes
    train: Pair
    held: Pair | None
    held_name: str
    scaling: Scaling | None


def read_problem(args: argparse.Namespace, say: Say) -> Problem:
    """Read the data and hold some of them out."""
    if args.data is None:
        data, test = sine(seed=args.seed), None
    else:
        data, test = read(args.data, args.target, args.ignore)
    say("data", f"{data.source}: {len(data):,} rows, {data.x.shape[1]:,} features")
    task = find_task(data, args.task)
    notes = Notes(data.features, data.targets, task.classes)
    reason = f" ({task.reason})" if task.reason else ""
    say("target", f"{', '.join(data.targets)}: {_describe(task.classes)}{reason}")
    train, held, held_name = _hold_out(args, data, test)
    if held is not None:
        say("held out", f"{len(held):,} {held_name} rows; trained on {len(train):,}")
    pairs = [None if part is None else (part.x, encode(part, task.classes)) for part in (train, held)]
    assert pairs[0] is not None
    scaling = Scaling.of(pairs[0][1]) if task.classes is None and args.data is not None else None
    return Problem(notes, pairs[0], pairs[1], held_name, scaling)


def _describe(classes: tuple[Any, ...] | None) -> str:
    if classes is None:
        return "numbers"
    shown = ", ".join(str(name) for name in classes[:10]) + ", ..." * (len(classes) > 10)
    return f"{len(classes)} classes: {shown}"


def _hold_out(args: argparse.Namespace, data: Dataset, test: Dataset | None) -> tuple[Dataset, Dataset | None, str]:
    """Return what to train on, what to test on, and what to call that."""
    if isinstance(args.validation, str):
        held = read_known(args.validation, data.features, data.targets, with_targets=True, target=args.target)
        return data, held, "validation"
    if args.validation is None and test is not None:
        return data, test, "test"
    share = 0.2 if args.validation is None else args.validation
    if share == 0:
        return data, None, ""
    n_held = max(1, round(len(data) * share))
    if n_held >= len(data):
        raise ValueError(f"--validation {share:g} leaves none of {len(data)} rows to train on. Lower it, or give more.")
    # Rows are often sorted by their target: those that are held out are drawn from all.
    order = np.random.default_rng(args.seed).permutation(len(data))
    return data.rows(np.sort(order[n_held:])), data.rows(np.sort(order[:n_held])), "validation"
