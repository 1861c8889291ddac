"""scikit-learn's estimators on the GPU backend train as on the CPU, and give NumPy arrays."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from scipy import sparse

from tinynet.estimators import MLPClassifier, MLPRegressor, courses, solver

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(3)
X = RNG.normal(size=(45, 4))
LABELS = RNG.integers(0, 3, 45)
COUNTS = RNG.poisson(2.0, size=(45, 2)).astype(float)
WEIGHTS = RNG.uniform(0.5, 2.0, 45)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "adam": (MLPClassifier, LABELS, {"alpha": 0.1}),
    "sgd": (MLPClassifier, LABELS, {"solver": "sgd", "learning_rate": "invscaling", "early_stopping": True}),
    "poisson": (MLPRegressor, COUNTS, {"loss": "poisson", "dropout": 0.2}),
    "lbfgs": (MLPRegressor, COUNTS, {"solver": "lbfgs", "activation": "tanh"}),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_on_the_gpu_are_those_on_the_cpu(gpu: str, case: str) -> None:
    cls, y, settings = CASES[case]
    settings = {"hidden_layer_sizes": (5,), "max_iter": 4, "batch_size": 20, "random_state": 1, **settings}
    a = cls(backend=gpu, **settings).fit(X, y, WEIGHTS)
    b = cls(backend="numpy", **settings).fit(X, y, WEIGHTS)
    for got, want in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(a.loss_, b.loss_, rtol=1e-9)
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-8)
    twin = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(twin.predict(X), a.predict(X))
    a.coefs_[0][:] = 0.0
    b.coefs_[0][:] = 0.0
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-8)


def test_sparse_rows_go_to_the_gpu_in_pieces(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sparse.csr_matrix(np.where(RNG.random((45, 12)) < 0.2, 1.0, 0.0))
    settings: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "batch_size": 10, "random_state": 1}
    want = MLPClassifier(backend="numpy", **settings).fit(rows, LABELS, WEIGHTS)
    monkeypatch.setattr(courses, "DENSE_BYTES", 0)
    monkeypatch.setattr(solver, "PIECE_BYTES", 2000)
    fit = MLPClassifier(backend=gpu, **settings).fit(rows, LABELS, WEIGHTS)
    np.testing.assert_allclose(fit.predict_proba(rows), want.predict_proba(rows), rtol=1e-9)
