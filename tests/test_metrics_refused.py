"""Metrics that are not for such targets, and what users pass as metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_outputs import (
    BCE,
    CE,
    CLASSES,
    GUESSED,
    LOGITS,
    NUMBERS,
    ONE_LOGIT,
    SEVERAL,
    TWO_CLASSES,
    WEIGHT,
    K,
    N,
    evaluate,
)

import tinynet as tn


def build() -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 3), seed=0, backend="numpy")


REFUSED: dict[str, tuple[str, Any, Any, Any, str]] = {
    "accuracy of numbers": (
        "accuracy",
        GUESSED,
        NUMBERS,
        "mse",
        "accuracy is for classes; to this loss the targets are",
    ),
    "accuracy of -1 and 1": ("accuracy", ONE_LOGIT, 2 * TWO_CLASSES - 1, "mse", "accuracy is for classes"),
    "accuracy of counts": ("accuracy", ONE_LOGIT, TWO_CLASSES, "poisson", "accuracy is for classes"),
    "f1 of numbers": ("f1_macro", GUESSED, NUMBERS, "mse", "f1_macro is for classes"),
    "auc of numbers": ("auc", GUESSED, NUMBERS, "mse", "auc is for classes"),
    "balanced accuracy of labels": ("balanced_accuracy", LOGITS, SEVERAL, BCE, "is for one class of each sample"),
    "top_k of labels": ("top_k", LOGITS, SEVERAL, BCE, "is for one class of each sample"),
    "top_k of all": ("top_4", LOGITS, CLASSES, CE, "top_4 expects more than 4 classes"),
    "top_k of two": ("top_k", ONE_LOGIT, TWO_CLASSES, BCE, "top_k expects more than 2 classes"),
    "r2 of class numbers": ("r2", LOGITS, CLASSES, CE, "r2 compares numbers; the targets are class numbers"),
    "r2 of one sample": ("r2", GUESSED[:1], NUMBERS[:1], "mse", "got one sample"),
    "log_loss of values": ("log_loss", ONE_LOGIT, TWO_CLASSES, "mse", "End it in Sigmoid"),
    "log_loss of rows": ("log_loss", LOGITS, np.eye(K)[CLASSES], "mse", "End it in Softmax"),
    "auc without a class": ("auc", LOGITS, CLASSES % 3, CE, "auc expects samples of each class; got none of class 3"),
    "auc of one class": ("auc", ONE_LOGIT, np.ones(N), BCE, "auc expects samples that are not of label 0"),
    "auc of labels": ("auc", LOGITS, SEVERAL * [1, 1, 0, 1], BCE, "got none of label 2"),
    "no such metric": ("acc", LOGITS, CLASSES, CE, "metric must be one of.*Did you mean 'accuracy'"),
    "top_0": ("top_0", LOGITS, CLASSES, CE, "metric must be one of"),
}


@pytest.mark.parametrize(("metric", "outputs", "target", "loss", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_metric_that_is_not_for_such_targets(metric: str, outputs: Any, target: Any, loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(metric, outputs, target, loss)


def test_auc_expects_weight_on_both_sides() -> None:
    with pytest.raises(ValueError, match="none of label 0 with a weight above 0"):
        evaluate("auc", ONE_LOGIT, TWO_CLASSES, BCE, 1.0 - TWO_CLASSES)


@pytest.mark.parametrize("use", ["fit", "validation", "ensemble", "sweep"])
def test_a_metric_is_refused_before_anything_is_trained(use: str) -> None:
    net, truth = build(), np.eye(3)[CLASSES % 3]
    models = tn.Ensemble(net, 2)
    before = net.flat_parameters().tobytes(), models.get_weights()[0].tobytes()
    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: net.fit(GUESSED, NUMBERS, metrics="accuracy"),
        "validation": lambda: net.fit(GUESSED, truth, validation_data=(GUESSED, NUMBERS), metrics="accuracy"),
        "ensemble": lambda: models.fit(GUESSED, NUMBERS, metrics="accuracy"),
        "sweep": lambda: tn.sweep(build, {"learning_rate": [0.1]}, GUESSED, NUMBERS, metrics="accuracy"),
    }
    with pytest.raises(ValueError, match="accuracy is for classes"):
        calls[use]()
    assert (net.flat_parameters().tobytes(), models.get_weights()[0].tobytes()) == before
    assert net.history is None
    assert models.history is None


class Guess(tn.MeanSquaredError):
    """A loss in Python, which does not tell what outputs are."""

    targets = None

    def forward(self, prediction: Any, target: Any) -> float:
        return float(np.mean((prediction - target) ** 2))

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        return 2 * (prediction - target) / prediction.size


def test_a_loss_in_python_that_does_not_tell_is_asked() -> None:
    with pytest.raises(ValueError, match="from_logits = True in its class"):
        evaluate("accuracy", ONE_LOGIT, TWO_CLASSES, Guess())
    assert evaluate("auc", ONE_LOGIT, TWO_CLASSES, Guess()) == evaluate("auc", ONE_LOGIT, TWO_CLASSES, BCE)

    class Telling(Guess):
        targets = "labels"
        from_logits = True

    assert evaluate("accuracy", ONE_LOGIT, TWO_CLASSES, Telling()) == evaluate("accuracy", ONE_LOGIT, TWO_CLASSES, BCE)


# -- metrics of the user's -------------------------------------------------------------------------------------------


def largest(prediction: np.ndarray, target: np.ndarray) -> float:
    return float(np.abs(prediction - target).max())


def heavy(prediction: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None) -> float:
    return 0.0 if sample_weight is None else float(sample_weight.sum())


def test_metrics_of_the_users() -> None:
    assert evaluate(largest, GUESSED, NUMBERS) == pytest.approx(np.abs(GUESSED - NUMBERS).max())
    assert evaluate(heavy, GUESSED, NUMBERS) == 0.0
    assert evaluate(heavy, GUESSED, NUMBERS, weight=WEIGHT) == pytest.approx(WEIGHT.sum())


@pytest.mark.parametrize("metrics", [["mae", "mae"], [largest, largest], [lambda p, t: 0.0, lambda p, t: 1.0]])
def test_two_metrics_of_one_name_are_refused(metrics: Any) -> None:
    net = tn.Sequential(tn.Linear(3, 3), backend="numpy")
    with pytest.raises(ValueError, match="twice"):
        net.fit(GUESSED, NUMBERS, metrics=metrics)


@pytest.mark.parametrize("metrics", [None, 5, [5], tn.MeanSquaredError, ["mae", None]])
def test_what_is_no_metric(metrics: Any) -> None:
    with pytest.raises(TypeError, match=r"metrics expects names.* got"):
        tn.Sequential(tn.Linear(3, 3), backend="numpy").fit(GUESSED, NUMBERS, metrics=metrics)
    with pytest.raises(TypeError, match=r"metrics expects names.* got"):
        tn.sweep(build, {"learning_rate": [0.1]}, GUESSED, NUMBERS, metrics=metrics)


def test_a_metric_that_is_called_as_another_figure_is_refused() -> None:
    def loss(prediction: np.ndarray, target: np.ndarray) -> float:
        return 0.0

    with pytest.raises(ValueError, match=r"differ .* from 'loss'"):
        tn.Sequential(tn.Linear(3, 3), backend="numpy").evaluate(GUESSED, NUMBERS, loss="mse", metrics=loss)
