"""Estimators and pipelines as ONNX: what onnxruntime computes is what they predict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from onnx_estimators import DTYPES, NAMES, TOLERANCE, X, Y, classifier, regressor, run, skl2onnx
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

import tinynet as tn
from tinynet.estimators import register_onnx_converters, to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# -- estimators ------------------------------------------------------------------------------------------------------

LABELS: dict[str, tuple[Any, str]] = {
    "multiclass": (Y, "int64"),
    "multiclass, strings": (NAMES[Y], "object"),
    "multiclass, objects": (NAMES[Y].astype(object), "object"),
    "multiclass, whole floats": (Y * 2.0 - 1, "int64"),
    "binary": (np.where(Y == 1, 7, -3), "int64"),
    "binary, strings": (NAMES[1 + (Y == 1)], "object"),
    "binary, booleans": (Y == 1, "int64"),
    "one class": (np.full(len(Y), 5), "int64"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LABELS)
def test_labels_and_probabilities_are_the_classifiers(name: str, dtype: str) -> None:
    labels, kind = LABELS[name]
    x = X.astype(dtype)
    clf = classifier().fit(x, labels)
    outputs = run(clf.to_onnx(), input=x)
    assert list(outputs) == ["label", "probabilities"]
    assert (outputs["label"].dtype, outputs["probabilities"].dtype) == (kind, dtype)
    np.testing.assert_array_equal(outputs["label"], clf.predict(x))
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(x), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_labels_at_once_are_columns(dtype: str) -> None:
    x, labels = make_multilabel_classification(n_features=4, n_classes=3, random_state=0)
    x = x.astype(dtype)
    clf = classifier().fit(x, labels)
    outputs = run(clf.to_onnx(), input=x)
    assert outputs["label"].dtype == "int64"
    np.testing.assert_array_equal(outputs["label"], clf.predict(x))
    assert 0 < outputs["label"].mean() < 1
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(x), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_where_classes_are_equally_likely_the_first_is_the_label(n_classes: int) -> None:
    clf = classifier().fit(X, NAMES[Y % n_classes])
    for array in clf.coefs_ + clf.intercepts_:
        array[...] = 0.0
    outputs = run(clf.to_onnx(), input=X[:2])
    np.testing.assert_array_equal(outputs["probabilities"], np.full((2, n_classes), 1 / n_classes))
    assert outputs["label"].tolist() == clf.predict(X[:2]).tolist() == ["setosa", "setosa"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_numbers_are_the_regressors(n_outputs: int, dtype: str) -> None:
    x, targets = X[:, :2].astype(dtype), X[:, 2 : 2 + n_outputs].astype(dtype)
    reg = regressor(activation="silu", out_activation="softplus").fit(x, targets if n_outputs > 1 else targets[:, 0])
    outputs = run(reg.to_onnx(), input=x)
    assert outputs["output"].dtype == dtype
    expected = reg.predict(x).reshape(-1, n_outputs)
    np.testing.assert_allclose(outputs["output"], expected, rtol=0, atol=TOLERANCE[dtype] * 10)


def test_the_number_of_rows_is_open() -> None:
    clf = classifier().fit(X, NAMES[Y])
    proto = clf.to_onnx()
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in proto.graph.output] == ["batch", "batch"]
    for n in (1, 1000):
        assert run(proto, input=np.zeros((n, 4)))["label"].shape == (n,)


def test_the_file_holds_what_is_returned(tmp_path: Path) -> None:
    clf = classifier().fit(X, NAMES[Y])
    assert clf.to_onnx(tmp_path / "a.onnx") == onnx.load(tmp_path / "a.onnx")
    skl2onnx()
    assert to_onnx(clf, X, tmp_path / "b.onnx") == onnx.load(tmp_path / "b.onnx")


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(NotFittedError, match="MLPRegressor instance is not fitted yet"):
        regressor().to_onnx()
    skl2onnx()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        to_onnx(make_pipeline(StandardScaler(), regressor()), X)


def test_classes_that_onnx_cannot_hold_are_refused() -> None:
    clf = classifier().fit(X, Y)
    clf.classes_ = np.array([0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match=r"strings, or whole numbers within 64 bits; got \[0.5, 1.5, 2.5\]"):
        clf.to_onnx()


# -- pipelines -------------------------------------------------------------------------------------------------------

STEPS: dict[str, Any] = {
    "no step": FunctionTransformer(),
    "StandardScaler": StandardScaler(),
    "MinMaxScaler": MinMaxScaler(),
    "MaxAbsScaler": MaxAbsScaler(),
    "RobustScaler": RobustScaler(),
    "Normalizer": Normalizer(),
    "QuantileTransformer": QuantileTransformer(n_quantiles=50),
    "PCA": make_pipeline(StandardScaler(), PCA(2, whiten=True)),
    "FeatureUnion": make_union(StandardScaler(), PCA(1)),
    "ColumnTransformer": make_column_transformer(
        (StandardScaler(), [0, 2]), (MinMaxScaler(), [1]), ("passthrough", [3])
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_pipelines_are_what_they_predict(name: str, dtype: str) -> None:
    skl2onnx()
    x = X.astype(dtype)
    clf = make_pipeline(STEPS[name], classifier()).fit(x, NAMES[Y])
    outputs = run(to_onnx(clf, x), input=x)
    assert outputs["probabilities"].dtype == dtype
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(x), rtol=0, atol=10 * TOLERANCE[dtype])
    np.testing.assert_array_equal(outputs["label"], clf.predict(x))


def test_missing_values_are_filled_in_float32() -> None:
    skl2onnx()
    x = X.astype("float32")
    x[::7, 1] = np.nan
    reg = make_pipeline(SimpleImputer(), StandardScaler(), regressor()).fit(x, Y)
    outputs = run(to_onnx(reg, x), input=x)
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_columns_of_a_frame_are_inputs(dtype: str) -> None:
    skl2onnx()
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    frame = pandas.DataFrame({"length": X[:, 0].astype(dtype), "width": X[:, 1].astype(dtype), "kind": NAMES[Y]})
    columns = make_column_transformer((StandardScaler(), ["length", "width"]), (OneHotEncoder(), ["kind"]))
    reg = make_pipeline(columns, regressor()).fit(frame, X[:, 3])
    inputs = {name: frame[[name]].to_numpy() for name in ("length", "width")}
    outputs = run(to_onnx(reg, frame), **inputs, kind=frame[["kind"]].to_numpy().astype(object))
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(frame), rtol=0, atol=10 * TOLERANCE[dtype])


def test_an_array_of_another_width_is_refused() -> None:
    skl2onnx()
    with pytest.raises(ValueError, match="X with 4 features, as fit was given; got 3"):
        to_onnx(make_pipeline(StandardScaler(), regressor()).fit(X, Y), X[:, :3])


def search_over_a_pipeline(model: Any) -> Any:
    pipeline = make_pipeline(StandardScaler(), model)
    return GridSearchCV(pipeline, {f"{pipeline.steps[-1][0]}__alpha": [0.0, 0.1]}, cv=2)


def search_at_the_end_of_a_pipeline(model: Any) -> Any:
    return make_pipeline(StandardScaler(), GridSearchCV(model, {"alpha": [0.0, 0.1]}, cv=2))


def search_alone(model: Any) -> Any:
    return GridSearchCV(model, {"alpha": [0.0, 0.1]}, cv=2)


@pytest.mark.parametrize("search", [search_over_a_pipeline, search_at_the_end_of_a_pipeline, search_alone])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_searches_are_their_best_estimator(make: Any, search: Any) -> None:
    skl2onnx()
    model = search(make()).fit(X, Y)
    outputs = run(to_onnx(model, X), input=X)
    np.testing.assert_allclose(outputs.get("label", outputs.get("output")).ravel(), model.predict(X), atol=1e-13)


def test_the_sample_chooses_the_dtype() -> None:
    skl2onnx()
    reg = make_pipeline(StandardScaler(), regressor()).fit(X, Y)
    outputs = run(to_onnx(reg, X.astype("float32")), input=X.astype("float32"))
    assert outputs["output"].dtype == "float32"
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(X), rtol=0, atol=1e-5)


def test_those_who_call_skl2onnx_themselves_register_once() -> None:
    library = skl2onnx()
    register_onnx_converters()
    register_onnx_converters()
    clf = make_pipeline(StandardScaler(), classifier()).fit(X, NAMES[Y])
    x = X.astype("float32")  # ONNX has dictionaries of float32 only.
    outputs = run(library.to_onnx(clf, x), X=x)
    np.testing.assert_array_equal(outputs["output_label"], clf.predict(x))
    for found, expected in zip(outputs["output_probability"], clf.predict_proba(x), strict=True):
        assert found == pytest.approx(dict(zip(NAMES.tolist(), expected.tolist(), strict=True)), abs=1e-6)
    outputs = run(library.to_onnx(clf, X, options={id(clf): {"zipmap": False}}), X=X)
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(X), rtol=0, atol=1e-14)


def test_a_step_that_cannot_be_converted_is_named() -> None:
    skl2onnx()
    reg = make_pipeline(SplineTransformer(), regressor()).fit(X, Y)
    with pytest.raises(RuntimeError, match="SplineTransformer"):
        to_onnx(reg, X)


def test_a_sample_without_columns_is_refused() -> None:
    skl2onnx()
    with pytest.raises(ValueError, match=r"X of shape \(n_samples, n_features\), as fit does; got \(4,\)"):
        to_onnx(classifier().fit(X, Y), X[0])


@pytest.mark.parametrize(
    ("package", "call"),
    [("onnx", lambda clf: clf.to_onnx()), ("skl2onnx", lambda clf: to_onnx(clf, X))],
    ids=["onnx", "skl2onnx"],
)
def test_the_package_is_asked_for_where_it_is_missing(package: str, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clf = classifier().fit(X, Y)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(tn.DependencyError, match=f"pip install {package}$"):
        call(clf)
