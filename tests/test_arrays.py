"""What may be passed as data: a row for each kind of input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import tinynet as tn

X = np.round(np.random.default_rng(0).normal(size=(6, 3)) * 4.0)
Y = X.sum(axis=1, keepdims=True)


def read_only(x: np.ndarray) -> np.ndarray:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


ACCEPTED: dict[str, Callable[[np.ndarray], Any]] = {
    "lists": np.ndarray.tolist,
    "tuples": lambda x: tuple(map(tuple, x.tolist())),
    "Fortran order": np.asfortranarray,
    "reversed strides": lambda x: x[::-1][::-1],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": read_only,
    "int8": lambda x: x.astype(np.int8),
    "int64": lambda x: x.astype(np.int64),
    "float16": lambda x: x.astype(np.float16),
    "float32": lambda x: x.astype(np.float32),
    "big-endian": lambda x: x.astype(">f8"),
    "pandas": lambda x: pd.DataFrame(x, columns=["a", "b", "c"]),
    "pandas nullable": lambda x: pd.DataFrame(x, columns=["a", "b", "c"]).astype("Int64"),
    "pandas mixed": lambda x: pd.DataFrame({"a": x[:, 0].astype(int), "b": x[:, 1], "c": x[:, 2].astype("f4")}),
    "polars": lambda x: pl.DataFrame(x, schema=["a", "b", "c"]),
    "array-api-strict": lambda x: array_api_strict.asarray(x),
}


@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_as_if_it_were_numpy(make: Callable[[np.ndarray], Any], backend: str) -> None:
    expected = tn.Sequential(tn.Linear(3, 1), seed=0, backend=backend)
    net = tn.Sequential(tn.Linear(3, 1), seed=0, backend=backend)
    expected.fit(X, Y, epochs=2)
    given = make(X)
    before = np.array(X)
    net.fit(given, Y, epochs=2)
    result = net.predict(given)
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    assert result.tobytes() == expected.predict(X).tobytes()
    assert np.array_equal(X, before)


def test_bool_is_accepted() -> None:
    net = tn.Sequential(tn.Linear(3, 1), backend="numpy")
    assert np.array_equal(net.predict(X > 0), net.predict((X > 0).astype(float)))


def test_torch_tensors_are_accepted() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = tn.Sequential(tn.Linear(3, 1), backend="numpy")
    assert np.array_equal(net.predict(torch.from_numpy(X)), net.predict(X))
    with pytest.raises(TypeError, match=r"Call x.detach\(\) first"):
        net.predict(torch.from_numpy(X).requires_grad_())


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "pandas text": (
        lambda: pd.DataFrame({"a": [1.0], "b": ["x"], "c": [2.0]}),
        TypeError,
        "x, column 'b', must hold real numbers",
    ),
    "pandas dates": (
        lambda: pd.DataFrame({"a": [1.0], "when": pd.to_datetime(["2020-01-01"]), "c": [2.0]}),
        TypeError,
        "x, column 'when', must hold real numbers; got dates",
    ),
    "pandas NA": (
        lambda: pd.DataFrame({"a": [1, None], "b": [1, 2], "c": [3, 4]}).astype("Int64"),
        ValueError,
        "x must be finite; got nan in row 1, column 0",
    ),
    "polars null": (
        lambda: pl.DataFrame({"a": [1.0, None], "b": [1.0, 2.0], "c": [3.0, 4.0]}),
        ValueError,
        "x must be finite; got nan in row 1, column 0",
    ),
    "polars text": (
        lambda: pl.DataFrame({"a": [1.0], "b": ["x"], "c": [3.0]}),
        TypeError,
        "x, column 'b', must hold real numbers",
    ),
    "objects that are numbers": (lambda: X.astype(object), TypeError, r"Convert them with .astype\(float\)"),
    "masked": (lambda: np.ma.masked_array(X, X > 1), TypeError, "masked array"),
    "sparse": (lambda: scipy.sparse.csr_array(X), TypeError, r"Call x.toarray\(\) first"),
    "None": (lambda: None, (TypeError, ValueError), "x"),  # type: ignore[dict-item]
    "a number": (lambda: 3.0, ValueError, r"of shape \(batch, 3\); got \(\)"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_the_remedy(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tn.Sequential(tn.Linear(3, 1), backend="numpy").predict(make())


def test_one_column_of_targets_may_be_one_dimensional(backend: str) -> None:
    a = tn.Sequential(tn.Linear(3, 1), seed=0, backend=backend)
    b = tn.Sequential(tn.Linear(3, 1), seed=0, backend=backend)
    a.fit(X, Y[:, 0])
    b.fit(X, Y)
    assert a.flat_parameters().tobytes() == b.flat_parameters().tobytes()


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [[0], [1], [2], [0], [1], [2]], [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]])
def test_class_numbers_may_come_in_any_form(labels: Any, backend: str) -> None:
    a = tn.Sequential(tn.Linear(3, 3), seed=0, backend=backend)
    b = tn.Sequential(tn.Linear(3, 3), seed=0, backend=backend)
    a.fit(X, labels, loss="cross_entropy")
    b.fit(X, np.eye(3)[[0, 1, 2, 0, 1, 2]], loss="cross_entropy")
    np.testing.assert_allclose(a.flat_parameters(), b.flat_parameters(), rtol=1e-5)


def test_the_array_module_of_an_array() -> None:
    assert tn.numpy_namespace(X) is np
    assert tn.numpy_namespace([1.0]) is np
