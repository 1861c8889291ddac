"""Targets: whether they are classes or numbers, and what a network learns in their stead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member
from tinynet.datasets.tables import Dataset

TASKS = ("auto", "classification", "regression")

MOST_CODES = 20
"""Whole numbers of at most this many different values are taken as classes."""

Label = str | int


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
        "auto": labels of images and texts are classes, and so are whole numbers of few different values; else numbers.

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
    if wanted == "regression":
        numbers(data)
        return Task(None)
    single = data.y.ndim == 1
    if wanted == "classification":
        if not single:
            raise ValueError(f"--task classification expects one target; got {len(data.targets)}.")
        return Task(_classes(data))
    if data.labelled:
        return Task(_classes(data))
    first_text = _first_text(data)
    if first_text is not None:
        _require_labels(data, first_text)
        return Task(_classes(data))
    values = numbers(data)
    found = np.unique(values)
    if single and len(found) <= min(MOST_CODES, len(values) // 2) and (found == np.floor(found)).all():
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
    labels = _labels(data, as_text=isinstance(classes[0], str))
    order = np.argsort(np.array(classes))
    known = np.array(classes)[order]
    places = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    wrong = np.flatnonzero(known[places] != labels)
    if len(wrong):
        shown = ", ".join(repr(name) for name in classes[:MOST_CODES]) + ", ..." * (len(classes) > MOST_CODES)
        raise ValueError(
            f"{data.place(int(wrong[0]))}: {labels[wrong[0]].item()!r} is not one of the classes {shown}. "
            "Correct it, or train on data with all classes."
        )
    return order[places]


def numbers(data: Dataset) -> NDArray[np.float64]:
    """Return the targets as finite numbers, (n_samples, n_targets).

    Raises
    ------
    ValueError
        If one is no finite number; the message says where it stands.
    """
    assert data.y is not None
    place = _first_text(data)
    if place is not None:
        raise ValueError(
            f"{data.place(place)}: the target must be a number; got {_text(data, place)!r}. "
            "Correct it, or choose another --target or --task classification."
        )
    values = data.y.astype(np.float64).reshape(len(data), -1)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(f"{data.place(int(bad[0]))}: the target must be finite; got {values[bad[0]]}. Drop the row.")
    return values


def _first_text(data: Dataset) -> int | None:
    """Return the first row whose target is no number, or None."""
    assert data.y is not None
    try:
        data.y.astype(np.float64)
    except (TypeError, ValueError):
        return int(np.flatnonzero(_is_text(data.y.reshape(len(data), -1)).any(axis=1))[0])
    return None


def _is_text(y: NDArray[np.str_]) -> NDArray[np.bool_]:
    result = np.empty(y.shape, bool)
    for place, cell in np.ndenumerate(y):
        try:
            float(cell)
            result[place] = False
        except ValueError:
            result[place] = True
    return result


def _text(data: Dataset, row: int) -> str:
    assert data.y is not None
    return ", ".join(str(cell) for cell in np.atleast_1d(data.y[row]))


def _require_labels(data: Dataset, first_text: int) -> None:
    """Raise ValueError where texts are likelier a slip in a column of numbers than names of classes."""
    assert data.y is not None
    if data.y.ndim > 1:
        numbers(data)
    share = 1 - _is_text(data.y).mean()
    if share > 0.5:
        raise ValueError(
            f"{data.place(first_text)}: the target is {_text(data, first_text)!r}, but {share:.0%} of the targets are "
            "numbers. Correct it, or say --task classification."
        )


def _labels(data: Dataset, as_text: bool) -> NDArray[np.str_] | NDArray[np.int64]:
    """Return the targets as texts, or as whole numbers."""
    assert data.y is not None
    if as_text:
        return data.y.astype(np.str_)
    values = numbers(data)[:, 0]
    broken = np.flatnonzero(values != np.floor(values))
    if len(broken):
        raise ValueError(
            f"{data.place(int(broken[0]))}: classes must be texts or whole numbers; got {values[broken[0]]:g}. "
            "Use --task regression for numbers."
        )
    return values.astype(np.int64)


def _classes(data: Dataset) -> tuple[Label, ...]:
    """Return the different labels, sorted."""
    found: list[Label] = np.unique(_labels(data, as_text=_first_text(data) is not None)).tolist()
    name = data.targets[0]
    if len(found) < 2:
        raise ValueError(
            f"target {name!r} is always {found[0]!r}; expected at least two classes. Choose another --target."
        )
    if len(found) > max(MOST_CODES, len(data) // 2):
        raise ValueError(
            f"target {name!r} has {len(found):,} different values in {len(data):,} rows; classes must repeat. "
            "Choose another --target."
        )
    return tuple(found)
