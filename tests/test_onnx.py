"""ONNX: onnxruntime computes what the network does, for every layer, in both dtypes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from exchange_networks import ALPHAS, DERIVED, GRID, KINDS, LEVELS, NAMES, X, activation_alone, embedded, network
from kernels_oracle import ACTIVATION, exact

import tinynet as tn

TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"input": x})
    return np.asarray(y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_computes_what_the_network_does(name: str, dtype: str) -> None:
    net = network(name, dtype)
    expected = net.predict(X)
    y = run(net.to_onnx(), X.astype(dtype))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnxruntime_picks_the_vectors_of_levels(dtype: str) -> None:
    net = embedded(dtype)
    y = run(net.to_onnx(), LEVELS.astype(dtype))
    np.testing.assert_allclose(y, net.predict(LEVELS), rtol=0, atol=TOLERANCE[dtype] * 10)


def test_derivatives_that_cannot_be_written_are_refused() -> None:
    for name in ("LayerNorm", "Residual"):
        with pytest.raises(
            NotImplementedError, match=rf"layer 1, {name}\(.*has derivatives that cannot be written in ONNX"
        ):
            network(name).to_onnx(jacobian=True)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"softmax"}))
def test_activations_are_exact_in_float64(kind: str) -> None:
    y = run(activation_alone(kind).to_onnx(), GRID[:, None])[:, 0]
    alpha = exact(ALPHAS.get(kind, 0.0))
    expected = np.array([float(ACTIVATION[kind](exact(z), alpha)) for z in GRID])
    floor = 2.3e-16 if kind == "sigmoid" else 1e-300  # onnxruntime's is a sum with 1, whose tail is rounded to 1.
    np.testing.assert_allclose(y, expected, rtol=2e-12 if kind == "gelu" else 1e-14, atol=floor)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_leaky_relu_has_any_slope(slope: float, dtype: str) -> None:
    net = tn.Sequential(tn.Linear(3, 4), tn.LeakyReLU(slope), dtype=dtype, seed=0, backend="numpy")
    np.testing.assert_allclose(run(net.to_onnx(), X.astype(dtype)), net.predict(X), atol=TOLERANCE[dtype] * 10)


def test_the_number_of_rows_is_open() -> None:
    net = network("Tanh")
    proto = net.to_onnx()
    for n in (1, 2, 1000):
        assert run(proto, np.zeros((n, 3))).shape == (n, 5)
    for value in (proto.graph.input[0], proto.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_weight_that_changes_later_does_not_change_the_model() -> None:
    net = network("ReLU")
    proto = net.to_onnx()
    before = net.predict(X)
    net.set_flat_parameters(np.zeros(net.n_parameters))
    np.testing.assert_allclose(run(proto, X), before, rtol=1e-12)


def test_models_declare_the_oldest_versions_that_will_do() -> None:
    for name in NAMES:
        proto = network(name, "float32").to_onnx()
        assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
        assert proto.ir_version == 8
        assert proto.producer_name == "tinynet"


def test_the_file_holds_what_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    proto = network("GELU").to_onnx(path)
    assert onnx.load(path) == proto
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


def test_a_network_of_the_fused_backend_is_exported_too() -> None:
    net = tn.Sequential(tn.Linear(3, 2), tn.Tanh(), seed=0, backend="numba")
    y = run(net.to_onnx(), X.astype("float32"))
    np.testing.assert_allclose(y, net.to("numpy").predict(X), atol=2e-6)


class Double(tn.Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, grad: Any) -> Any:
        return 2 * grad


def test_layers_in_python_are_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"layer 1, Double\(\), is written in Python; ONNX"):
        tn.Sequential(tn.Linear(3, 2), Double(), backend="numpy").to_onnx()


def test_a_network_that_has_not_seen_its_data_is_refused() -> None:
    with pytest.raises(ValueError, match="adapt"):
        tn.Sequential(tn.Normalize(3), tn.Linear(3, 2), backend="numpy").to_onnx()


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(tn.DependencyError, match="pip install onnx"):
        network("Tanh").to_onnx()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net = network("Tanh")
    net.layers[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="weight that is not finite"):
        net.to_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*DERIVED, "linear only"])
def test_the_jacobian_is_a_second_output(name: str, dtype: str) -> None:
    linear = [tn.Linear(3, 2), tn.Linear(2, 4)]
    alone = tn.Sequential(*linear, dtype=dtype, seed=0, backend="numpy")
    net = alone if name == "linear only" else network(name, dtype)
    x = X[:7].astype(dtype)
    session = onnxruntime.InferenceSession(net.to_onnx(jacobian=True).SerializeToString())
    y, jacobian = session.run(["output", "jacobian"], {"input": x})
    np.testing.assert_allclose(y, net.predict(x), atol=10 * TOLERANCE[dtype] * max(1.0, np.abs(y).max()))
    expected = net.jacobian(x)
    np.testing.assert_allclose(jacobian, expected, atol=20 * TOLERANCE[dtype] * max(1.0, np.abs(expected).max()))


def test_the_jacobian_divides_by_columns_that_are_not_rounded() -> None:
    """Of a float32 network: as its predictions do, and as the C export does."""
    scale = np.exp(np.random.default_rng(0).normal(size=40))
    net = tn.Sequential(tn.Normalize(40), tn.Linear(40, 40, bias=False), seed=0, backend="numpy")
    net.layers[0].adapt(np.stack([-scale, scale]))
    net.set_weights([np.eye(40)])
    session = onnxruntime.InferenceSession(net.to_onnx(jacobian=True).SerializeToString())
    (jacobian,) = session.run(["jacobian"], {"input": np.zeros((1, 40), np.float32)})
    np.testing.assert_array_equal(np.diag(jacobian[0]), (1.0 / scale).astype(np.float32))
