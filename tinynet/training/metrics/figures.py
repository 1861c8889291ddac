"""Figures of a training: their names, and whether they are the better the lower or the higher they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tinynet.base.checks import member
from tinynet.training.metrics.table import measure_named

Direction = Literal["min", "max"]


def direction(figure: str, mode: str = "auto") -> Direction:
    """Return which way a figure should go.

    Parameters
    ----------
    figure : str
        Its name in the logs.
    mode : {"auto", "min", "max"}
        "auto": by the name.

    Raises
    ------
    TypeError
        If ``figure`` is no name.
    ValueError
        If it is not known: to guess would choose the worst for the best, without a word.

    Examples
    --------
    >>> direction("val_accuracy"), direction("val_loss"), direction("profit", "max")
    ('max', 'min', 'max')
    """
    if not isinstance(figure, str):
        raise TypeError(f"a figure is given by its name, such as 'val_loss'; got {figure!r}.")
    chosen: Direction | Literal["auto"] = member("mode", mode, ("auto", "min", "max"))
    if chosen != "auto":
        return chosen
    known = known_direction(figure)
    if known is None:
        raise ValueError(
            f"mode='auto' expects a loss or a metric of tinynet's, whose direction is known; got {figure!r}. Pass "
            "mode='max' if higher is better, mode='min' if lower is."
        )
    return known


def known_direction(figure: str) -> Direction | None:
    """Return which way a figure should go, if its name tells."""
    name = figure.removeprefix("val_")
    measure = measure_named(name)
    if name == "loss":
        return "min"
    return None if measure is None or measure.rises is None else "max" if measure.rises else "min"


def figures_of(metrics: Iterable[str], validated: bool) -> list[str]:
    """Return the names of the figures of an epoch, in their order.

    Examples
    --------
    >>> figures_of(["r2"], True)
    ['loss', 'r2', 'val_loss', 'val_r2', 'learning_rate']
    """
    names = ["loss", *metrics]
    return [*names, *(f"val_{name}" for name in names if validated), "learning_rate"]
