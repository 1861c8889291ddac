"""What the estimators take as data, row by row: accepted with the same result, or refused with what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

import pandas as pd
import polars as pl
from scipy import sparse

from tinynet.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, size=(40, 3)).astype(float)  # Zeros and ones: the same in every dtype.
NUMBERS = X @ [1.0, -2.0, 0.5]
LABELS = (NUMBERS > 0).astype(int)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier((4,), max_iter=3, random_state=0, backend="numpy", **settings)


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0, backend="numpy", **settings)


def read_only(x: np.ndarray) -> np.ndarray:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def wide(x: np.ndarray) -> np.ndarray:
    """Every other column of a wider array."""
    return np.repeat(x, 2, axis=1)[:, ::2]


ACCEPTED: dict[str, Any] = {
    "lists": X.tolist(),
    "tuples": tuple(map(tuple, X.tolist())),
    "Fortran order": np.asfortranarray(X),
    "strides": wide(X),
    "negative strides": np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "read-only": read_only(X),
    "big-endian": X.astype(">f8"),
    "int64": X.astype(np.int64),
    "uint8": X.astype(np.uint8),
    "bool": X.astype(bool),
    "float16": X.astype(np.float16),
    "objects that are numbers": X.astype(object),
    "pandas": FRAME,
    "pandas, nullable": FRAME.astype("Float64"),
    "pandas, objects that are numbers": FRAME.astype(object),
    "polars": pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}),
    "CSR": sparse.csr_array(X),
    "CSC": sparse.csc_matrix(X),
    "COO": sparse.coo_array(X),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_data_give_the_numbers_of_a_plain_array(name: str) -> None:
    data = ACCEPTED[name]
    want = classifier().fit(X, LABELS), regressor().fit(X, NUMBERS)
    for plain, got in zip(want, (classifier().fit(data, LABELS), regressor().fit(data, NUMBERS)), strict=True):
        prediction = got.predict(data)
        assert type(prediction) is np.ndarray
        # 1e-6: what is float64 in scikit-learn's eyes is fitted in float64; float16 is converted to it.
        np.testing.assert_allclose(prediction, plain.predict(X), rtol=1e-6)
        np.testing.assert_allclose(got.coefs_[0], plain.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["lists", "read-only", "int64", "pandas", "polars"])
def test_targets_and_weights_are_taken_as_data_are(kind: str) -> None:
    make = {
        "lists": np.ndarray.tolist,
        "read-only": read_only,
        "int64": lambda y: y.astype(np.int64),
        "pandas": pd.Series,
        "polars": lambda y: pl.Series("y", y),
    }[kind]
    weight = np.where(LABELS == 1, 1.0, 2.0)
    targets = 2 * NUMBERS  # Whole numbers.
    got, want = regressor().fit(X, make(targets), make(weight)), regressor().fit(X, targets, weight)
    np.testing.assert_array_equal(got.coefs_[0], want.coefs_[0])


@pytest.mark.parametrize("frame", [FRAME, pl.DataFrame({name: FRAME[name].to_numpy() for name in "abc"})], ids=type)
def test_names_of_columns_are_kept_and_checked(frame: Any) -> None:
    clf = classifier().fit(frame, LABELS)
    assert clf.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[["c", "b", "a"]])
    with pytest.raises(ValueError, match="feature names"):
        clf.partial_fit(frame[["a", "b"]], LABELS)
    with pytest.raises(ValueError, match="feature names"):
        clf.fit(frame, LABELS, X_val=frame[["c", "b", "a"]], y_val=LABELS)


def with_entry(x: np.ndarray, value: Any) -> np.ndarray:
    changed = x.copy()
    changed[3, 1] = value
    return changed


def column(values: Any) -> pd.DataFrame:
    return FRAME.assign(b=values)


DAY = np.datetime64("2026-01-01")
NAMED = "X, column 'b', must hold real numbers; got "
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "NaN": (with_entry(X, np.nan), ValueError, "X contains NaN"),
    "infinity": (with_entry(X, np.inf), ValueError, "X contains infinity"),
    "None among objects": (with_entry(X.astype(object), None), ValueError, "X contains NaN"),
    "pandas, NaN": (FRAME.mask(FRAME > 0.5), ValueError, "X contains NaN"),
    "pandas, NA": (FRAME.astype("Float64").mask(FRAME > 0.5), ValueError, "X contains NaN"),
    "pandas, NA among objects": (column([pd.NA] + [1.0] * 39), ValueError, "column 'b', must not have missing values"),
    "polars, null": (pl.DataFrame({"a": [None] + [1.0] * 39}), ValueError, "X contains NaN"),
    "sparse, NaN": (sparse.csr_array(with_entry(X, np.nan)), ValueError, "X contains NaN"),
    "masked": (np.ma.masked_array(X, X > 0.5), TypeError, "got a masked array.*X.filled"),
    "dates": (np.full(X.shape, DAY), TypeError, "must hold real numbers; got dates.*seconds"),
    "pandas, dates": (column(pd.Timestamp(DAY)), TypeError, NAMED + "dates.*seconds"),
    "pandas, time zone": (column(pd.Timestamp(DAY, tz="UTC")), TypeError, NAMED),
    "pandas, periods": (column(pd.Period("2026")), TypeError, NAMED + "Python objects"),
    "polars, dates": (pl.DataFrame({"a": np.full(40, DAY)}), TypeError, "X, column 'a', must .* got dates"),
    "time spans": (np.full(X.shape, np.timedelta64(1, "s")), TypeError, "got time spans.*seconds"),
    "strings": (np.full(X.shape, "1"), TypeError, "must hold real numbers; got strings.*np.unique"),
    "strings in lists": ([["1", "0", "1"]] * 40, TypeError, "must hold real numbers; got strings"),
    "strings among objects": (with_entry(X.astype(object), "1"), TypeError, "got strings"),
    "bytes": (np.full(X.shape, b"1"), TypeError, "got bytes"),
    "pandas, strings": (column("1"), TypeError, NAMED + "strings"),
    "pandas, categories": (column(pd.Categorical(["x", "y"] * 20)), TypeError, NAMED + "strings"),
    "polars, strings": (pl.DataFrame({"a": ["x"] * 40}), TypeError, "X, column 'a', must .* got strings"),
    "complex": (X + 1j, ValueError, "Complex data not supported"),
    "pandas, complex": (column(1j), TypeError, NAMED + "complex numbers.*two columns"),
    "objects": (np.full(X.shape, object()), TypeError, "must be a string or a real number"),
    "pandas, objects": (column([object()] * 40), TypeError, NAMED + "Python objects"),
    "records": (np.zeros(40, "f8,f8"), TypeError, "got records"),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_data_change_nothing(name: str) -> None:
    data, error, message = REFUSED[name]
    for estimator, y in ((classifier(warm_start=True), LABELS), (regressor(warm_start=True), NUMBERS)):
        with pytest.raises(error, match=message):
            estimator.fit(data, y)
        assert not hasattr(estimator, "coefs_")
        estimator.fit(X, y)
        before = [array.copy() for array in estimator.coefs_]
        for call in (
            lambda estimator=estimator: estimator.predict(data),
            lambda estimator=estimator, y=y: estimator.fit(data, y),
            lambda estimator=estimator, y=y: estimator.partial_fit(data, y),
        ):
            # A frame of one column is refused for its names before it is for its values, and so on: any way but in
            # silence.
            with pytest.raises((error, ValueError)):
                call()
        for got, want in zip(estimator.coefs_, before, strict=True):
            np.testing.assert_array_equal(got, want)


TARGETS: dict[str, tuple[Any, type[Exception], str]] = {
    "NaN": (np.where(NUMBERS > 0, np.nan, NUMBERS), ValueError, "y contains NaN"),
    "None": ([None, *NUMBERS[1:].tolist()], ValueError, "y must be finite; got nan in row 0"),
    "masked": (np.ma.masked_array(NUMBERS, NUMBERS > 0), TypeError, "y must be a plain array; got a masked array"),
    "dates": (np.full(40, DAY), TypeError, "y must hold real numbers; got dates"),
    "complex": (NUMBERS + 1j, ValueError, "Complex data not supported"),
    "strings": (np.full(40, "x"), TypeError, "y must hold real numbers; got strings"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_refused_targets_are_told(name: str) -> None:
    y, error, message = TARGETS[name]
    reg = regressor()
    with pytest.raises(error, match=message):
        reg.fit(X, y)
    assert not hasattr(reg, "coefs_")


def test_masked_labels_and_weights_are_refused() -> None:
    with pytest.raises(TypeError, match="y must be a plain array; got a masked array"):
        classifier().fit(X, np.ma.masked_array(LABELS, LABELS > 0))
    with pytest.raises(TypeError, match="sample_weight must be a plain array; got a masked array"):
        classifier().fit(X, LABELS, np.ma.masked_array(np.ones(40), LABELS > 0))
    with pytest.raises(TypeError, match="y_val must be a plain array; got a masked array"):
        classifier().fit(X, LABELS, X_val=X, y_val=np.ma.masked_array(LABELS, LABELS > 0))


# -- arrays of other libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["array_api_strict", pytest.param("torch", marks=pytest.mark.peers)])
def test_with_array_api_dispatch_results_are_the_callers_arrays(library: str) -> None:
    """In a process of its own: SciPy reads whether it takes part when it is imported."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")])
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", library]
    result = subprocess.run(
        [*command, "tests/array_api_dispatch.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    assert "skipped" not in result.stdout, result.stdout[-300:]
