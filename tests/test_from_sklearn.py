"""Networks that scikit-learn fitted predict the same here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import tinynet as tn

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4))
NUMBERS = np.sin(X[:, :2])
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
ATOL = {"float32": 1e-6, "float64": 1e-12}


def fitted(estimator: Any, x: np.ndarray, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.set_params(max_iter=20, random_state=0).fit(x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_regressors_predict_the_same(activation: str, hidden: tuple[int, ...], dtype: str) -> None:
    x = X.astype(dtype)
    model = fitted(MLPRegressor(hidden_layer_sizes=hidden, activation=activation), x, NUMBERS.astype(dtype))
    net = tn.from_sklearn(model, backend="numpy")
    assert net.dtype == dtype
    np.testing.assert_allclose(net.predict(x), model.predict(x), rtol=0, atol=ATOL[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_classifiers_predict_the_same_probabilities(activation: str, dtype: str) -> None:
    x = X.astype(dtype)
    model = fitted(MLPClassifier((6,), activation=activation), x, LABELS)
    net = tn.from_sklearn(model, backend="numpy")
    np.testing.assert_allclose(net.predict(x), model.predict_proba(x), rtol=0, atol=ATOL[dtype])
    assert net.metadata == {"classes": [0, 1, 2]}
    assert net.evaluate(x, LABELS, metrics="accuracy")["accuracy"] == pytest.approx(model.score(x, LABELS))


def test_two_classes_are_one_column() -> None:
    model = fitted(MLPClassifier((6,)), X, np.where(LABELS > 0, "yes", "no"))
    net = tn.from_sklearn(model, backend="numpy")
    np.testing.assert_allclose(net.predict(X)[:, 0], model.predict_proba(X)[:, 1], rtol=0, atol=1e-12)
    assert net.metadata["classes"] == ["no", "yes"]
    assert net.evaluate(X, LABELS > 0, metrics="accuracy")["accuracy"] == pytest.approx(
        np.mean(model.predict(X) == np.where(LABELS > 0, "yes", "no"))
    )


def test_several_labels_at_once_are_probabilities_each() -> None:
    targets = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0]).astype(int)
    model = fitted(MLPClassifier((6,)), X, targets)
    net = tn.from_sklearn(model, backend="numpy")
    np.testing.assert_allclose(net.predict(X), model.predict_proba(X), rtol=0, atol=1e-12)
    assert "classes" not in net.metadata


@pytest.mark.parametrize(("values", "kept"), [([0.0, 2.0], [0, 2]), ([False, True], [0, 1])])
def test_classes_are_kept_so_that_a_model_file_holds_them(values: list[Any], kept: list[Any], tmp_path: Path) -> None:
    net = tn.from_sklearn(fitted(MLPClassifier((2,)), X, np.array(values)[(X[:, 0] > 0).astype(int)]), backend="numpy")
    net.save(tmp_path / "net.npz")
    assert tn.load(tmp_path / "net.npz", backend="numpy").metadata == {"classes": kept}


def test_an_imported_network_trains_on() -> None:
    net = tn.from_sklearn(fitted(MLPRegressor(hidden_layer_sizes=(6,)), X, NUMBERS), backend="numpy")
    before = net.evaluate(X, NUMBERS)["loss"]
    net.fit(X, NUMBERS, epochs=20)
    assert net.evaluate(X, NUMBERS)["loss"] < before


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="expects a fitted MLPRegressor"):
        tn.from_sklearn(MLPRegressor())


@pytest.mark.parametrize("other", [LinearRegression(), make_pipeline(MLPRegressor()), 3])
def test_other_estimators_are_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="expects an MLPClassifier or MLPRegressor; got"):
        tn.from_sklearn(other)


def test_an_activation_that_is_not_known_is_named() -> None:
    model = fitted(MLPRegressor(hidden_layer_sizes=(2,)), X, NUMBERS)
    model.out_activation_ = "cosine"
    with pytest.raises(ValueError, match="'cosine'"):
        tn.from_sklearn(model)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, solver="lbfgs", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.eye(4), np.arange(4.0))
    model.intercepts_[0][1] = np.inf
    with pytest.raises(ValueError, match=r"from_sklearn expects finite weights; those of layer0\.bias are not"):
        tn.from_sklearn(model)
