"""Targets: whether they are classes or numbers, and what a network learns in their stead."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member
from tinynet.base.frozen import dataclass
from tinynet.datasets.cells import DECIMALS, as_numbers, as_values, is_missing, is_number
from tinynet.datasets.tables import Dataset

TASKS = ("auto", "classification", "regression")

MOST_CODES = 20
"""Whole numbers of at most this many different values are taken as classes."""

Label = str | int

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,14})([.,]0*)?|[+-]?[0-9][.,][0-9]*[eE][+-][0-9]{2}")
"""Whole numbers as people and programs write them. What else has the value of one, 00501 or 1e5, is the name of a class
as it stands: two such texts may be two names of one value."""

_DIGITS, _PADDED = re.compile("[+-]?[0-9]+"), re.compile("[+-]?0[0-9]+")


@dataclass(frozen=True)
class Task:
    """What is learned: one of ``classes``, or numbers where that is None; ``reason`` says why, where it is a guess."""

    classes: tuple[Label, ...] | None
    reason: str = ""


def find_task(data: Dataset, wanted: str = "auto") -> Task:
    """Tell whether the targets are classes or numbers.

    Parameters
    ----------
    data : Dataset
    wanted : {"auto", "classification", "regression"}
        "auto": labels of images and words are classes, and so are whole numbers of few different values, or with
        leading zeros; else numbers.

    Raises
    ------
    ValueError
        If the targets do not fit what is wanted.

    Examples
    --------
    >>> from tinynet.datasets import sine
    >>> find_task(sine(5))
    Task(classes=None, reason='')
    """
    member("--task", wanted, TASKS)
    assert data.y is not None
    single = data.y.ndim == 1
    if data.target_gaps and wanted != "classification" and _has_gaps(data):
        numbers(data)
        return Task(None)
    if wanted == "classification" and not single:
        raise ValueError(f"--task classification expects one target; got {len(data.targets)}.")
    if wanted == "regression" or not single:
        numbers(data)
        return Task(None)
    if wanted == "classification" or data.labelled:
        return Task(_classes(data))
    if _is_text(data):
        texts: list[str] = data.y.tolist()
        if as_numbers(texts, data.decimal) is None:
            _require_labels(data, texts)
            return Task(_classes(data), _words_for_missing(texts))
        if _are_codes(texts):
            return Task(_classes(data), "as they have leading zeros; --task regression takes them as numbers")
    values = numbers(data)
    found = np.unique(values)
    if len(found) <= min(MOST_CODES, len(values) // 2) and (found == np.floor(found)).all():
        return Task(_classes(data), "whole numbers of few values; --task regression takes them as numbers")
    return Task(None)


def encode(data: Dataset, classes: tuple[Label, ...] | None) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return the targets as class numbers from 0, (n_samples,) int64, or as numbers, (n_samples, n_targets) float64.

    Raises
    ------
    ValueError
        If a target is not one of the classes, or no number.

    Examples
    --------
    >>> data = Dataset(np.zeros((3, 1)), np.array(["b", "a", "b"]), None, ("t",), "here")
    >>> encode(data, ("a", "b"))
    array([1, 0, 1])
    """
    if classes is None:
        return numbers(data)
    numbers_of = {label: number for number, label in enumerate(classes)}
    labels, rows = _labels(data, as_text=isinstance(classes[0], str))
    places = np.array([numbers_of.get(label, -1) for label in labels])[rows]
    wrong = np.flatnonzero(places < 0)
    if len(wrong):
        shown = ", ".join(repr(name) for name in classes[:MOST_CODES]) + ", ..." * (len(classes) > MOST_CODES)
        raise ValueError(
            f"{data.place(int(wrong[0]))}: {labels[rows[wrong[0]]]!r} is not one of the classes {shown}. "
            "Correct it, or train on data with all classes."
        )
    return places


def numbers(data: Dataset) -> NDArray[np.float64]:
    """Return the targets as finite numbers, (n_samples, n_targets); true and false are 1 and 0; NaN is one that misses.

    Raises
    ------
    ValueError
        If one is no finite number; the message says where it stands.
    """
    assert data.y is not None
    table = data.y.reshape(len(data), -1)
    if not _is_text(data):
        values = table.astype(np.float64)
    else:
        columns = [_values_of(column.tolist(), data) for column in table.T]
        found = [column for column in columns if column is not None]
        if len(found) < len(columns):
            raise _no_number(data, table[:, [column is None for column in columns]])
        values = np.column_stack(found)
    known = np.isfinite(values) | (np.isnan(values) & data.target_gaps)
    bad = np.flatnonzero(~known.all(axis=1))
    if len(bad):
        raise ValueError(f"{data.place(int(bad[0]))}: the target must be finite; got {values[bad[0]]}. Drop the row.")
    return values


def _has_gaps(data: Dataset) -> bool:
    """Tell whether a target is missing."""
    assert data.y is not None
    if _is_text(data):
        return any(map(is_missing, data.y.ravel().tolist()))
    return data.y.dtype.kind == "f" and bool(np.isnan(data.y).any())


def _values_of(cells: list[str], data: Dataset) -> NDArray[np.float64] | None:
    """Return a column of targets as numbers, NaN where one is missing and may be; None if a cell is no number."""
    gaps = np.array([data.target_gaps and is_missing(cell) for cell in cells])
    values = np.full(len(cells), np.nan)
    found = as_values([cell for cell, gap in zip(cells, gaps, strict=True) if not gap], data.decimal)
    if found is None:
        return None
    values[~gaps] = found
    return values


def _is_text(data: Dataset) -> bool:
    assert data.y is not None
    return data.y.dtype.kind == "U"


def _no_number(data: Dataset, table: NDArray[np.str_]) -> ValueError:
    """Word the error for the first target that is no number, in columns that have some."""
    assert data.y is not None
    row, cell = next(
        (row, cell)
        for (row, _), cell in np.ndenumerate(table)
        if not is_number(cell, data.decimal) and not (data.target_gaps and is_missing(cell))
    )
    if is_missing(cell):
        return ValueError(f"{data.place(row)}: the target is missing (got {cell!r}). Fill it in, or drop the line.")
    remedy = _decimal_remedy(data, [cell]) or "Correct it, or choose another --target or --task classification."
    shown = ", ".join(np.atleast_1d(data.y[row]).tolist())
    return ValueError(f"{data.place(row)}: the target must be a number; got {shown!r}. {remedy}")


def _decimal_remedy(data: Dataset, cells: Sequence[str]) -> str:
    """Return what to do about cells that are numbers with the other decimal mark; an empty text if they are not."""
    mark = DECIMALS[1 - DECIMALS.index(data.decimal)]
    if not all(is_number(cell, mark) for cell in cells):
        return ""
    return f"If {mark!r} is the decimal mark, say --decimal {mark}; if this is a class, --task classification."


def _require_labels(data: Dataset, texts: Sequence[str]) -> None:
    """Raise ValueError where words are likelier a slip in a column of numbers than names of classes."""
    words = [row for row, text in enumerate(texts) if not is_number(text, data.decimal)]
    place, word, share = data.place(words[0]), texts[words[0]], 1 - len(words) / len(texts)
    if share and all(is_missing(texts[row]) for row in words):
        raise ValueError(
            f"{place}: the target is missing (got {word!r}), as all others are numbers. Fill it in, or drop the line, "
            "or say --task classification if it is a class."
        )
    remedy = _decimal_remedy(data, [texts[row] for row in words])
    if share > 0.5:
        raise ValueError(
            f"{place}: the target is {word!r}, but {share:.0%} of the targets are numbers. "
            f"{remedy or 'Correct it, or say --task classification.'}"
        )
    if remedy:
        raise ValueError(f"{place}: the target must be a number or a word; got {word!r}. {remedy}")


def _words_for_missing(texts: Sequence[str]) -> str:
    """Tell which classes are words that may have been meant as missing values."""
    found = sorted({text for text in texts if is_missing(text)})
    return f"{', '.join(found)} among them; --missing-words {','.join(found)} says that it is none" if found else ""


def _are_codes(texts: Sequence[str]) -> bool:
    """Tell whether whole numbers have leading zeros."""
    return all(map(_DIGITS.fullmatch, texts)) and any(map(_PADDED.fullmatch, texts))


def _labels(data: Dataset, as_text: bool) -> tuple[list[Label], NDArray[np.intp]]:
    """Return the different targets, as texts or else as whole numbers where they are, and which one each row has."""
    assert data.y is not None
    found, rows = np.unique(data.y.astype(np.str_) if as_text else data.y, return_inverse=True)
    values: list[Label] = found.tolist()
    return values if as_text else [_label(value, data.decimal) for value in values], rows


def _label(value: Label | float, decimal: str) -> Label:
    """Return a target as a whole number if it is written as one, else as it is."""
    number: float = value if not isinstance(value, str) else 0.5
    if isinstance(value, str) and _WHOLE.fullmatch(value) and is_number(value, decimal):
        number = float(value.replace(decimal, "."))
    return int(number) if float(number).is_integer() else value  # type: ignore[return-value]


def _classes(data: Dataset) -> tuple[Label, ...]:
    """Return the different labels, sorted."""
    labels, rows = _labels(data, as_text=False)
    found = list(dict.fromkeys(labels))
    _require_whole(data, labels, rows)
    if not all(isinstance(label, int) for label in found):
        found = _labels(data, as_text=True)[0]
    name = data.targets[0]
    if len(found) < 2:
        raise ValueError(
            f"target {name!r} is always {found[0]!r}; expected at least two classes. Choose another --target."
        )
    if len(found) > max(MOST_CODES, len(data) // 2):
        raise ValueError(
            f"target {name!r} has {len(found):,} different values in {len(data):,} rows; classes must repeat. "
            "Choose another --target, or --task regression for numbers."
        )
    return tuple(sorted(found))


def _require_whole(data: Dataset, labels: Sequence[Label], rows: NDArray[np.intp]) -> None:
    """Raise ValueError for numbers that are not whole where all labels are numbers."""
    values = labels if not _is_text(data) else as_numbers([str(label) for label in labels], data.decimal)
    if values is None:
        return
    broken = [i for i, value in enumerate(values) if not float(value).is_integer()]
    if broken:
        row = int(np.flatnonzero(rows == broken[0])[0])
        raise ValueError(
            f"{data.place(row)}: classes must be texts or whole numbers; got {values[broken[0]]:g}. "
            "Use --task regression for numbers."
        )
