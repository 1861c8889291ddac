"""Metrics of decisions: which classes, or labels, are taken for right. The formulas are those of scikit-learn.

All take ``chosen`` and ``truth``: (n_samples,) class numbers, or (n_samples, n_labels) bool; and (n_samples,) weights,
or None.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.training.metrics.numbers import Float64, Weight

Average = Literal["default", "macro", "micro", "weighted"]


def accuracy(chosen: NDArray[Any], truth: NDArray[Any], weight: Weight = None) -> float:
    """Share of samples whose class, or whose labels all, are right.

    Examples
    --------
    >>> accuracy(np.array([1, 0]), np.array([1, 1]))
    0.5
    """
    right = chosen == truth
    return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weight))


@dataclass(frozen=True)
class Counts:
    """How much weight of the samples each class, or label, has.

    Attributes
    ----------
    hit, chosen, true : (n_classes,) arrays
        Weight of samples that are rightly taken for the class, that are taken for it, and that are of it.
    occurs : (n_classes,) bool array
        Whether any sample is of the class, or is taken for it.
    two : bool
        Whether these are two classes, told apart by one answer: class 1 or not.
    """

    hit: Float64
    chosen: Float64
    true: Float64
    occurs: NDArray[np.bool_]
    two: bool

    @classmethod
    def of(cls, chosen: NDArray[Any], truth: NDArray[Any], n_classes: int, weight: Weight = None) -> Counts:
        """Count decisions; see the top of the module."""
        if truth.ndim == 2:
            share = np.ones((len(truth), 1)) if weight is None else weight[:, np.newaxis]
            hit, taken, true = ((share * which).sum(axis=0) for which in (chosen & truth, chosen, truth))
            return cls(hit, taken, true, np.ones(n_classes, bool), two=False)
        right = chosen == truth
        hit = np.bincount(truth[right], None if weight is None else weight[right], n_classes)
        taken, true = (np.bincount(which, weight, n_classes) for which in (chosen, truth))
        occurs = (np.bincount(chosen, None, n_classes) + np.bincount(truth, None, n_classes)) > 0
        return cls(hit.astype(np.float64), taken.astype(np.float64), true.astype(np.float64), occurs, n_classes == 2)

    def averaged(self, numerator: Float64, denominator: Float64, average: Average) -> float:
        """Return a quotient over the classes; 0 where it is of nothing.

        Parameters
        ----------
        numerator, denominator : (n_classes,) arrays
        average : {"default", "macro", "micro", "weighted"}
            "default": that of class 1 if there are two classes, else "macro". "macro": the mean over the classes that
            occur. "micro": of the sums over classes. "weighted": the mean by the weight of each class.
        """
        if average == "micro":
            return float(_quotient(numerator.sum(), denominator.sum()))
        each = _quotient(numerator, denominator)
        if average == "default" and self.two:
            return float(each[1])
        if average == "weighted":
            return float(_quotient((each * self.true).sum(), self.true.sum()))
        return float(each[self.occurs].mean())


def precision(counts: Counts, average: Average = "default") -> float:
    """Share of what is taken for a class that is of it.

    Examples
    --------
    >>> precision(Counts.of(np.array([1, 1, 0]), np.array([1, 0, 1]), 2))
    0.5
    """
    return counts.averaged(counts.hit, counts.chosen, average)


def precision_of_each(counts: Counts) -> Float64:
    """Precision of each class, (n_classes,)."""
    return np.asarray(_quotient(counts.hit, counts.chosen))


def recall_of_each(counts: Counts) -> Float64:
    """Recall of each class, (n_classes,)."""
    return np.asarray(_quotient(counts.hit, counts.true))


def f1_of_each(counts: Counts) -> Float64:
    """F1 of each class, (n_classes,)."""
    return np.asarray(_quotient(2.0 * counts.hit, counts.chosen + counts.true))


def recall(counts: Counts, average: Average = "default") -> float:
    """Share of what is of a class that is taken for it."""
    return counts.averaged(counts.hit, counts.true, average)


def f1(counts: Counts, average: Average = "default") -> float:
    """Harmonic mean of precision and recall, ``2 hit / (chosen + true)`` (van Rijsbergen 1979, ch. 7)."""
    return counts.averaged(2.0 * counts.hit, counts.chosen + counts.true, average)


def balanced_accuracy(counts: Counts) -> float:
    """Mean of the recall over classes that there are samples of (Brodersen et al. 2010)."""
    there = counts.true > 0
    return float((counts.hit[there] / counts.true[there]).mean())


def _quotient(numerator: Any, denominator: Any) -> Any:
    there = np.asarray(denominator) > 0
    return np.where(there, numerator / np.where(there, denominator, 1.0), 0.0)
