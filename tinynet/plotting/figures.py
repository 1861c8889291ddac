"""Figures: empty ones, and ones that are written to files; they need matplotlib."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tinynet.base.checks import member
from tinynet.base.errors import requires
from tinynet.exchange.atomic import atomic_open

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: str | os.PathLike[str] | None = None) -> None:
    """Raise now what a plot would raise after a long training: DependencyError or ValueError."""
    if path is not None:
        member("the ending of a plot's name", Path(path).suffix, FORMATS)
    empty_figure(1, 1)


def written_figure(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Return a figure; with a path, write it there, atomically, in the format that the name ends in."""
    if path is not None:
        with atomic_open(path) as file:
            figure.savefig(file, format=Path(path).suffix[1:], dpi=150)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise requires("matplotlib", "A plot", "pip install matplotlib") from error
    from tinynet.plotting.shown import ShownFigure

    return ShownFigure(figsize=(width, height), layout="constrained")
