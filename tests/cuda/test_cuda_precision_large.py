"""The large networks that lower precisions are for: their plan, and the update in the product."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine
from precision_networks import RNG, X, Y, difference, each_precision, network, plan_of, trained

import tinynet as tn

WEIGHTS = RNG.uniform(0.0, 2.0, 48)


LARGE = "large: products by cuBLAS, one pass for all that lies between"

pytestmark = pytest.mark.usefixtures("cp")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets networks that are small, as those of tests should be, train as large ones do."""
    monkeypatch.setenv("TINYNET_GPU_TIER", "large")


@pytest.fixture
def matmul_in_tf32(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy's setting for the whole process, put to TF32 as ``CUPY_TF32=1`` does, and back; returns it."""
    core, constants = cp._core, importlib.import_module("cupy._core._routines_linalg")
    before = core.get_compute_type(np.float32)
    core.set_compute_type(np.float32, constants.COMPUTE_TYPE_TF32)
    yield lambda: core.get_compute_type(np.float32) == constants.COMPUTE_TYPE_TF32
    core.set_compute_type(np.float32, before)


# What has no say in it.


@pytest.mark.usefixtures("large")
def test_float32_stays_float32_where_cupy_multiplies_in_tf32(cp: ModuleType, matmul_in_tf32: Any) -> None:
    a = cp.asarray(np.full((64, 64), 1 + 2.0**-12, np.float32))
    assert cp.matmul(a, a).get()[0, 0] == 64, "the setting is not in force"
    assert difference(trained(optimizer="descent"), trained("numpy", "descent")) < 1e-5


@pytest.mark.usefixtures("large")
def test_float32_stays_float32_with_cupy_tf32(
    machine: Machine, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_TF32", "1")
    assert difference(trained(optimizer="descent"), trained("numpy", "descent")) < 1e-5
    assert cp._core.get_compute_type(np.float32) == 7


@each_precision
def test_a_training_leaves_cupys_own_setting_alone_also_if_it_fails(
    cp: ModuleType, precision: str, matmul_in_tf32: Any
) -> None:
    trained(precision=precision)
    assert matmul_in_tf32()
    with pytest.raises(tn.DivergenceError):
        network(precision=precision).fit(X, Y, optimizer=tn.SGD(1e30), epochs=3)
    assert matmul_in_tf32()
    assert difference(trained(optimizer="descent"), trained("numpy", "descent")) < 1e-5


# Which plan.


def test_descriptions_tell_the_tier_and_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_of(network(precision="tf32")) == "large: cuBLAS in TF32, one pass for all that lies between"
    assert plan_of(network(precision="bf16")) == "large: cuBLAS in bfloat16, one pass for all that lies between"
    assert plan_of(network()).startswith("fused: ")
    monkeypatch.setenv("TINYNET_GPU_TIER", "large")
    assert plan_of(network()) == LARGE
    monkeypatch.setenv("TINYNET_GPU_TIER", "loop")
    assert plan_of(network()) == "loop: TINYNET_GPU_TIER=loop"
    assert plan_of(network(precision="tf32")) == "loop: TINYNET_GPU_TIER=loop; cuBLAS in TF32"


def test_a_network_too_large_for_every_other_tier_is_large() -> None:
    net = tn.Sequential(tn.Linear(20, 2048), tn.ReLU(), tn.Linear(2048, 2048), tn.Linear(2048, 3), backend="gpu")
    assert plan_of(net, batch_size=48, optimizer="sgd") == LARGE


@pytest.mark.parametrize("tier", ["registers", "persistent", "spread", "graph"])
def test_a_tier_that_multiplies_in_float32_is_not_for_tf32(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    net = network(precision="tf32")
    before = net.flat_parameters()
    with pytest.raises(ValueError, match=rf"TINYNET_GPU_TIER={tier} asks for .*TINYNET_GPU_TIER=large"):
        net.fit(X, Y)
    np.testing.assert_array_equal(net.flat_parameters(), before)


def test_the_large_tier_takes_no_ensemble_but_its_models_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", "large")
    assert tn.Ensemble(network(), 2).fit(X, Y).plan == f"model by model: {LARGE}"


# The update in the product.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", ["biased", "unbiased", "between"])
@pytest.mark.usefixtures("large")
def test_descent_in_the_product_is_numpys(layers: str, dtype: str) -> None:
    def made(backend: str) -> tn.Sequential:
        chosen: dict[str, list[tn.Layer]] = {
            "biased": [tn.Linear(20, 9), tn.GELU(), tn.Linear(9, 3)],
            "unbiased": [tn.Linear(20, 9, bias=False), tn.Linear(9, 3, bias=False), tn.Tanh()],
            "between": [tn.Normalize(20).adapt(X), tn.Linear(20, 9), tn.Dropout(0.3), tn.ELU(), tn.Linear(9, 3)],
        }
        net = tn.Sequential(*chosen[layers], dtype=dtype, seed=2, backend=backend)
        net.fit(X, Y, optimizer=tn.SGD(tn.CosineDecay(0.05, 4)), epochs=4, batch_size=10, sample_weight=WEIGHTS)
        return net

    ours, theirs = made("gpu"), made("numpy")
    tolerance = {"float32": 2e-5, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(ours.flat_parameters(), theirs.flat_parameters(), rtol=0, atol=tolerance)
    assert ours.history is not None
    assert theirs.history is not None
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=tolerance)


PLAIN = tn.SGD(0.1)
UPDATES: dict[str, tuple[tn.Optimizer, bool]] = {
    "plain": (PLAIN, True),
    "momentum": (tn.SGD(0.1, momentum=0.5), False),
    "decay": (tn.SGD(0.1, weight_decay=0.1), False),
    "norm": (tn.SGD(0.1, clip_norm=1.0), False),
    "value": (tn.SGD(0.1, clip_value=1.0), False),
    "adam": (tn.Adam(0.1), False),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.usefixtures("large")
def test_only_plain_descent_leaves_the_gradient_of_weights_unwritten(name: str) -> None:
    optimizer, folded = UPDATES[name]
    net = tn.Sequential(tn.Linear(20, 3), seed=0, backend="gpu")
    net.layers[0].weight_grad[...] = 77.0
    net.fit(X, Y, optimizer=optimizer)
    untouched = bool((net.layers[0].weight_grad.get() == 77.0).all())
    assert untouched == folded


def test_who_watches_updates_sees_gradients() -> None:
    net, seen = tn.Sequential(tn.Linear(20, 3), seed=0, backend="gpu", precision="tf32"), []
    watch = tn.LambdaCallback(on_train_batch_end=lambda *_: seen.append(net.layers[0].weight_grad.get().copy()))
    plan = plan_of(net, callbacks=[watch], batch_size=16, optimizer=PLAIN)
    assert plan == "loop: one update at a time was asked for; cuBLAS in TF32"
    assert len(seen) == 3
    assert all(np.abs(gradient).max() > 0 for gradient in seen)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_streamed_data_train_a_large_network_by_the_same_products(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = [network(precision=precision) for _ in ("resident", "streamed")]
    for net, limit in zip(nets, ["1000000", "0"], strict=True):
        monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", limit)
        net.layers[0].weight_grad[...] = 77.0
        net.fit(X, Y, optimizer=PLAIN, epochs=2, batch_size=16)
        assert (net.layers[0].weight_grad.get() == 77.0).all(), "the gradient was written: not folded"
    plans = [net.history.plan for net in nets if net.history is not None]
    assert [plan.partition(":")[0] for plan in plans] == ["large", "loop"]
    assert plans[1].startswith("loop: data in host memory")
    np.testing.assert_array_equal(nets[1].flat_parameters(), nets[0].flat_parameters())
