"""The estimators: what scikit-learn's have not, sparse data, files, and their place among its tools."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from estimator_data import XR, YR, X, Y
from joblib import Parallel, delayed
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tinynet as tn
from tinynet import estimators as ours
from tinynet.estimators import MLPClassifier, MLPRegressor, courses, fitted, solver
from tinynet.estimators.threads import modest_threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(__file__).resolve().parent.parent


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True))


# -- losses, activations, dropout ------------------------------------------------------------------------------------


def numeric_gradient(reg: MLPRegressor, loss_of: Any) -> float:
    """Largest difference between one SGD step and the central difference of a formula."""
    reg.set_params(solver="sgd", momentum=0.0, max_iter=1, shuffle=False, batch_size=len(XR), alpha=0.0)
    reg.set_params(learning_rate_init=1.0, random_state=1)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(XR))
    probe = clone(reg).set_params(learning_rate_init=1e-12).fit(XR, YR, weights)
    stepped = clone(reg).fit(XR, YR, weights)
    worst, h = 0.0, 1e-6
    for layer, coef in enumerate(probe.coefs_):
        for place in [(0, 0), (coef.shape[0] - 1, coef.shape[1] - 1)]:
            values = []
            for sign in (1, -1):
                probe.coefs_[layer][place] += sign * h
                values.append(np.average(loss_of(YR, probe.predict(XR)), weights=weights))
                probe.coefs_[layer][place] -= sign * h
            step = probe.coefs_[layer][place] - stepped.coefs_[layer][place]
            worst = max(worst, abs(step - (values[0] - values[1]) / (2 * h)))
    return worst


def log_cosh(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    d = y_pred - y_true
    return np.log(np.cosh(d)), np.tanh(d)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("mae", lambda t, p: np.abs(p - t)),
        ("huber", lambda t, p: np.where(np.abs(p - t) <= 1, 0.5 * (p - t) ** 2, np.abs(p - t) - 0.5)),
        (tn.Huber(0.3), lambda t, p: np.where(np.abs(p - t) <= 0.3, 0.5 * (p - t) ** 2, 0.3 * (np.abs(p - t) - 0.15))),
        (log_cosh, lambda t, p: np.log(np.cosh(p - t))),
        ("squared_error", lambda t, p: 0.5 * (p - t) ** 2),
    ],
    ids=["mae", "huber", "Huber(0.3)", "callable", "squared_error"],
)
@pytest.mark.parametrize("ending", ["identity", "softplus"])
def test_a_step_descends_the_loss(loss: Any, formula: Any, ending: str) -> None:
    reg = MLPRegressor(loss, (4, 3), ["tanh", "silu"], out_activation=ending)
    assert numeric_gradient(reg, formula) < 1e-7


def test_a_callable_loss_trains_as_the_kernel_of_the_same_formula() -> None:
    settings: dict[str, Any] = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 30, "batch_size": 16}

    def half_square(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return 0.5 * (y_pred - y_true) ** 2, y_pred - y_true

    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(XR))
    a = MLPRegressor(half_square, **settings).fit(XR, YR, weights)
    b = MLPRegressor(**settings).fit(XR, YR, weights)
    np.testing.assert_allclose(a.predict(XR), b.predict(XR), rtol=1e-9)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize(
    ("returned", "error"),
    [(lambda t, p: 1.0, "must return .losses, derivatives."), (lambda t, p: (p, p[:, :0]), "derivatives of shape")],
)
def test_a_senseless_callable_loss_is_refused(returned: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        MLPRegressor(returned, max_iter=2).fit(XR, YR)


def test_poisson_refuses_targets_below_zero() -> None:
    with pytest.raises(ValueError, match="counts or rates, not below 0"):
        MLPRegressor("poisson").fit(XR, YR)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"activation": ["tanh"], "hidden_layer_sizes": (3, 3)}, "one for each of the 2"),
        ({"activation": ["tanh", "sine"], "hidden_layer_sizes": (3, 3)}, "activation must be one of"),
        ({"dropout": [0.1, 1.0], "hidden_layer_sizes": (3, 3)}, "below 1"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"class_weight": "fair"}, "'class_weight' parameter"),
        ({"backend": "abacus"}, "abacus"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        MLPClassifier(**settings).fit(X, Y)


def test_dropout_is_on_in_training_only_and_repeatable() -> None:
    fit = [MLPClassifier((30,), dropout=rate, random_state=0, max_iter=20).fit(X, Y) for rate in (0.5, 0.5, 0.0)]
    assert same(fit[0], fit[1])
    assert not same(fit[0], fit[2])
    np.testing.assert_array_equal(fit[0].predict_proba(X), fit[0].predict_proba(X))
    hidden = np.maximum(X @ fit[0].coefs_[0] + fit[0].intercepts_[0], 0)
    z = hidden @ fit[0].coefs_[1] + fit[0].intercepts_[1]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(fit[0].predict_proba(X), e / e.sum(axis=1, keepdims=True), rtol=1e-10)


def test_backends_agree() -> None:
    settings: dict[str, Any] = {"random_state": 0, "max_iter": 20, "dropout": 0.2}
    fits = [MLPClassifier((8,), backend=backend, **settings).fit(X, Y) for backend in ("numba", "numpy")]
    np.testing.assert_allclose(fits[0].predict_proba(X), fits[1].predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("limit", [10**9, 0], ids=["kind", "sizes"])
def test_plans_of_every_kind_agree(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = MLPClassifier((5,), random_state=0, max_iter=20, backend="numpy", batch_size=30).fit(X, Y)
    monkeypatch.setattr(solver, "WORTH_A_FUNCTION_OF_ITS_OWN", limit)
    fit = MLPClassifier((5,), random_state=0, max_iter=20, backend="numba", batch_size=30).fit(X, Y)
    assert "tiles" in fit.network_.history.plan
    np.testing.assert_allclose(fit.predict_proba(X), reference.predict_proba(X), rtol=1e-9)


# -- weights of classes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "c": 0.5}])
def test_class_weights_are_sample_weights(class_weight: Any) -> None:
    labels = np.array(["a", "b", "c"])[Y[20:]]
    counts = {label: np.mean(labels == label) for label in "abc"}
    factor = {label: 1 / (3 * counts[label]) for label in "abc"} if class_weight == "balanced" else class_weight
    own = np.random.default_rng(0).uniform(0.5, 1.5, len(labels))
    weights = own * np.array([factor.get(label, 1.0) for label in labels])
    a = MLPClassifier((6,), class_weight=class_weight, random_state=0, max_iter=15).fit(X[20:], labels, own)
    b = MLPClassifier((6,), random_state=0, max_iter=15).fit(X[20:], labels, weights)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9)


def test_partial_fit_cannot_balance_classes() -> None:
    with pytest.raises(ValueError, match="does not support class_weight='balanced'"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


# -- sparse data, dtypes, files --------------------------------------------------------------------------------------


def test_a_sparse_matrix_too_large_to_be_dense_trains_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sparse.random(150, 40, density=0.1, format="csc", random_state=0)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 150)
    settings: dict[str, Any] = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8, "batch_size": 16}
    dense = MLPClassifier(**settings).fit(rows.toarray(), Y, weights)
    monkeypatch.setattr(courses, "DENSE_BYTES", 0)
    monkeypatch.setattr(fitted, "PREDICT_BYTES", 4000)
    monkeypatch.setattr(solver, "PIECE_BYTES", 12_000)
    pieces = MLPClassifier(**settings).fit(rows, Y, weights)
    np.testing.assert_allclose(pieces.predict_proba(rows), dense.predict_proba(rows.toarray()), rtol=1e-9)
    np.testing.assert_allclose(pieces.loss_curve_, dense.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("solver_name", ["adam", "sgd", "lbfgs", "lm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_data_is_kept(dtype: str, solver_name: str) -> None:
    reg = MLPRegressor(hidden_layer_sizes=(5,), solver=solver_name, max_iter=5, random_state=0).fit(
        XR.astype(dtype), YR
    )
    assert {array.dtype for array in reg.coefs_ + reg.intercepts_} == {np.dtype(dtype)}
    assert reg.predict(XR.astype(dtype)).dtype == dtype


def test_copies_and_pickles_predict_and_train_alike() -> None:
    clf = MLPClassifier((5,), solver="sgd", random_state=0, max_iter=5, dropout=0.1).fit(X, Y)
    for twin in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), copy.copy(clf)):
        np.testing.assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
    a, b = pickle.loads(pickle.dumps(clf)), pickle.loads(pickle.dumps(clf))
    assert same(a.partial_fit(X, Y), b.partial_fit(X, Y))


def test_the_network_can_be_saved_and_predicts_the_same(tmp_path: Path) -> None:
    clf = MLPClassifier((5,), random_state=0, max_iter=5).fit(X, Y)
    clf.network_.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(tn.load(tmp_path / "net.npz").predict(X), clf.predict_proba(X))


def test_an_unfitted_estimator_has_no_network() -> None:
    with pytest.raises(AttributeError, match="not fitted yet"):
        _ = MLPClassifier().network_


def test_ctrl_c_warns_and_keeps_the_model() -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    clf = MLPClassifier((5,), callbacks=[tn.LambdaCallback(on_epoch_end=interrupt)], random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        clf.fit(X, Y)
    assert clf.n_iter_ == 3
    assert clf.predict(X).shape == Y.shape


def test_momentum_may_be_one() -> None:
    a, b = (
        m.MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", momentum=1.0, max_iter=3, random_state=0)
        for m in (ours, theirs)
    )
    np.testing.assert_allclose(a.fit(XR, YR).predict(XR), b.fit(XR, YR).predict(XR), rtol=1e-9)


# -- among scikit-learn's tools --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_a_pipeline_finds_what_scikit_learn_finds(n_jobs: int) -> None:
    grid = {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__hidden_layer_sizes": [(4,), (9,)]}
    scores = []
    for cls in (MLPClassifier, theirs.MLPClassifier):
        pipeline = make_pipeline(StandardScaler(), cls(random_state=0, max_iter=30))
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(X, Y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


def test_cross_validation_takes_routed_weights() -> None:
    import sklearn

    if not hasattr(theirs.MLPClassifier, "set_fit_request"):
        pytest.skip("scikit-learn's own has no sample weights before 1.7")
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        scores = []
        for cls in (MLPClassifier, theirs.MLPClassifier):
            clf = cls((5,), random_state=0, max_iter=10).set_fit_request(sample_weight=True)
            clf.set_score_request(sample_weight=True)
            scores.append(cross_val_score(clf, X, Y, params={"sample_weight": weights}))
    np.testing.assert_allclose(*scores, rtol=1e-12)


def test_threads_of_joblib_train_side_by_side() -> None:
    def fitted(seed: int) -> Any:
        return MLPClassifier((7,), random_state=seed, max_iter=40).fit(X, Y)

    side_by_side = Parallel(n_jobs=3, backend="threading")(delayed(fitted)(seed) for seed in range(4))
    assert all(same(fit, fitted(seed)) for seed, fit in enumerate(side_by_side))


def test_a_worker_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    large = 10**9
    assert modest_threads(large) is None
    assert Parallel(n_jobs=2, backend="threading")(delayed(modest_threads)(large) for _ in range(2)) == [1, 1]
    monkeypatch.setenv("TINYNET_THREADS", "3")
    assert modest_threads(large) is None
    assert modest_threads(10) is None


def test_feature_names_are_kept_and_checked() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    clf = MLPClassifier((4,), random_state=0, max_iter=3).fit(frame, Y)
    assert clf.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[list("dcba")])


def test_without_scikit_learn_the_error_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport tinynet\nimport tinynet.estimators"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "ImportError: tinynet.estimators needs scikit-learn" in result.stderr
    assert "pip install scikit-learn" in result.stderr


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_levenberg_marquardt_ends_where_lbfgs_does_and_sooner() -> None:
    """The same objective, with its penalty, for numbers and for classes, from where both find the same minimum."""
    for kind, y in ((MLPRegressor, XR[:, 0] * XR[:, 1]), (MLPClassifier, Y)):
        x = XR if kind is MLPRegressor else X
        settings = {"hidden_layer_sizes": (4,), "alpha": 0.1, "activation": "tanh", "random_state": 2, "tol": 1e-6}
        lm, lbfgs = (kind(solver=name, max_iter=600, **settings).fit(x, y) for name in ("lm", "lbfgs"))
        assert lm.loss_ < 1.05 * lbfgs.loss_
        assert lm.n_iter_ < 0.5 * lbfgs.n_iter_ or kind is MLPClassifier
        assert (np.diff(lm.loss_curve_) < 0).all()
        assert lm.loss_curve_[-1] == lm.loss_
    with pytest.warns(ConvergenceWarning, match="maximum iterations"):
        MLPRegressor(hidden_layer_sizes=(4,), solver="lm", max_iter=2, random_state=0).fit(XR, XR[:, 0] ** 2)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPRegressor(solver="lm").partial_fit(XR, XR[:, 0])
    with pytest.raises(ValueError, match="without Dropout"):
        MLPRegressor(hidden_layer_sizes=(4,), solver="lm", dropout=0.1).fit(XR, XR[:, 0])
