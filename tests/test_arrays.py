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


def lazy_negative(torch: Any, x: np.ndarray) -> Any:
    """``x`` as a view of memory that holds ``-x``: PyTorch keeps the sign as a bit of the tensor."""
    tensor = torch.complex(torch.zeros(x.shape, dtype=torch.float64), torch.from_numpy(-x)).conj().imag
    assert tensor.is_neg()
    return tensor


def lazy_zero(torch: Any, x: np.ndarray) -> Any:
    """Zeros that have no memory."""
    return torch._efficientzerotensor(x.shape, dtype=torch.float64)


LAZY = {"negative": (lazy_negative, X), "zero": (lazy_zero, np.zeros_like(X))}
USES: dict[str, Callable[[tn.Sequential, Any], Any]] = {
    "x of predict": lambda net, x: net.predict(x),
    "x of fit": lambda net, x: (net.fit(x, X, shuffle=False), net.flat_parameters())[1],
    "y": lambda net, x: (net.fit(X, x, loss="mse", shuffle=False), net.flat_parameters())[1],
    "evaluate": lambda net, x: net.evaluate(X, x, loss="mse")["loss"],
    "sample_weight": lambda net, x: (
        net.fit(X, X, sample_weight=abs(x)[:, 0] + 1, shuffle=False),
        net.flat_parameters(),
    )[1],
    "set_weights": lambda net, x: (net.set_weights([x[:3], x[0]]), net.flat_parameters())[1],
    "set_flat_parameters": lambda net, x: (net.set_flat_parameters(x.flatten()[:12]), net.flat_parameters())[1],
    "a layer's weight": lambda net, x: (setattr(net.layers[0], "weight", x[:3]), net.flat_parameters())[1],
    "forward": lambda net, x: net.forward(x),
    "backward": lambda net, x: (net.forward(X), net.backward(x))[1],
    "a loss": lambda net, x: tn.MeanSquaredError().forward(x, X),
    "adapt": lambda net, x: tn.Normalize(3).adapt(x).mean,
    "an ensemble": lambda net, x: tn.Ensemble(net, 2, seeds=[0, 1]).predict(x),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("kind", LAZY)
def test_what_a_torch_tensor_says_is_read_not_its_memory(kind: str, use: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    make, values = LAZY[kind]
    nets = [tn.Sequential(tn.Linear(3, 3), seed=0, backend="numpy") for _ in range(2)]
    given, plain = make(torch, values), torch.from_numpy(values)
    np.testing.assert_array_equal(np.asarray(use(nets[0], given)), np.asarray(use(nets[1], plain)))


def test_a_conjugate_of_torch_is_complex_and_refused() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    z = torch.complex(torch.from_numpy(X), torch.from_numpy(X)).conj()
    assert z.is_conj()
    with pytest.raises(TypeError, match="x must hold real numbers; got complex numbers"):
        tn.Sequential(tn.Linear(3, 1), backend="numpy").predict(z)
    assert np.array_equal(
        tn.Sequential(tn.Linear(3, 1), seed=0, backend="numpy").predict(z.real),
        tn.Sequential(tn.Linear(3, 1), seed=0, backend="numpy").predict(X),
    )


class OnlyDLPack:
    """An array of a library that knows no other way to NumPy."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


@pytest.mark.parametrize("device", [1, 3], ids=["memory", "pinned memory"])
def test_dlpack_alone_is_enough(device: int) -> None:
    net = tn.Sequential(tn.Linear(3, 1), backend="numpy")
    assert np.array_equal(net.predict(OnlyDLPack(X, device)), net.predict(X))


UNREADABLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bfloat16": (lambda torch: torch.ones(2, 3, dtype=torch.bfloat16), "NumPy can read; got Tensor.*BFloat16"),
    "sparse": (lambda torch: torch.eye(3).to_sparse(), "NumPy can read; got Tensor.*to_dense"),
    "rows that record": (lambda torch: [torch.ones(3, requires_grad=True)] * 2, "NumPy can read; got list.*detach"),
    "of no device": (lambda torch: torch.ones(2, 3, device="meta"), "in host memory.*on another device"),
}


@pytest.mark.parametrize(("make", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_tensors_that_numpy_cannot_read_say_why(make: Callable[[Any], Any], message: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    with pytest.raises(TypeError, match=f"x must be.*{message}"):
        tn.Sequential(tn.Linear(3, 1), backend="numpy").predict(make(torch))


def test_numbers_that_numpy_lacks_are_named() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed (it comes with JAX)")
    with pytest.raises(TypeError, match=r"numbers that NumPy has; got bfloat16\. Convert them to float32 first"):
        tn.Sequential(tn.Linear(3, 1), backend="numpy").predict(X.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("set_it", ["weight", "flat"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ma.masked_array(X[:3], X[:3] > 0), TypeError, "masked array"),
        (X[:3] + 1j, TypeError, "complex numbers"),
        (X[:3].astype(str), TypeError, "strings"),
        (X[:2], ValueError, r"shape \(.*\); got \("),
    ],
    ids=["masked", "complex", "strings", "shape"],
)
def test_weights_are_read_as_data_are(set_it: str, value: Any, error: type[Exception], message: str) -> None:
    net = tn.Sequential(tn.Linear(3, 3, bias=False), seed=0, backend="numpy")
    before = net.flat_parameters()
    with pytest.raises(error, match=message):
        setattr(net.layers[0], "weight", value) if set_it == "weight" else net.set_flat_parameters(value.ravel())
    assert net.flat_parameters().tobytes() == before.tobytes()


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
