"""Report: how good predictions are, as people look at it: figures, each class or target, and where they are worst."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member, whole
from tinynet.base.frozen import dataclass
from tinynet.base.text import figure
from tinynet.plotting.quality import plot_classes, plot_numbers
from tinynet.training.metrics import METRICS
from tinynet.training.metrics.classes import Counts, f1_of_each, precision_of_each, recall_of_each
from tinynet.training.metrics.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20
"""Classes of which a matrix of all pairs can be read."""


@dataclass(frozen=True)
class Listing:
    """A table for people: a title, the names of its columns, and rows of numbers and texts."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def text(self) -> str:
        """Return it as lines, numbers flush right."""
        cells = [self.head, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.head))]
        right = [all(isinstance(row[i], int | float) for row in self.rows) for i in range(len(self.head))]
        lines = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([f"{self.title}:", *lines])

    def html(self) -> str:
        """Return it as HTML."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.head)
        rows = ("".join(f"<td>{html.escape(_shown(value))}</td>" for value in row) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class Report:
    """How good predictions are, as ``net.report`` returns it; ``print(report)`` shows it, and so does Jupyter.

    Attributes
    ----------
    figures : dict of str to float
        The loss; of numbers the root mean squared and the mean absolute error, and R2; of classes the accuracy, and its
        mean over classes.
    each : Listing or None
        Figures of each class, or of each target where there are several.
    confusion : (n_classes, n_classes) array or None
        How many samples of class i are taken for class j.
    worst : Listing or None
        The samples that are predicted worst, of numbers.
    """

    figures: dict[str, float]
    n_samples: int
    names: tuple[str, ...]
    each: Listing | None
    confusion: NDArray[np.float64] | None
    worst: Listing | None
    _comparison: Comparison = field(compare=False)
    _is_numbers: bool = field(compare=False)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot predicted against true numbers with their residuals; or the confusion matrix and a reliability curve.

        Parameters
        ----------
        path : path, optional
            Where to write the plot: ends in ``.png``, ``.svg`` or ``.pdf``. A file there is replaced atomically.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        DependencyError
            If matplotlib is not installed.
        """
        seen, truth = self._comparison, self._comparison.truth
        if self._is_numbers:
            return plot_numbers(truth.numbers, seen.expected, self.names, path)
        probable = seen.expected if truth.meaning.scale in ("probabilities", "logits") else None
        return plot_classes(self.confusion, self.names, truth.decided, probable, path)

    @property
    def listings(self) -> list[Listing]:
        """All tables."""
        found = [self.each, self._matrix(), self.worst]
        return [listing for listing in found if listing is not None]

    def _matrix(self) -> Listing | None:
        if self.confusion is None or len(self.names) > MOST_CLASSES:
            return None
        counts = [[int(n) if n == int(n) else n for n in row] for row in self.confusion.tolist()]
        rows = tuple((name, *row) for name, row in zip(self.names, counts, strict=True))
        return Listing("confusion (rows are true, columns predicted)", ("", *self.names), rows)

    def __str__(self) -> str:
        lines = [
            f"{'rows':<18}{self.n_samples}",
            *(f"{name:<18}{figure(value)}" for name, value in self.figures.items()),
        ]
        return "\n\n".join(["\n".join(lines), *(listing.text() for listing in self.listings)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        figures = Listing(f"{self.n_samples:,} rows", tuple(self.figures), (tuple(self.figures.values()),))
        return "".join(listing.html() for listing in (figures, *self.listings))


def report_on(
    comparison: Comparison,
    loss: float,
    metadata: Mapping[str, Any],
    *,
    task: str,
    names: Sequence[str] | None,
    worst: int,
    row_names: Iterable[Any] | None,
) -> Report:
    """Return the report of a model, whose metadata name its classes or targets; see ``Sequential.report``."""
    member("task", task, ("auto", "classification", "regression"))
    truth = comparison.truth
    is_numbers = task == "regression" or (task == "auto" and truth.meaning.target == "numbers")
    METRICS["mae" if is_numbers else "accuracy"].check("report", truth, comparison.weight)
    if names is None:
        kept = metadata.get("targets" if is_numbers else "classes")
        n = truth.numbers.shape[1] if is_numbers else truth.n_classes
        names = kept if isinstance(kept, list | tuple) and len(kept) == n else None
    count = whole("worst", worst, at_least=0)
    return report_of(comparison, loss, is_numbers=is_numbers, names=names, worst=count, row_names=row_names)


def report_of(
    comparison: Comparison,
    loss: float,
    *,
    is_numbers: bool,
    names: Sequence[str] | None = None,
    worst: int = 5,
    row_names: Iterable[Any] | None = None,
) -> Report:
    """Return the report of outputs beside their targets.

    Parameters
    ----------
    comparison : Comparison
    loss : float
    is_numbers : bool
        Whether targets are numbers; else they are classes or labels.
    names : sequence of str, optional
        Of the classes, or of the targets; by default their numbers.
    worst : int
        How many of the worst predictions are listed, of numbers.
    row_names : iterable, optional
        What samples are called there; by default their numbers from 0.
    """
    truth = comparison.truth
    expected = truth.numbers.shape[1] if is_numbers else truth.n_classes
    given = tuple(map(str, names)) if names is not None else tuple(map(str, range(expected)))
    if len(given) != expected:
        raise ValueError(
            f"names must have one for each of {expected} {'targets' if is_numbers else 'classes'}; got {given}."
        )
    wanted = ["rmse", "mae", *(["r2"] if len(truth.target) > 1 else [])]  # One sample has no spread.
    if not is_numbers:
        wanted = ["accuracy", *([] if truth.several_labels else ["balanced_accuracy"])]
    figures = {"loss": loss, **{name: METRICS[name].compute(comparison) for name in wanted}}
    if is_numbers:
        each = _each_number(comparison, given, wanted) if len(given) > 1 else None
        listed = _worst(comparison, given, worst, row_names)
        return Report(figures, len(truth.target), given, each, None, listed, comparison, True)
    confusion = None if truth.several_labels else _confusion(comparison)
    each = _each_class(comparison.counts, given)
    return Report(figures, len(truth.target), given, each, confusion, None, comparison, False)


def _each_number(comparison: Comparison, names: tuple[str, ...], wanted: list[str]) -> Listing:
    """Return the figures of each target by itself."""
    truth, rows = comparison.truth, []
    for i, name in enumerate(names):
        one = type(truth)(truth.numbers[:, i : i + 1], truth.meaning.of_expected, 1)
        alone = Comparison(one, comparison.expected[:, i : i + 1], comparison.weight)
        rows.append((name, *(METRICS[figure].compute(alone) for figure in wanted)))
    return Listing("each target", ("target", *wanted), tuple(rows))


def _worst(comparison: Comparison, names: tuple[str, ...], n: int, row_names: Iterable[Any] | None) -> Listing | None:
    """Return the samples with the largest errors, in deviations of their target where there are several."""
    truth, found = comparison.truth.numbers, comparison.expected
    errors = found - truth
    scale = np.ma.masked_invalid(truth).std(axis=0).filled(0.0)  # Targets may have gaps.
    sizes = np.abs(errors) / np.where(scale > 0, scale, 1.0) if len(names) > 1 else np.abs(errors)
    sizes = np.where(np.isnan(sizes), -1.0, sizes)
    which = sizes.argmax(axis=1)
    order = np.argsort(-sizes.max(axis=1), kind="stable")[:n]
    order = order[sizes.max(axis=1)[order] >= 0]
    if not len(order):
        return None
    called = list(range(len(truth))) if row_names is None else list(row_names)
    rows = tuple(
        (called[i], names[which[i]], float(truth[i, which[i]]), float(found[i, which[i]]), float(errors[i, which[i]]))
        for i in order.tolist()
    )
    return Listing("worst", ("row" if row_names is None else "line", "target", "true", "predicted", "error"), rows)


def _each_class(counts: Counts, names: tuple[str, ...]) -> Listing:
    figures = (precision_of_each(counts), recall_of_each(counts), f1_of_each(counts))
    samples = [int(n) if n == int(n) else n for n in counts.true.tolist()]
    rows = zip(names, *(figure.tolist() for figure in figures), samples, strict=True)
    return Listing("each class", ("class", "precision", "recall", "f1", "samples"), tuple(rows))


def _confusion(comparison: Comparison) -> NDArray[np.float64]:
    n = comparison.truth.n_classes
    pairs = comparison.truth.decided * n + comparison.decided
    return np.bincount(pairs, comparison.weight, n * n).reshape(n, n).astype(np.float64)


def _shown(value: Any) -> str:
    return figure(value, 4) if isinstance(value, float) else str(value)
