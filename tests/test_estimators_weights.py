"""Weights of the estimators: of samples and of classes, of what is trained on and of what is held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from sklearn.utils.class_weight import compute_sample_weight

from tinynet.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def imbalanced() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(5).normal(size=(120, 3))
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0.8).astype(int)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 6.0}], ids=["balanced", "dict"])
def test_class_weights_act_on_training_only(class_weight: Any, solver: str) -> None:
    """Whether the validation set was split off or given, it counts the same, and so do the rows that are trained on."""
    x, y = imbalanced()
    options: dict[str, Any] = {"random_state": 0, "max_iter": 4, "backend": "numpy", "solver": solver, "shuffle": False}
    held, rest = slice(90, 120), slice(0, 90)
    given = MLPClassifier((4,), class_weight=class_weight, **options)
    given.fit(x[rest], y[rest], X_val=x[held], y_val=y[held])
    last = np.mean(-np.log(given.predict_proba(x[held])[np.arange(30), y[held]]))
    assert given.validation_loss_curve_[-1] == pytest.approx(last, rel=1e-9)
    factors = compute_sample_weight(class_weight, y[rest])
    weighted = MLPClassifier((4,), **options).fit(x[rest], y[rest], factors)
    np.testing.assert_array_equal(given.coefs_[0], weighted.coefs_[0])


def test_the_split_of_early_stopping_weighs_no_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.estimators import samples

    x, y = imbalanced()
    rows = np.arange(120)
    monkeypatch.setattr(samples, "train_test_split", lambda _, **__: (rows[:90], rows[90:]))
    options: dict[str, Any] = {"random_state": 0, "max_iter": 4, "backend": "numpy", "early_stopping": True}
    split = MLPClassifier((4,), class_weight="balanced", **options).fit(x, y)
    given = MLPClassifier((4,), class_weight="balanced", **options)
    given.fit(x[:90], y[:90], X_val=x[90:], y_val=y[90:])
    assert split.validation_scores_ == given.validation_scores_
    assert split.validation_loss_curve_ == given.validation_loss_curve_
    assert split.loss_curve_ == given.loss_curve_


CLASS_WEIGHTS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "infinite": (
        {0: np.inf},
        None,
        ValueError,
        "class_weight must be finite numbers, not below 0; got 1 to inf",
    ),
    "negative": ({0: -1.0}, None, ValueError, "got -1 to 1"),
    "all zero": ({0: 0, 1: 0}, None, ValueError, "class_weight must not be all zero"),
    "all zero together": (
        {0: 0},
        lambda y: 1.0 - y,
        ValueError,
        "class_weight times sample_weight must not be all zero",
    ),
    "beyond float32": ({1: 1e39}, None, ValueError, "class_weight must fit into float32, the dtype of X"),
    "a list of numbers": ([1, 2], None, TypeError, "expects a dict for each label"),
}


@pytest.mark.parametrize(("weight", "samples", "error", "message"), CLASS_WEIGHTS.values(), ids=CLASS_WEIGHTS.keys())
def test_class_weights_that_mean_nothing(weight: Any, samples: Any, error: type[Exception], message: str) -> None:
    x, y = imbalanced()
    estimator = MLPClassifier((4,), class_weight=weight, backend="numpy", max_iter=2)
    with pytest.raises(error, match=message):
        estimator.fit(x.astype(np.float32), y, None if samples is None else samples(y))
    assert not hasattr(estimator, "coefs_")


def test_a_split_that_leaves_no_weight() -> None:
    x, y = imbalanced()
    weight = np.zeros(120)
    weight[0] = 1.0
    estimator = MLPClassifier((4,), backend="numpy", max_iter=2, early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match=r"sample_weight of what early_stopping \w+ \w+ must not be all zero"):
        estimator.fit(x, y, weight)
