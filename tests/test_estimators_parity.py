"""Trainings equal scikit-learn's: from the same random state, the same numbers to 1e-9."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from sklearn import neural_network as theirs
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.metrics import accuracy_score, r2_score

from tinynet import estimators as ours
from tinynet.estimators import scores

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(5)
IRIS = load_iris(return_X_y=True)
BINARY = IRIS[0][:100], np.array(["no", "yes"])[IRIS[1][:100]]
LABELS = make_multilabel_classification(n_samples=80, n_classes=4, random_state=1)
VALUES = make_regression(n_samples=90, n_features=6, noise=5.0, random_state=2)
VALUES = VALUES[0], VALUES[1] / np.std(VALUES[1])
SEVERAL = VALUES[0], np.stack([VALUES[1], np.tanh(VALUES[1]), -VALUES[1]], axis=1)
COUNTS = VALUES[0], RNG.poisson(np.exp(0.5 * VALUES[1])).astype(float)

SETTINGS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "defaults": ("MLPClassifier", IRIS, {}),
    "binary": ("MLPClassifier", BINARY, {}),
    "multilabel": ("MLPClassifier", LABELS, {"activation": "logistic"}),
    "three layers": ("MLPClassifier", IRIS, {"hidden_layer_sizes": (7, 6, 5), "activation": "tanh", "batch_size": 32}),
    "linear": ("MLPClassifier", IRIS, {"activation": "identity", "shuffle": False, "batch_size": 40}),
    "alpha": ("MLPClassifier", IRIS, {"alpha": 3.0, "batch_size": 17}),
    "adam's settings": ("MLPClassifier", IRIS, {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2}),
    "no hidden layer": ("MLPClassifier", BINARY, {"hidden_layer_sizes": ()}),
    "no hidden layer, logistic": ("MLPClassifier", IRIS, {"hidden_layer_sizes": (), "activation": "logistic"}),
    "no hidden layer, labels": ("MLPClassifier", LABELS, {"hidden_layer_sizes": (), "activation": "tanh"}),
    "no hidden layer, values": ("MLPRegressor", SEVERAL, {"hidden_layer_sizes": (), "activation": "logistic"}),
    "no hidden layer, poisson": ("MLPRegressor", COUNTS, {"hidden_layer_sizes": [], "loss": "poisson"}),
    "no hidden layer, lbfgs": ("MLPRegressor", VALUES, {"hidden_layer_sizes": (), "solver": "lbfgs"}),
    "sgd": ("MLPClassifier", IRIS, {"solver": "sgd", "learning_rate_init": 0.01, "batch_size": 25}),
    "plain momentum": ("MLPRegressor", VALUES, {"solver": "sgd", "nesterovs_momentum": False}),
    "no momentum": ("MLPRegressor", VALUES, {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling"}),
    "invscaling": ("MLPRegressor", VALUES, {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2}),
    "adaptive": (
        "MLPRegressor",
        VALUES,
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 5e-3, "max_iter": 80},
    ),
    "several outputs": ("MLPRegressor", SEVERAL, {"batch_size": 20}),
    "poisson": ("MLPRegressor", COUNTS, {"loss": "poisson", "activation": "tanh"}),
    "early stopping": ("MLPClassifier", IRIS, {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 60}),
    "early stopping, labels": ("MLPClassifier", LABELS, {"early_stopping": True, "max_iter": 40}),
    "early stopping, values": ("MLPRegressor", SEVERAL, {"early_stopping": True, "n_iter_no_change": 3}),
    "stops": ("MLPClassifier", BINARY, {"tol": 0.01, "learning_rate_init": 0.01, "max_iter": 200}),
    "many updates": ("MLPClassifier", BINARY, {"batch_size": 2, "max_iter": 45, "hidden_layer_sizes": 6, "tol": 0.0}),
    "lbfgs": ("MLPClassifier", IRIS, {"solver": "lbfgs", "activation": "tanh", "max_iter": 15}),
    "lbfgs, values": ("MLPRegressor", SEVERAL, {"solver": "lbfgs", "activation": "tanh", "max_iter": 15}),
}
LISTS = ("loss_curve_", "validation_scores_")
NUMBERS = (
    "loss_",
    "best_loss_",
    "best_validation_score_",
    "n_iter_",
    "t_",
    "n_layers_",
    "n_outputs_",
    "n_features_in_",
)


def assert_equal_fits(a: Any, b: Any, data: Any) -> None:
    """Parameters, records and predictions of two estimators agree."""
    for name in ("coefs_", "intercepts_"):
        for got, want in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    for name in LISTS + NUMBERS:
        assert hasattr(a, name) == hasattr(b, name), name
        want = getattr(b, name, None)
        if want is None:
            assert getattr(a, name, None) is None
        else:
            np.testing.assert_allclose(getattr(a, name), want, rtol=1e-9, atol=1e-9, err_msg=name)
    assert a.out_activation_ == b.out_activation_
    if hasattr(b, "classes_"):
        np.testing.assert_array_equal(a.predict(data[0]), b.predict(data[0]))
    for method in ("predict_proba", "predict_log_proba"):
        if hasattr(b, method):
            np.testing.assert_allclose(getattr(a, method)(data[0]), getattr(b, method)(data[0]), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(a.score(*data), b.score(*data), rtol=1e-9)


def pair(name: str, settings: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    settings = {"random_state": 3, "max_iter": 25, **settings}
    return getattr(ours, name)(**settings, **more), getattr(theirs, name)(**settings)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("case", SETTINGS)
def test_fits_are_those_of_scikit_learn(case: str, weighted: bool) -> None:
    name, data, settings = SETTINGS[case]
    weight = np.random.default_rng(1).uniform(0.1, 3.0, len(data[0])) if weighted else None
    a, b = pair(name, settings)
    a.fit(*data, sample_weight=weight)
    b.fit(*data, sample_weight=weight)
    assert_equal_fits(a, b, data)


@pytest.mark.parametrize("case", ["defaults", "sgd", "poisson"])
def test_fits_on_numpy_are_those_of_scikit_learn(case: str) -> None:
    name, data, settings = SETTINGS[case]
    a, b = pair(name, settings, backend="numpy")
    assert_equal_fits(a.fit(*data), b.fit(*data), data)


@pytest.mark.parametrize("case", ["defaults", "invscaling", "several outputs", "multilabel"])
def test_partial_fits_and_warm_starts_go_on_as_scikit_learns(case: str) -> None:
    name, data, settings = SETTINGS[case]
    n_classes = data[1].shape[1] if data[1].ndim == 2 else len(np.unique(data[1]))
    classes = {"classes": np.arange(n_classes)} if name == "MLPClassifier" else {}
    a, b = pair(name, {**settings, "warm_start": True, "random_state": 3})
    for estimator in (a, b):
        for _ in range(4):
            estimator.partial_fit(*data, **classes)
        estimator.fit(*data)
        estimator.set_params(max_iter=7).fit(*data)
        estimator.partial_fit(*data)
    assert_equal_fits(a, b, data)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("case", ["early stopping", "early stopping, labels", "early stopping, values"])
def test_warm_starts_with_early_stopping_keep_scikit_learns_weights(case: str, solver: str) -> None:
    name, data, settings = SETTINGS[case]
    more = {"solver": solver, "max_iter": 6, "n_iter_no_change": 2, "learning_rate_init": 0.05, "warm_start": True}
    kept = []
    for seed in range(3):
        a, b = pair(name, {**settings, **more, "random_state": seed}, backend="numpy")
        for _ in range(5):
            best = getattr(b, "best_validation_score_", None)
            assert_equal_fits(a.fit(*data), b.fit(*data), data)
            kept.append(best == b.best_validation_score_)
    assert any(kept)  # Else no fit here ends without a better score than those before it had.


def test_a_shared_random_state_is_left_as_scikit_learn_leaves_it() -> None:
    states = [np.random.RandomState(8), np.random.RandomState(8)]
    settings = {"tol": 0.05, "max_iter": 100, "learning_rate_init": 0.01}
    for module, state in zip((ours, theirs), states, strict=True):
        module.MLPClassifier(random_state=state, **settings).fit(*BINARY)
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_parameters_that_a_user_sets_are_trained_and_used() -> None:
    a, b = pair("MLPClassifier", {"solver": "sgd", "random_state": 3})
    for estimator in (a, b):
        estimator.partial_fit(*IRIS, classes=[0, 1, 2])
        estimator.coefs_ = [0.5 * coef for coef in estimator.coefs_]
        estimator.intercepts_[0] = np.zeros_like(estimator.intercepts_[0])
    np.testing.assert_allclose(a.predict_proba(IRIS[0]), b.predict_proba(IRIS[0]), rtol=1e-9)
    for estimator in (a, b):
        estimator.coefs_[0][:] += 0.1
    np.testing.assert_allclose(a.predict_proba(IRIS[0]), b.predict_proba(IRIS[0]), rtol=1e-9)
    assert_equal_fits(a.partial_fit(*IRIS), b.partial_fit(*IRIS), IRIS)


def test_constructors_have_scikit_learns_parameters_and_defaults() -> None:
    for name in ("MLPClassifier", "MLPRegressor"):
        mine, want = getattr(ours, name)().get_params(), getattr(theirs, name)().get_params()
        assert {key: mine[key] for key in want} == want


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(size=30) if weighted else None
    truth, output = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    truth[:, 1] = 2.0
    output[:, 2] = truth[:, 2] = 1.0
    np.testing.assert_allclose(scores.r2(truth, output, weight), r2_score(truth, output, sample_weight=weight))
    labels = rng.integers(0, 3, 30)
    want = accuracy_score(labels, output.argmax(axis=1), sample_weight=weight)
    np.testing.assert_allclose(scores.accuracy(labels, output, weight), want)
    bits = output > 0.2
    bits[:4, 0] ^= True
    want = accuracy_score(bits, output > 0.5, sample_weight=weight)
    np.testing.assert_allclose(scores.accuracy(bits, output, weight), want)
