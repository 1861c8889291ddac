"""The estimators under scikit-learn's array-API dispatch; ``test_estimators_inputs`` runs it with SCIPY_ARRAY_API=1."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tinynet.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
DEVICES = {"array_api_strict": ("CPU_DEVICE", "device1"), "torch": ("cpu",)}
PLACES = [(library, device) for library, devices in DEVICES.items() for device in devices]


class Place:
    """A library and a device of it."""

    def __init__(self, library: str, device: str) -> None:
        self.xp = importlib.import_module(library)
        self.device = self.xp.Device(device) if library == "array_api_strict" else self.xp.device(device)

    def array(self, values: Any) -> Any:
        return self.xp.asarray(values, device=self.device)

    def numpy(self, array: Any) -> np.ndarray:
        """The values of an array that lives here; it fails for one that does not."""
        assert type(array) is type(self.array([0.0]))
        assert array.device == self.device
        on_host = array.to_device(self.xp.Device("CPU_DEVICE")) if hasattr(array, "to_device") else array
        return np.asarray(on_host)


@pytest.fixture(params=PLACES, ids=["-".join(place) for place in PLACES])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(*request.param)


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier((5,), max_iter=5, random_state=0, backend="numpy", **settings)


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0, backend="numpy", **settings)


LABELS = {"multiclass": Y, "binary": (Y == 1).astype(int), "booleans": Y == 1, "multilabel": np.eye(3, dtype=int)[Y]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LABELS)
def test_a_classifier_returns_arrays_of_the_caller(name: str, dtype: str, place: Place) -> None:
    x, labels = X.astype(dtype), LABELS[name]
    want = classifier(early_stopping=True).fit(x, labels)
    methods = ("predict", "predict_proba", "predict_log_proba")
    with sklearn.config_context(array_api_dispatch=True):
        got = classifier(early_stopping=True).fit(place.array(x), place.array(labels))
        for method in methods:
            result = place.numpy(getattr(got, method)(place.array(x)))
            expected = getattr(want, method)(x)
            np.testing.assert_array_equal(result, expected)
            assert result.dtype == expected.dtype
        assert got.score(place.array(x), place.array(labels)) == pytest.approx(want.score(x, labels), abs=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_regressor_returns_arrays_of_the_caller(n_outputs: int, place: Place) -> None:
    targets = X[:, 0] if n_outputs == 1 else X[:, :2]
    weight = np.linspace(1.0, 2.0, len(X))
    want = regressor().fit(X, targets, weight)
    with sklearn.config_context(array_api_dispatch=True):
        got = regressor().fit(*map(place.array, (X, targets, weight)))
        np.testing.assert_array_equal(place.numpy(got.predict(place.array(X))), want.predict(X))
        assert got.score(place.array(X), place.array(targets)) == pytest.approx(want.score(X, targets))


def test_partial_fit_and_validation_sets_take_arrays_of_the_caller(place: Place) -> None:
    want = classifier().partial_fit(X, Y, classes=[0, 1, 2])
    validated = classifier().fit(X, Y, X_val=X, y_val=Y, sample_weight_val=X[:, 0])
    with sklearn.config_context(array_api_dispatch=True):
        x, y = place.array(X), place.array(Y)
        got = classifier().partial_fit(x, y, classes=place.array([0, 1, 2]))
        np.testing.assert_array_equal(place.numpy(got.predict_proba(x)), want.predict_proba(X))
        held = classifier().fit(x, y, X_val=x, y_val=y, sample_weight_val=place.array(X[:, 0]))
        assert held.validation_loss_curve_ == validated.validation_loss_curve_


def test_what_was_fitted_anywhere_predicts_for_anybody(place: Place) -> None:
    want = classifier().fit(X, Y)
    with sklearn.config_context(array_api_dispatch=True):
        got = classifier().fit(place.array(X), place.array(Y))
        assert type(got.predict(X)) is np.ndarray
        np.testing.assert_array_equal(got.predict_proba(X), want.predict_proba(X))
        np.testing.assert_array_equal(place.numpy(want.predict(place.array(X))), want.predict(X))
        assert type(want.predict(X.tolist())) is np.ndarray
    assert all(type(array) is np.ndarray for array in got.coefs_ + got.intercepts_)


def test_strings_stay_in_numpy(place: Place) -> None:
    with sklearn.config_context(array_api_dispatch=True):
        clf = classifier().fit(place.array(X), NAMES[Y])
        assert clf.predict(place.array(X)).dtype.kind == "U"
        assert place.numpy(clf.predict_proba(place.array(X))).shape == (150, 3)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")  # In StandardScaler, with array_api_strict.
def test_pipelines_and_cross_validation_run_through(place: Place) -> None:
    model = make_pipeline(StandardScaler(), classifier())
    want = clone(model).fit(X, Y).predict(X)
    with sklearn.config_context(array_api_dispatch=True):
        got = clone(model).fit(place.array(X), place.array(Y))
        np.testing.assert_array_equal(place.numpy(got.predict(place.array(X))), want)
        if place.xp.__name__ == "torch":  # array_api_strict refuses scikit-learn's NumPy indices.
            scores = cross_val_score(model, place.array(X), place.array(Y), cv=3, error_score="raise")
            np.testing.assert_allclose(scores, cross_val_score(model, X, Y, cv=3), atol=1e-6)


@pytest.mark.parametrize("dispatch", [True, False])
def test_a_torch_tensor_that_keeps_its_sign_as_a_bit_is_read_with_it(dispatch: bool) -> None:
    torch = importlib.import_module("torch")
    lazy = torch.complex(torch.zeros(X.shape, dtype=torch.float64), torch.from_numpy(-X)).conj().imag
    assert lazy.is_neg()
    with sklearn.config_context(array_api_dispatch=dispatch):
        got = regressor().fit(lazy, lazy[:, 0])
        np.testing.assert_array_equal(np.asarray(got.predict(lazy)), regressor().fit(X, X[:, 0]).predict(X))


def test_without_dispatch_numpy_comes_out(place: Place) -> None:
    if place.xp.__name__ == "array_api_strict" and str(place.device) != "array_api_strict.Device('CPU_DEVICE')":
        with pytest.raises((RuntimeError, ValueError)):  # NumPy does not reach its other devices.
            classifier().fit(place.array(X), place.array(Y))
        return
    clf = classifier().fit(place.array(X), place.array(Y))
    assert type(clf.predict(place.array(X))) is np.ndarray
    np.testing.assert_array_equal(clf.predict_proba(place.array(X)), classifier().fit(X, Y).predict_proba(X))


def test_scikit_learn_may_move_an_estimator(place: Place) -> None:
    library = importlib.import_module("sklearn.utils._array_api")
    clf = classifier().fit(X, Y)
    with sklearn.config_context(array_api_dispatch=True):
        xp = library.get_namespace(place.array(X))[0]
        moved = library.move_estimator_to(clf, xp, place.device)
        np.testing.assert_array_equal(place.numpy(moved.predict_proba(place.array(X))), clf.predict_proba(X))


@pytest.mark.parametrize(
    "estimator", [MLPClassifier(max_iter=5), MLPRegressor(max_iter=5)], ids=lambda e: type(e).__name__
)
def test_scikit_learns_own_checks_pass(estimator: Any, place: Place) -> None:
    checks = importlib.import_module("sklearn.utils.estimator_checks")
    device = "cpu" if place.xp.__name__ == "torch" else place.device._device
    # In float64, scikit-learn's own accuracy of torch arrays is rounded to float32.
    checks.check_array_api_input_and_values(
        type(estimator).__name__, estimator, place.xp.__name__, device, "float32", check_sample_weight=True
    )
