"""The metrics by name: how each is computed, which way is better, and which targets it is for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member
from tinynet.base.frozen import dataclass
from tinynet.training.metrics import classes, numbers, probabilities
from tinynet.training.metrics.classes import Average, Counts
from tinynet.training.metrics.comparison import Comparison, Truth
from tinynet.training.metrics.numbers import Float64, Weight

Metric = Callable[..., float]
"""A metric of the user's: ``f(prediction, target) -> float``, or ``f(prediction, target, sample_weight)``."""

Check = Callable[[str, Truth, NDArray[Any] | None], None]
"""Raises where a metric, by its name, is not for some targets with their weights: None, or (..., n_samples)."""


def no_check(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    """Take any targets."""


@dataclass(frozen=True)
class Measure:
    """How a metric is computed.

    Attributes
    ----------
    compute : callable
        Returns the figure of a ``Comparison``.
    rises : bool or None
        Whether higher is better. None: nobody knows, as of a metric of the user's.
    check : callable
        Raises before training where the targets are not for it.
    """

    compute: Callable[[Comparison], float]
    rises: bool | None = None
    check: Check = no_check


# -- which targets a metric is for -----------------------------------------------------------------------------------


def _numbers(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    if truth.target.ndim == 1:
        raise ValueError(
            f"{name} compares numbers; the targets are class numbers. Take a metric of classes, such as 'accuracy' or "
            "'log_loss', or pass one-hot rows."
        )


def _spread(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    _numbers(name, truth, weights)
    if len(truth.target) < 2:
        raise ValueError(f"{name} compares with the spread of the targets; got one sample, which has none. Pass more.")


def _decisions(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    if truth.gaps:
        raise ValueError(
            f"{name} expects the class of each sample; got NaN in y. Leave such rows out, or take a metric of numbers."
        )
    if truth.meaning.target == "numbers":
        raise ValueError(
            f"{name} is for classes; to this loss the targets are numbers, and they are neither one-hot rows nor a "
            "column of 0 and 1. Take a metric of numbers, such as 'r2' or 'mae', or a loss of classes."
        )
    truth.meaning.decided(np.empty((0, truth.n_out)))  # It tells if it cannot.


def _one_class(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    _decisions(name, truth, weights)
    if truth.several_labels:
        raise ValueError(
            f"{name} is for one class of each sample; to this loss a target is several labels. Take 'accuracy', 'f1', "
            "'precision', 'recall', 'auc' or 'log_loss'."
        )


def _likeliest(name: str, truth: Truth, weights: NDArray[Any] | None, k: int) -> None:
    _one_class(name, truth, weights)
    if truth.n_classes <= k:
        raise ValueError(f"{name} expects more than {k} classes, or all are right; got {truth.n_classes}.")


def _probabilities(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    _decisions(name, truth, weights)
    if truth.meaning.scale not in ("probabilities", "logits"):
        raise ValueError(
            f"{name} expects outputs that are probabilities; those of this network are other numbers. End it in "
            f"{'Sigmoid' if truth.meaning.target == 'labels' else 'Softmax'}, or train on a cross-entropy."
        )


def _ranks(name: str, truth: Truth, weights: NDArray[Any] | None) -> None:
    """Check that each class, or label, is told from something: it has samples of weight, and others have, too."""
    if truth.meaning.target == "labels":
        positive = truth.target >= 0.5  # Outputs need only rise with the probability.
    else:
        _probabilities(name, truth, weights)
        positive = truth.decided[:, np.newaxis] == np.arange(truth.n_classes)
    for weight in [np.ones(len(positive))] if weights is None else np.atleast_2d(weights):
        for place, which in enumerate(positive.T):
            what = f"{'class' if truth.meaning.target == 'classes' else 'label'} {place}"
            if not weight[which].any():
                raise ValueError(f"{name} expects samples of each class; got none of {what} with a weight above 0.")
            if not weight[~which].any():
                raise ValueError(f"{name} expects samples that are not of {what}, too; got no other with a weight.")


# -- the metrics -----------------------------------------------------------------------------------------------------


def _of_numbers(function: Callable[[Float64, Float64, Weight], float], check: Check = _numbers) -> Measure:
    rises = function is numbers.r2_score

    def compute(c: Comparison) -> float:
        if c.truth.gaps:
            return numbers.of_measured(function, c.expected, c.truth.numbers, c.weight)
        return function(c.expected, c.truth.numbers, c.weight)

    return Measure(compute, rises, check)


def _of_counts(function: Callable[..., float], check: Check = _decisions, **options: Average) -> Measure:
    return Measure(lambda c: function(c.counts, **options), True, check)


def _averages(name: str, function: Callable[[Counts, Average], float]) -> dict[str, Measure]:
    """Return a metric with its ways to average over classes, by name."""
    kinds = {"": "default", "_macro": "macro", "_micro": "micro", "_weighted": "weighted"}
    return {name + end: _of_counts(function, average=cast(Average, kind)) for end, kind in kinds.items()}


def _auc(c: Comparison, of_classes: Callable[..., float]) -> float:
    """Return the area under the ROC curve: of labels, of two classes, or, as ``of_classes`` says, of more."""
    truth = c.truth
    if truth.meaning.target == "labels":
        return probabilities.auc_of_labels(c.outputs, truth.target >= 0.5, c.weight)
    if truth.n_classes == 2:
        # The difference ranks as the probability of class 1 does, which rounds to 1 for many logits.
        return probabilities.area_under_roc(c.outputs[:, 1] - c.outputs[:, 0], truth.decided == 1, c.weight)
    return of_classes(c.expected, truth.decided, c.weight)


def _log_loss(c: Comparison) -> float:
    meaning = c.truth.meaning
    function = probabilities.log_loss_of_labels if meaning.target == "labels" else probabilities.log_loss
    return function(c.outputs, c.truth.numbers, c.weight, logits=meaning.scale == "logits")


def _top(k: int) -> Measure:
    def share(c: Comparison) -> float:
        return probabilities.top_k(c.outputs.astype(np.float64), c.truth.decided, k, c.weight)

    return Measure(share, True, lambda name, truth, weights: _likeliest(name, truth, weights, k))


METRICS: dict[str, Measure] = {
    "accuracy": Measure(lambda c: classes.accuracy(c.decided, c.truth.decided, c.weight), True, _decisions),
    "balanced_accuracy": _of_counts(classes.balanced_accuracy, _one_class),
    **_averages("precision", classes.precision),
    **_averages("recall", classes.recall),
    **_averages("f1", classes.f1),
    "auc": Measure(partial(_auc, of_classes=probabilities.auc_one_vs_rest), True, _ranks),
    "auc_weighted": Measure(
        partial(_auc, of_classes=partial(probabilities.auc_one_vs_rest, by_weight=True)), True, _ranks
    ),
    "auc_ovo": Measure(partial(_auc, of_classes=probabilities.auc_one_vs_one), True, _ranks),
    "log_loss": Measure(_log_loss, False, _probabilities),
    "top_k": _top(2),
    "mse": _of_numbers(numbers.mean_squared_error),
    "rmse": _of_numbers(numbers.root_mean_squared_error),
    "mae": _of_numbers(numbers.mean_absolute_error),
    "mape": _of_numbers(numbers.mean_absolute_percentage_error),
    "r2": _of_numbers(numbers.r2_score, _spread),
}
"""The metrics of tinynet. "top_3" and so on are "top_k" with another number than 2."""


def measure_named(name: str) -> Measure | None:
    """Return the metric of a name; None if there is none.

    Examples
    --------
    >>> measure_named("top_5").rises, measure_named("auk")
    (True, None)
    """
    number = re.fullmatch(r"top_([1-9]\d*)", name)
    return METRICS.get(name) if number is None else _top(int(number[1]))


def get_metrics(specs: str | Metric | Iterable[str | Metric]) -> dict[str, Measure]:
    """Return metrics by name, from names or functions of the user's.

    Raises
    ------
    TypeError, ValueError
        If one is neither, or two have one name, or one has a name that trainings use for something else.

    Examples
    --------
    >>> sorted(get_metrics(["mae", "r2"]))
    ['mae', 'r2']
    """
    if isinstance(specs, str) or callable(specs):
        specs = [specs]
    if not isinstance(specs, Iterable):
        raise TypeError(
            f"metrics expects names and functions, or a list of them; got {specs!r}. Leave it out for none."
        )
    found: dict[str, Measure] = {}
    for spec in specs:
        if isinstance(spec, type) or not (isinstance(spec, str) or callable(spec)):
            what = f"the class {spec.__name__}" if isinstance(spec, type) else repr(spec)
            raise TypeError(
                f"metrics expects names, such as 'accuracy', and functions f(prediction, target) -> float; got {what}."
            )
        name = spec if isinstance(spec, str) else getattr(spec, "__name__", type(spec).__name__)
        if name in found or name in ("loss", "learning_rate"):
            raise ValueError(
                f"metrics expects names that differ from each other and from 'loss' and 'learning_rate'; got {name!r} "
                f"{'twice' if name in found else 'for one'}. Give that function another __name__."
            )
        if isinstance(spec, str):
            measure = measure_named(spec)
            found[name] = METRICS[member("metric", spec, METRICS)] if measure is None else measure
        else:
            found[name] = _of_user(spec)
    return found


def _of_user(function: Metric) -> Measure:
    """Return a function of the user's as a metric; it gets sample weights if it asks for them by name."""
    try:
        weighs = "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # Some functions written in C do not tell.
        weighs = False

    def compute(c: Comparison) -> float:
        found = function(c.outputs, c.truth.target, *([c.weight] if weighs else []))
        if np.size(found) != 1:
            name = getattr(function, "__name__", type(function).__name__)
            raise TypeError(
                f"a metric returns one number; {name} returned an array of shape {np.shape(found)}. Take its mean, for "
                "instance."
            )
        return float(np.reshape(found, ()))

    return Measure(compute)
