"""Products in TF32 and bfloat16, and the large networks that they are for."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine, cublas

import tinynet as tn

RNG = np.random.default_rng(41)
X = RNG.standard_normal((48, 20)).astype(np.float32)
Y = RNG.standard_normal((48, 3)).astype(np.float32)
WEIGHTS = RNG.uniform(0.0, 2.0, 48)

# A factor is rounded by at most half a unit of its last bit: 2**-11 in TF32, 2**-8 in bfloat16.
TOLERANCES = {"tf32": 1e-3, "bf16": 1e-2}
ROUNDING = {"tf32": 2.0**-11, "bf16": 2.0**-8}
OPTIMIZERS = {
    "descent": lambda: tn.SGD(0.05),
    "momentum": lambda: tn.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda: tn.Adam(0.003, clip_norm=1.0),
}
LARGE = "large: products by cuBLAS, one pass for all that lies between"

pytestmark = pytest.mark.usefixtures("cp")
each_precision = pytest.mark.parametrize("precision", TOLERANCES)


def network(backend: str = "gpu", **settings: Any) -> tn.Sequential:
    layers = tn.Linear(20, 33), tn.Tanh(), tn.Linear(33, 3)
    return tn.Sequential(*layers, **{"seed": 7, "backend": backend, **settings})


def trained(backend: str = "gpu", optimizer: str = "adam", **settings: Any) -> tn.Sequential:
    net = network(backend, **settings)
    net.fit(X, Y, optimizer=OPTIMIZERS[optimizer](), epochs=3, batch_size=16)
    return net


def change(net: tn.Sequential) -> np.ndarray:
    """What training has made of the weights."""
    return net.flat_parameters() - network("numpy").flat_parameters()


def difference(net: tn.Sequential, other: tn.Sequential) -> float:
    """The difference of two trainings relative to what they have changed."""
    return float(np.linalg.norm(change(net) - change(other)) / np.linalg.norm(change(other)))


def plan_of(net: tn.Sequential, **settings: Any) -> str:
    return net.fit(X, Y, **settings).plan


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


# Products.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(5, 7, 3), (1, 1, 1), (1, 6, 1), (8, 1, 4), (0, 3, 2), (4, 2, 1)]
)
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_a_product_is_that_of_float64(
    cp: ModuleType, dtype: str, rows: int, inner: int, columns: int, transposed: str
) -> None:
    from tinynet_kernels.cuda.products import product

    rng = np.random.default_rng(rows)
    a, b = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    c = rng.normal(size=(rows, columns)).astype(dtype)
    ours = [
        cp.asarray(np.ascontiguousarray(x.T)).T if n in transposed else cp.asarray(x)
        for n, x in {"a": a, "b": b}.items()
    ]
    plain, added = cp.empty((rows, columns), dtype), cp.asarray(c)
    product(*ours, plain)
    product(*ours, added, alpha=-0.5, beta=2.0)
    exact, eps = a.astype(float) @ b.astype(float), 4 * inner * np.finfo(dtype).eps
    np.testing.assert_allclose(plain.get(), exact, rtol=0, atol=4 * eps)
    np.testing.assert_allclose(added.get(), 2 * c.astype(float) - 0.5 * exact, rtol=0, atol=8 * eps)


@pytest.mark.parametrize(("beta", "expected"), [(0.0, 0.0), (2.0, 6.0)])
def test_a_product_over_nothing_is_zero(cp: ModuleType, beta: float, expected: float) -> None:
    from tinynet_kernels.cuda.products import product

    out = cp.asarray(np.full((2, 4), 3.0))
    product(cp.empty((2, 0)), cp.empty((0, 4)), out, beta=beta)
    np.testing.assert_array_equal(out.get(), expected)


def test_a_product_of_scattered_numbers_is_refused(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.products import product

    with pytest.raises(ValueError, match=r"contiguous, or whose transpose is; got shape \(4, 2\)"):
        product(cp.empty((4, 4))[:, ::2], cp.empty((2, 3)), cp.empty((4, 3)))


@each_precision
def test_factors_are_rounded_and_sums_are_not(cp: ModuleType, precision: str) -> None:
    from tinynet_kernels.cuda.products import product

    # Multiples of 16, as wide as tensor cores like it, so that a GPU does use them.
    a, b = (RNG.uniform(1, 2, (64, 64)).astype(np.float32) for _ in "ab")
    exact, out = a.astype(float) @ b.astype(float), cp.empty((64, 64), np.float32)
    product(cp.asarray(a), cp.asarray(b), out, precision)
    error = np.abs(out.get() / exact - 1).max()
    assert error < 2.1 * ROUNDING[precision]
    assert error > 1e-6, "no less exact than float32: was the precision passed on?"
    # Powers of two lose nothing, and 4096 + 1/4096, which is 25 bits from end to end, is summed in float32.
    one, left = np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32)
    left[:, 0], left[:, 1] = 2048, 2.0**-12
    product(cp.asarray(left), cp.asarray(one), out, precision)
    np.testing.assert_array_equal(out.get(), np.float32(2048 + 2.0**-12))


@each_precision
@pytest.mark.parametrize("result", ["y", "activated", "dw", "dx", "descended", "dx of descent"])
def test_each_product_of_the_affine_map_is_in_the_precision(cp: ModuleType, precision: str, result: str) -> None:
    from tinynet_kernels.cuda.linear import in_precision

    hosts = [RNG.uniform(1, 2, (64, 64)).astype(np.float32) for _ in range(3)]
    (dx_, dw_, y_), kernels = (cp.empty((64, 64), np.float32) for _ in range(3)), in_precision(precision)
    device_x, device_w, device_dy = map(cp.asarray, hosts)
    kernels["linear_forward"](device_x, device_w, None, y_)
    kernels["linear_backward"](device_x, device_w, device_dy, dw_, None, dx_)
    got = {"y": y_.get(), "dw": dw_.get(), "dx": dx_.get()}
    kernels["linear_activation_forward"]("identity", device_x, device_w, None, y_, y_)
    kernels["linear_descent"](device_x, device_w, device_dy, None, dx_, 1.0)
    got |= {"activated": y_.get(), "descended": hosts[1] - device_w.get(), "dx of descent": dx_.get()}
    x64, w64, dy64 = (host.astype(float) for host in hosts)
    exact = {"y": x64 @ w64, "dw": x64.T @ dy64, "dx": dy64 @ w64.T}
    exact |= {"activated": exact["y"], "descended": exact["dw"], "dx of descent": exact["dx"]}
    error = np.abs(got[result] / exact[result] - 1).max()
    # Without the rounding of factors, that of float32 sums is below 3e-6.
    assert 1e-5 < error < 2.1 * ROUNDING[precision]


# Trainings.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_precision
def test_a_training_in_less_precision_is_close_to_numpys(precision: str, optimizer: str) -> None:
    ours, theirs = trained(precision=precision, optimizer=optimizer), trained("numpy", optimizer)
    assert ours.history is not None
    assert theirs.history is not None
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=TOLERANCES[precision])
    scale = np.abs(theirs.predict(X)).max()
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=0, atol=3 * TOLERANCES[precision] * scale)
    assert ours.flat_parameters().dtype == np.float32


def test_precisions_differ_in_the_order_of_their_bits() -> None:
    exact = trained("numpy", "descent")
    errors = [difference(trained(optimizer="descent", precision=p), exact) for p in ("float32", "tf32", "bf16")]
    assert errors[0] < 1e-5 < 4 * errors[0] + 1e-5 < errors[1] < errors[2] / 3 < 0.05


@each_precision
def test_everything_a_model_computes_is_in_its_precision(precision: str) -> None:
    net, exact = network(precision=precision), network("numpy")
    results = [
        (net.predict(X), exact.predict(X)),
        (net.forward(X), exact.forward(X)),
        (net.backward(Y), exact.backward(Y)),
        (np.array(net.evaluate(X, Y, loss="mse")["loss"]), np.array(exact.evaluate(X, Y, loss="mse")["loss"])),
    ]
    for ours, theirs in results:
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        assert 1e-6 < error < 3 * TOLERANCES[precision]


@each_precision
def test_models_of_an_ensemble_train_in_the_precision_of_their_network(precision: str) -> None:
    models = tn.Ensemble(network(precision=precision), 2, [7, 8])
    history = models.fit(X, Y, optimizer=tn.SGD(0.05), epochs=3, batch_size=16)
    alone = trained(optimizer="descent", precision=precision)
    how = {"tf32": "TF32", "bf16": "bfloat16"}[precision]
    assert history.plan.startswith(f"batched: products of all models at once by cuBLAS in {how}, one pass")
    np.testing.assert_allclose(models[0].flat_parameters(), alone.flat_parameters(), rtol=0, atol=1e-6)
    assert difference(models[0], trained("numpy", "descent")) > 1e-4
    assert models[0].precision == models[[1, 0]].program.precision == precision
    with pytest.raises(ValueError, match="dtype, precision and backend"):
        tn.Ensemble.concatenate([models, tn.Ensemble(network(), 1)])
    assert models.to("numpy", precision="float32").program.precision == "float32"


def test_layers_and_losses_of_the_user_train_in_the_precision_of_their_model() -> None:
    class Doubled(tn.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, grad: Any) -> Any:
            return 2 * grad

    nets = [
        tn.Sequential(tn.Linear(20, 3), Doubled(), seed=1, backend=backend, **settings)
        for backend, settings in (("gpu", {"precision": "bf16"}), ("numpy", {}))
    ]
    plans = [plan_of(net, epochs=2, optimizer=tn.SGD(0.05)) for net in nets]
    assert plans[0] == "loop: custom layer Doubled; cuBLAS in bfloat16"
    error = np.abs(nets[0].flat_parameters() - nets[1].flat_parameters()).max()
    assert 1e-6 < error < 1e-2


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


# What cannot be had.


def test_there_are_three_precisions() -> None:
    with pytest.raises(ValueError, match="precision must be one of 'bf16', 'float32', 'tf32'; got 'fp16'"):
        network(precision="fp16")


@each_precision
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_backends_on_the_processor_have_none_of_it(backend: str, precision: str) -> None:
    with pytest.raises(
        ValueError, match=rf"precision='{precision}' needs the GPU backend; got the backend '{backend}'"
    ):
        network(backend, precision=precision)
    program = network(backend).program
    lowered = tn.program.Program(program.ops, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs the GPU backend"):
        tn.backends.get_backend(backend).plan(lowered)


@each_precision
def test_a_float64_model_has_none_of_it(precision: str) -> None:
    with pytest.raises(
        ValueError, match=rf"precision='{precision}' is for models of dtype float32; got dtype='float64'"
    ):
        network(precision=precision, dtype="float64")
    assert network(dtype="float64", precision="float32").precision == "float32"


@each_precision
def test_an_old_gpu_says_so_before_anything_runs(machine: Machine, precision: str) -> None:
    net = network()
    before = net.flat_parameters()
    machine.compute_capability = "75"
    told = rf"precision='{precision}' needs a GPU of compute capability 8.0 or higher; got GPU 0, which has 7.5"
    with pytest.raises(ValueError, match=told):
        network(precision=precision)
    with pytest.raises(ValueError, match=told):
        net.to("gpu", precision=precision)
    assert (net.precision, network(precision="float32").precision) == ("float32", "float32")
    np.testing.assert_array_equal(net.flat_parameters(), before)
    machine.compute_capability = "120"
    assert network(precision=precision).precision == precision


# Where it goes, and where it does not.


@each_precision
def test_copies_and_moves_keep_the_precision(precision: str) -> None:
    net = network(precision=precision)
    assert net.clone().precision == net.to("gpu").precision == precision
    assert repr(net).endswith(f"backend='cupy', precision='{precision}')")
    assert net.clone(precision="float32").precision == "float32"
    assert net.clone("float64", precision="float32").dtype == "float64"
    with pytest.raises(ValueError, match="dtype float32"):
        net.clone("float64")
    before = net.flat_parameters()
    with pytest.raises(ValueError, match="needs the GPU backend"):
        net.to("numpy")
    assert (net.backend.name, net.precision) == ("cupy", precision)
    assert net.to("numpy", precision="float32").precision == "float32"
    np.testing.assert_array_equal(net.flat_parameters(), before)
    np.testing.assert_allclose(net.predict(X), network("numpy").predict(X), rtol=1e-6)


def test_a_change_of_precision_changes_the_next_result() -> None:
    net = network()
    exact = net.predict(X)
    assert np.abs(net.to("gpu", precision="bf16").predict(X) - exact).max() > 1e-4
    np.testing.assert_array_equal(net.to("gpu", precision="float32").predict(X), exact)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_files_hold_weights_and_no_precision(ending: str, tmp_path: Path) -> None:
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    net = trained(precision="bf16")
    net.save(tmp_path / f"net{ending}")
    for backend in ("gpu", "numpy"):
        again = tn.load(tmp_path / f"net{ending}", backend=backend)
        assert again.precision == "float32"
        np.testing.assert_array_equal(again.flat_parameters(), net.flat_parameters())


def test_gradients_are_checked_in_float64_whatever_the_precision() -> None:
    assert tn.gradient_check(network(precision="bf16"), X[:2], Y[:2]).max_relative_error < 1e-6


# The stand-in.


@pytest.mark.parametrize("bits", [7, 10])
def test_the_stand_in_rounds_to_the_nearest_with_ties_to_even(bits: int) -> None:
    unit = 2.0**-bits
    given = np.float32([1, 1 + unit / 2, 1 + 1.5 * unit, 1 + 0.51 * unit, -1 - 0.49 * unit, np.inf, 3e38, np.nan])
    expected = np.float32(
        [1, 1, 1 + 2 * unit, 1 + unit, -1, np.inf, np.round(3e38 / 2.0**127 / unit) * unit * 2.0**127]
    )
    np.testing.assert_array_equal(cublas.rounded(given, bits)[:-1], expected)
    assert np.isnan(cublas.rounded(given, bits)[-1])


def test_matmul_obeys_the_setting_for_tf32_and_has_none_for_bfloat16(cp: ModuleType) -> None:
    constants, core = importlib.import_module("cupy._core._routines_linalg"), cp._core
    a = cp.asarray(np.full((64, 64), 1 + 2.0**-12, np.float32))
    before = core.get_compute_type(np.float32)
    products = {}
    for name in ("DEFAULT", "TF32", "BF16"):
        core.set_compute_type(np.float32, getattr(constants, f"COMPUTE_TYPE_{name}"))
        products[name] = cp.matmul(a, a).get()[0, 0]
    core.set_compute_type(np.float32, before)
    assert products["TF32"] == 64
    assert products["BF16"] == products["DEFAULT"] > 64


def test_the_setting_is_not_for_old_gpus(machine: Machine, cp: ModuleType) -> None:
    machine.compute_capability = "75"
    with pytest.warns(UserWarning, match="COMPUTE_TYPE_DEFAULT will be used instead"):
        cp._core.set_compute_type(np.float32, 7)
    assert cp._core.get_compute_type(np.float32) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"lda": 1}, "CUBLAS_STATUS_INVALID_VALUE"),
        ({"computeType": 70}, "CUBLAS_STATUS_NOT_SUPPORTED"),
        ({"handle": 1}, "CUBLAS_STATUS_NOT_INITIALIZED"),
        ({"A": 64}, "where no array lies"),
        ({"k": 99, "ldb": 99}, "ends behind its array"),
    ],
)
def test_the_stand_in_refuses_products_that_cannot_be(
    machine: Machine, cp: ModuleType, change: dict[str, int], error: str
) -> None:
    a, b, c = (cp.empty((4, 4), np.float32) for _ in "abc")
    numbers = np.ones(2, np.float32)
    arguments = {"handle": cp.cuda.device.get_cublas_handle(), "transa": 0, "transb": 0, "m": 4, "n": 4, "k": 4}
    arguments |= {"alpha": numbers.ctypes.data, "A": a.data.ptr, "Atype": 0, "lda": 4}
    arguments |= {"B": b.data.ptr, "Btype": 0, "ldb": 4, "beta": numbers.ctypes.data}
    arguments |= {"C": c.data.ptr, "Ctype": 0, "ldc": 4, "computeType": 68, "algo": -1}
    with pytest.raises(RuntimeError, match=error):
        cp.cuda.cublas.gemmEx(*(arguments | change).values())


def test_the_stand_in_refuses_none_for_a_pointer(machine: Machine, cp: ModuleType) -> None:
    launch = cp.RawKernel('extern "C" __global__ void f(float *x) {}', "f")
    with pytest.raises(TypeError, match="f is launched with None"):
        launch((1,), (1,), (None,))
