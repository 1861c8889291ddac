"""Validation sets and callbacks of the estimators."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from estimator_data import XR, YR, X, Y
from scipy import sparse
from sklearn.base import clone

import tinynet as tn
from tinynet.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver_name", ["adam", "lbfgs", "lm"])
def test_a_given_validation_set_has_a_loss_curve(solver_name: str) -> None:
    clf = MLPClassifier((6,), solver=solver_name, random_state=0, max_iter=15).fit(X[::2], Y[::2], X_val=X, y_val=Y)
    probability = clf.predict_proba(X)[np.arange(len(Y)), Y]
    np.testing.assert_allclose(clf.validation_loss_curve_[-1], -np.log(probability).mean(), rtol=1e-9)
    if solver_name == "adam":
        assert len(clf.validation_loss_curve_) == clf.n_iter_
        assert clf.validation_scores_[-1] == clf.score(X, Y)


def test_early_stopping_goes_by_the_given_validation_set() -> None:
    clf = MLPClassifier((6,), early_stopping=True, random_state=0, learning_rate_init=0.05, n_iter_no_change=4)
    clf.fit(X[::2], Y[::2], X_val=sparse.csr_matrix(X[1::2]), y_val=Y[1::2])
    assert clf.n_iter_ < clf.max_iter
    assert clf.best_validation_score_ == max(clf.validation_scores_) == clf.score(X[1::2], Y[1::2])


@pytest.mark.parametrize(
    ("validation", "error"),
    [
        ({"X_val": X}, "both X_val and y_val"),
        ({"X_val": X[:, :2], "y_val": Y}, "features"),
        ({"X_val": X, "y_val": Y[:5]}, "as many rows"),
        ({"X_val": X, "y_val": Y + 7}, "classes that y has not"),
    ],
)
def test_a_senseless_validation_set_is_refused(validation: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        MLPClassifier().fit(X, Y, **validation)


def test_tinynet_callbacks_see_the_figures_and_can_stop() -> None:
    seen: list[dict[str, float]] = []
    watch = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    stop = tn.EarlyStopping("val_loss", patience=3)
    reg = MLPRegressor(
        hidden_layer_sizes=(6,), callbacks=[watch, stop], random_state=0, learning_rate_init=0.1, max_iter=500, tol=0.0
    )
    reg.fit(XR[::2], YR[::2], X_val=XR[1::2], y_val=YR[1::2])
    assert [logs["loss"] for logs in seen] == reg.loss_curve_
    assert [logs["val_loss"] for logs in seen] == reg.validation_loss_curve_
    assert set(seen[0]) == {"loss", "val_loss", "val_r2", "learning_rate"}
    assert reg.n_iter_ < 500
    residual = reg.predict(XR[1::2]) - YR[1::2]
    np.testing.assert_allclose(0.5 * np.mean(residual**2), min(reg.validation_loss_curve_), rtol=1e-9)
    assert clone(reg).callbacks[1].patience == 3
    pickle.dumps(reg.set_params(callbacks=[stop]))


def test_a_callback_can_lower_the_learning_rate() -> None:
    lower = tn.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    rates: list[float] = []
    watch = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(logs["learning_rate"]))
    MLPClassifier((4,), solver="sgd", callbacks=[watch, lower], max_iter=4, random_state=0).fit(X, Y)
    assert rates[-1] < rates[0] == 0.001


def test_scikit_learns_callbacks_see_every_epoch() -> None:
    callbacks = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")

    class Recorder:
        def __init__(self) -> None:
            self.events: list[str] = []
            self.scores: list[float] = []

        def setup(self, estimator: Any, context: Any) -> None:
            self.events.append("setup")

        def teardown(self, estimator: Any, context: Any) -> None:
            self.events.append("teardown")

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
            self.events.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any) -> bool:
            self.events.append(f"end {context.task_name}")
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_name == "iteration 2"

    for solver_name in ("adam", "lbfgs", "lm"):
        recorder = Recorder()
        assert isinstance(recorder, callbacks.FitCallback)
        clf = MLPClassifier((5,), solver=solver_name, random_state=0).set_callbacks(recorder).fit(X, Y)
        steps = [f"{what} iteration {i}" for i in range(3) for what in ("begin", "end")]
        assert recorder.events == ["setup", "begin fit", *steps, "end fit", "teardown"]
        assert recorder.scores[-1] == clf.score(X, Y)
        assert clf.n_iter_ == 3
