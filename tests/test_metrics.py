"""Metrics against scikit-learn's: on its own examples, and on random data with weights, through ``evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_outputs import (
    BCE,
    BCE_P,
    CE,
    CE_P,
    CLASSES,
    GUESSED,
    LOGITS,
    NUMBERS,
    ONE_LOGIT,
    PAIR,
    PROBABILITIES,
    RNG,
    SEVERAL,
    SIGMOID,
    TWO_CLASSES,
    WEIGHT,
    K,
    N,
    evaluate,
)
from sklearn import metrics as sk

from tinynet.training.metrics import METRICS


def one_hot(classes: Any, n: int) -> np.ndarray:
    """Outputs, or rows, that decide for these classes."""
    return np.eye(n)[classes]


SIX, SIX_GUESSED = [0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]
BITS, BITS_GUESSED = np.array([[0], [1], [0], [0], [1], [0]]), np.array([[0], [1], [0], [0], [0], [1]])
LABELS = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1]])
LABELS_GUESSED = np.array([[0, 0, 0], [1, 1, 1], [1, 1, 0]])
TWO, TWO_GUESSED = np.array([[0.5, 1], [-1, 1], [7, -6]]), np.array([[0, 2], [-1, 2], [8, -5]])
FOUR, FOUR_GUESSED = np.array([3, -0.5, 2, 7]), np.array([2.5, 0.0, 2, 8])
SPAM = np.array([[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]])
SCORES = np.array([[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]])

# Metric, outputs, targets, loss, and the figure in the docstring of scikit-learn's function of that name.
EXAMPLES: dict[str, tuple[str, Any, Any, Any, float]] = {
    "accuracy_score": ("accuracy", one_hot([0, 2, 1, 3], 4), [0, 1, 2, 3], CE, 0.5),
    "accuracy_score of labels": ("accuracy", 2.0 * np.ones((2, 2)) - 1, [[0, 1], [1, 1]], BCE, 0.5),
    "balanced_accuracy_score": ("balanced_accuracy", BITS_GUESSED - 0.5, BITS, BCE, 0.625),
    "precision_score macro": ("precision_macro", one_hot(SIX_GUESSED, 3), SIX, CE, 2 / 9),
    "precision_score micro": ("precision_micro", one_hot(SIX_GUESSED, 3), SIX, CE, 1 / 3),
    "precision_score weighted": ("precision_weighted", one_hot(SIX_GUESSED, 3), SIX, CE, 2 / 9),
    "precision_score of labels": ("precision", LABELS_GUESSED - 0.5, LABELS, BCE, (0.5 + 1 + 1) / 3),
    "recall_score macro": ("recall_macro", one_hot(SIX_GUESSED, 3), SIX, CE, 1 / 3),
    "recall_score micro": ("recall_micro", one_hot(SIX_GUESSED, 3), SIX, CE, 1 / 3),
    "recall_score of labels": ("recall", LABELS_GUESSED - 0.5, LABELS, BCE, (1 + 1 + 0.5) / 3),
    "f1_score macro": ("f1_macro", one_hot(SIX_GUESSED, 3), SIX, CE, 0.8 / 3),
    "f1_score micro": ("f1_micro", one_hot(SIX_GUESSED, 3), SIX, CE, 1 / 3),
    "f1_score weighted": ("f1_weighted", one_hot(SIX_GUESSED, 3), SIX, CE, 0.8 / 3),
    "f1_score of labels": ("f1", LABELS_GUESSED - 0.5, LABELS, BCE, (2 / 3 + 1 + 2 / 3) / 3),
    "log_loss": ("log_loss", SPAM, [1, 0, 0, 1], CE_P, 0.21616187468057912),
    "roc_curve": ("auc", [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], "mse", 0.75),
    "top_k_accuracy_score": ("top_k", np.log(SCORES), [0, 1, 2, 2], CE, 0.75),
    "mean_squared_error": ("mse", FOUR_GUESSED, FOUR, "mse", 0.375),
    "mean_squared_error of two": ("mse", TWO_GUESSED, TWO, "mse", 0.7083333333333334),
    "root_mean_squared_error": ("rmse", FOUR_GUESSED, FOUR, "mse", 0.6123724356957945),
    "root_mean_squared_error of two": ("rmse", TWO_GUESSED, TWO, "mse", 0.8227486121839513),
    "mean_absolute_error": ("mae", FOUR_GUESSED, FOUR, "mse", 0.5),
    "mean_absolute_error of two": ("mae", TWO_GUESSED, TWO, "mse", 0.75),
    "mean_absolute_percentage_error": ("mape", FOUR_GUESSED, FOUR, "mse", 0.3273809523809524),
    "mean_absolute_percentage_error of two": ("mape", TWO_GUESSED, TWO, "mse", 0.5515873015873016),
    "mean_absolute_percentage_error of 0": (
        "mape",
        [1.2, 0.1, 2.4, 8.1],
        [1.0, 0.0, 2.4, 7.0],
        "mse",
        112589990684262.48,
    ),
    "r2_score": ("r2", FOUR_GUESSED, FOUR, "mse", 0.9486081370449679),
    "r2_score met": ("r2", [1, 2, 3], [1, 2, 3], "mse", 1.0),
    "r2_score of the mean": ("r2", [2, 2, 2], [1, 2, 3], "mse", 0.0),
    "r2_score turned round": ("r2", [3, 2, 1], [1, 2, 3], "mse", -3.0),
    "r2_score of a constant": ("r2", [-2, -2, -2], [-2, -2, -2], "mse", 1.0),
    "r2_score beside a constant": ("r2", [-2, -2, -2 + 1e-8], [-2, -2, -2], "mse", 0.0),
}


@pytest.mark.parametrize(("metric", "outputs", "target", "loss", "figure"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_scikit_learns_own_examples(metric: str, outputs: Any, target: Any, loss: Any, figure: float) -> None:
    assert evaluate(metric, outputs, target, loss) == pytest.approx(figure, rel=1e-12, abs=1e-15)


Reference = Callable[..., float]


def of_classes(function: Reference, **options: Any) -> Reference:
    return lambda weight: function(CLASSES, LOGITS.argmax(axis=1), sample_weight=weight, **options)


def of_two(function: Reference, **options: Any) -> Reference:
    return lambda weight: function(TWO_CLASSES, ONE_LOGIT[:, 0] >= 0, sample_weight=weight, **options)


def of_labels(function: Reference, **options: Any) -> Reference:
    return lambda weight: function(SEVERAL, LOGITS >= 0, sample_weight=weight, **options)


def auc_of_two(weight: Any) -> float:
    return float(sk.roc_auc_score(TWO_CLASSES, ONE_LOGIT, sample_weight=weight))


AVERAGED: dict[str, Reference] = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
RANDOM: dict[str, tuple[str, Any, Any, Any, Reference]] = {
    "accuracy": ("accuracy", LOGITS, CLASSES, CE, of_classes(sk.accuracy_score)),
    "accuracy, probabilities": ("accuracy", PROBABILITIES, CLASSES, CE_P, of_classes(sk.accuracy_score)),
    "accuracy, one-hot": ("accuracy", LOGITS, np.eye(K)[CLASSES], CE, of_classes(sk.accuracy_score)),
    "accuracy, one-hot, mse": ("accuracy", LOGITS, np.eye(K)[CLASSES], "mse", of_classes(sk.accuracy_score)),
    "accuracy, two": ("accuracy", ONE_LOGIT, TWO_CLASSES, BCE, of_two(sk.accuracy_score)),
    "accuracy, two, probabilities": ("accuracy", SIGMOID[:, :1], TWO_CLASSES, BCE_P, of_two(sk.accuracy_score)),
    "accuracy, two, mse": ("accuracy", SIGMOID[:, :1], TWO_CLASSES, "mse", of_two(sk.accuracy_score)),
    "accuracy, labels": ("accuracy", LOGITS, SEVERAL, BCE, of_labels(sk.accuracy_score)),
    "balanced_accuracy": ("balanced_accuracy", LOGITS, CLASSES, CE, of_classes(sk.balanced_accuracy_score)),
    "balanced_accuracy, two": ("balanced_accuracy", ONE_LOGIT, TWO_CLASSES, BCE, of_two(sk.balanced_accuracy_score)),
    "auc": (
        "auc",
        LOGITS,
        CLASSES,
        CE,
        lambda w: sk.roc_auc_score(CLASSES, PROBABILITIES, multi_class="ovr", sample_weight=w),
    ),
    "auc_weighted": (
        "auc_weighted",
        PROBABILITIES,
        CLASSES,
        CE_P,
        lambda w: sk.roc_auc_score(CLASSES, PROBABILITIES, multi_class="ovr", average="weighted", sample_weight=w),
    ),
    "auc, two": (
        "auc",
        ONE_LOGIT,
        TWO_CLASSES,
        BCE,
        auc_of_two,
    ),
    "auc, a pair": ("auc", PAIR, TWO_CLASSES, CE, auc_of_two),
    "auc, labels": ("auc", LOGITS, SEVERAL, BCE, lambda w: sk.roc_auc_score(SEVERAL, LOGITS, sample_weight=w)),
    "log_loss": ("log_loss", LOGITS, CLASSES, CE, lambda w: sk.log_loss(CLASSES, PROBABILITIES, sample_weight=w)),
    "log_loss, probabilities": (
        "log_loss",
        PROBABILITIES,
        np.eye(K)[CLASSES],
        CE_P,
        lambda w: sk.log_loss(CLASSES, PROBABILITIES, sample_weight=w),
    ),
    "log_loss, two": (
        "log_loss",
        ONE_LOGIT,
        TWO_CLASSES,
        BCE,
        lambda w: sk.log_loss(TWO_CLASSES, SIGMOID[:, 0], sample_weight=w),
    ),
    "log_loss, labels": (
        "log_loss",
        SIGMOID,
        SEVERAL,
        BCE_P,
        lambda w: float(np.mean([sk.log_loss(SEVERAL[:, j], SIGMOID[:, j], sample_weight=w) for j in range(K)])),
    ),
    "top_k": ("top_k", LOGITS, CLASSES, CE, lambda w: sk.top_k_accuracy_score(CLASSES, LOGITS, k=2, sample_weight=w)),
    "top_3": ("top_3", LOGITS, CLASSES, CE, lambda w: sk.top_k_accuracy_score(CLASSES, LOGITS, k=3, sample_weight=w)),
    "top_1": ("top_1", LOGITS, CLASSES, CE, lambda w: sk.top_k_accuracy_score(CLASSES, LOGITS, k=1, sample_weight=w)),
    "mse": ("mse", GUESSED, NUMBERS, "mse", lambda w: sk.mean_squared_error(NUMBERS, GUESSED, sample_weight=w)),
    "rmse": ("rmse", GUESSED, NUMBERS, "mse", lambda w: sk.root_mean_squared_error(NUMBERS, GUESSED, sample_weight=w)),
    "mae": ("mae", GUESSED, NUMBERS, "mse", lambda w: sk.mean_absolute_error(NUMBERS, GUESSED, sample_weight=w)),
    "mape": (
        "mape",
        GUESSED,
        NUMBERS,
        "mse",
        lambda w: sk.mean_absolute_percentage_error(NUMBERS, GUESSED, sample_weight=w),
    ),
    "r2": ("r2", GUESSED, NUMBERS, "mse", lambda w: sk.r2_score(NUMBERS, GUESSED, sample_weight=w)),
    "mse of labels": (
        "mse",
        ONE_LOGIT,
        TWO_CLASSES,
        BCE,
        lambda w: sk.brier_score_loss(TWO_CLASSES, SIGMOID[:, 0], sample_weight=w),
    ),
    "mae of counts": (
        "mae",
        LOGITS[:, :1],
        CLASSES,
        "poisson",
        lambda w: sk.mean_absolute_error(CLASSES, np.exp(LOGITS[:, 0]), sample_weight=w),
    ),
}
for name, function in AVERAGED.items():
    for average in ("macro", "micro", "weighted"):
        key = f"{name}_{average}"
        RANDOM[key] = (key, LOGITS, CLASSES, CE, of_classes(function, average=average))
        RANDOM[f"{key}, two"] = (key, ONE_LOGIT, TWO_CLASSES, BCE, of_two(function, average=average))
        RANDOM[f"{key}, labels"] = (key, LOGITS, SEVERAL, BCE, of_labels(function, average=average))
    RANDOM[name] = (name, LOGITS, CLASSES, CE, of_classes(function, average="macro"))
    RANDOM[f"{name}, two"] = (name, ONE_LOGIT, TWO_CLASSES, BCE, of_two(function))
    RANDOM[f"{name}, a pair"] = (name, PAIR, TWO_CLASSES, CE, of_two(function))
    RANDOM[f"{name}, labels"] = (name, LOGITS, SEVERAL, BCE, of_labels(function, average="macro"))


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(("metric", "outputs", "target", "loss", "reference"), RANDOM.values(), ids=RANDOM.keys())
def test_random_data_as_scikit_learn(
    metric: str, outputs: Any, target: Any, loss: Any, reference: Reference, weight: Any
) -> None:
    want = reference(weight)
    assert evaluate(metric, outputs, target, loss, weight) == pytest.approx(want, rel=1e-11, abs=1e-13)
    assert evaluate(metric, outputs, target, loss, weight, "float32") == pytest.approx(want, rel=2e-5, abs=1e-6)


def test_one_against_one_is_scikit_learns() -> None:
    want = sk.roc_auc_score(CLASSES, PROBABILITIES, multi_class="ovo")
    assert evaluate("auc_ovo", LOGITS, CLASSES, CE) == pytest.approx(want, rel=1e-12)
    # Weights that are counts are as many samples; scikit-learn takes none here.
    counts = RNG.integers(0, 3, N)
    counts[:K] = 1
    rows = np.repeat(np.arange(N), counts)
    repeated = evaluate("auc_ovo", LOGITS[rows], CLASSES[rows], CE)
    assert evaluate("auc_ovo", LOGITS, CLASSES, CE, counts) == pytest.approx(repeated, rel=1e-12)


def test_every_metric_is_compared_here() -> None:
    assert set(METRICS) <= {row[0] for row in RANDOM.values()} | {"auc_ovo"}


def test_classes_that_never_come_are_left_out_as_scikit_learn_does() -> None:
    chosen, truth = np.array([0, 2, 2, 1]), np.array([0, 2, 0, 0])  # Nobody is of class 1 or 3, nobody is taken for 3.
    outputs = np.eye(4)[chosen]
    for name, function in AVERAGED.items():
        for average in ("macro", "weighted", "micro"):
            want = function(truth, chosen, average=average, zero_division=0)
            assert evaluate(f"{name}_{average}", outputs, truth, CE) == pytest.approx(want)
    assert evaluate("balanced_accuracy", outputs, truth, CE) == pytest.approx((1 / 3 + 1) / 2)
    assert evaluate("precision", np.full((3, 1), -1.0), [0, 1, 1], BCE) == 0.0


def test_sure_logits_are_still_told_apart() -> None:
    """Probabilities of both are 1 in float64; the logits rank them."""
    assert evaluate("auc", [[50.0], [60.0]], [0, 1], BCE) == 1.0
    assert evaluate("auc", [[-50.0, 50.0], [-60.0, 60.0]], [0, 1], CE) == 1.0
    assert evaluate("log_loss", [[800.0], [-800.0]], [0, 0], BCE) == pytest.approx(400.0)
    assert evaluate("log_loss", [[800.0, 0.0]], [1], CE) == pytest.approx(800.0)


def test_targets_that_are_probabilities_count_as_the_likelier_class() -> None:
    rows, truth = np.array([[0.6, 0.4], [0.1, 0.9]]), [0, 1]
    assert evaluate("accuracy", rows, rows, CE) == 1.0
    assert evaluate("f1", rows, rows, CE) == evaluate("f1", rows, truth, CE)
    want = -(rows * np.log(rows)).sum(axis=1).mean()
    assert evaluate("log_loss", np.log(rows), rows, CE) == pytest.approx(want)
