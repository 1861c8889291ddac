"""Whatever a plan picks can be launched: shared memory, threads, registers and grids are within what every GPU has."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import nvrtc
from cuda_on_cpu.fake_cupy import Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Layer, Loss, Network, Optimizer

import tinynet as tn

# Most shared memory of a block, and multiprocessors, by compute capability (CUDA C++ Programming Guide, "Compute
# Capabilities"; the largest GPU of each).
DEVICES = {
    75: (64 * 1024, 72),
    80: (163 * 1024, 108),
    86: (99 * 1024, 84),
    90: (227 * 1024, 132),
    100: (227 * 1024, 148),
    120: (99 * 1024, 188),
}
DEFAULT, REGISTERS, MAX_X, MAX_YZ = 48 * 1024, 65_536, 2**31 - 1, 65_535
OPTIMIZERS = (
    Optimizer("sgd", (0.0, 0.0, 0.0)),
    Optimizer("adam", (0.9, 0.999, 1e-8, 0.0)),
    Optimizer("rmsprop", (0.9, 1e-8, 0.1, 0.9, 1.0)),
)
ACTIVATIONS = ("identity", "relu", "tanh", "gelu", "softmax")


def network(
    widths: list[int], kinds: list[str], loss: str, optimizer: Optimizer, dtype: str, flags: tuple[bool, bool, bool]
) -> Network:
    clips, drops, weighted = flags
    layers = []
    for n_in, n_out, kind in zip(widths, widths[1:], kinds, strict=False):
        layers.append(Layer("linear", n_in, n_out, True, kind))
        if drops:
            layers.append(Layer("dropout", n_out, n_out, alpha=0.5, place=len(layers)))
    chosen = optimizer._replace(clip_norm=1.0) if clips else optimizer
    return Network(tuple(layers), Loss(loss, 0.0, True, 0.1), chosen, dtype, weighted, ordered=True)


networks = st.builds(
    network,
    st.lists(st.one_of(st.integers(1, 40), st.integers(1, 3000)), min_size=2, max_size=5),
    st.lists(st.sampled_from(ACTIVATIONS), min_size=4, max_size=4),
    st.sampled_from(["mse", "cross_entropy_index"]),
    st.sampled_from(OPTIMIZERS),
    st.sampled_from(["float32", "float64"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


def cuts(net: Network, n_models: int, batch: int, limits: Any) -> dict[str, Any]:
    """Return how each tier cuts a network, where it can."""
    from tinynet_kernels.cuda.fused import shapes

    found = {
        "registers": shapes.registers_shape(net, n_models, batch, limits),
        "warp": shapes.warp_shape(net, n_models, batch, limits),
        "persistent": shapes.persistent_shape(net, n_models, batch, limits),
        "predict": shapes.predicting_shape(net, limits) if not any(x.kind == "dropout" for x in net.layers) else None,
    }
    if n_models == 1:
        found |= {"spread": shapes.spread_shape(net, batch, limits), "graph": shapes.graph_shape(net, batch)}
    return {name: shape for name, shape in found.items() if shape is not None}


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    net=networks,
    n_models=st.one_of(st.just(1), st.integers(2, 100_000)),
    batch=st.one_of(st.integers(1, 300), st.integers(1, 10_000_000)),
    device=st.sampled_from(sorted(DEVICES)),
)
def test_whatever_is_cut_is_within_the_limits(
    cp: ModuleType, net: Network, n_models: int, batch: int, device: int
) -> None:
    from tinynet_kernels.cuda.fused import shapes
    from tinynet_kernels.cuda.fused.prelude import prelude
    from tinynet_kernels.cuda.fused.sequence import update_of

    limits = shapes.Limits(*DEVICES[device])
    for name, shape in cuts(net, n_models, batch, limits).items():
        assert shape.threads * shape.models <= 1024
        if name == "graph":
            for launch in update_of(net, batch):
                assert 1 <= launch.grid[0] <= MAX_X
                assert 1 <= launch.grid[1] <= MAX_YZ
        elif name == "registers":
            targets = 8 if LOSSES[net.loss.kind].index_target else 8 * net.layers[-1].n_out
            assert shape.staged * (8 * net.layers[0].n_in + targets + 8) <= DEFAULT
        else:
            assert prelude(net, shape).shared_bytes + shapes.STATIC_BYTES <= limits.shared_bytes


# Kernels with most static shared memory: sums for the norm of a gradient, and many models of a block; those of each
# kind that are launched with dynamic memory, and those that are not.
COMPILED = {
    "persistent": ("persistent.cu", ("persistent",), [7, 30, 5], (True, True, True), 1, 40),
    "warp": ("persistent.cu", ("persistent",), [7, 6, 5], (True, False, True), 10_000, 10),
    "spread": ("spread.cu", ("spread_gradients", "spread_change"), [9, 31, 2], (True, False, True), 1, 5000),
    "predict": ("predict.cu", ("predict", "evaluate"), [9, 64, 3], (False, False, True), 1, 1),
    "graph": (
        "graph.cu",
        ("graph_up<0, false>", "graph_down<1, true>", "graph_change<0>"),
        [40, 9, 3],
        (False, False, True),
        1,
        64,
    ),
    "registers": ("registers.cu", ("registers<false>",), [2, 2, 1], (True, False, True), 10_000, 3),
}


@pytest.mark.parametrize(("name", "device"), list(zip(COMPILED, (75, 80, 90, 100, 120, 75), strict=True)))
def test_static_shared_memory_is_what_plans_leave_room_for(
    cp: ModuleType, machine: Machine, name: str, device: int
) -> None:
    if nvrtc.missing():
        pytest.skip(nvrtc.missing() or "")
    if device not in nvrtc.supported():
        pytest.skip(f"this NVRTC knows no sm_{device}")
    from tinynet_kernels.cuda.fused import shapes
    from tinynet_kernels.cuda.fused.build import code_of
    from tinynet_kernels.cuda.fused.prelude import prelude
    from tinynet_kernels.cuda.loading import OPTIONS

    file, kernels, widths, flags, n_models, batch = COMPILED[name]
    limits = shapes.Limits(*DEVICES[device])
    net = network(widths, ["tanh", "softmax"], "mse", OPTIMIZERS[2], "float64", flags)
    shape = cuts(net, n_models, batch, limits)[name]
    made = prelude(net, shape)
    expressions = [f"tinynet::{kernel}" for kernel in kernels]
    compiled = nvrtc.compile_source(code_of(file, made), expressions, OPTIONS, architecture=device)
    for kernel, used in zip(kernels, (compiled.usage[e] for e in expressions), strict=True):
        dynamic = kernel in ("persistent", "spread_gradients", "predict", "evaluate")
        assert used.shared_bytes <= (shapes.STATIC_BYTES if dynamic else DEFAULT), kernel
        assert (made.shared_bytes if dynamic else 0) + used.shared_bytes <= limits.shared_bytes, kernel
        assert used.registers * shape.threads * shape.models <= REGISTERS, kernel


# -- launches, refused by the stand-in where the driver would ----------------------------------------------------------


def net_of(*widths: int, **settings: Any) -> tn.Sequential:
    layers: list[tn.Layer] = []
    for n_in, n_out in pairwise(widths):
        layers += [tn.Linear(n_in, n_out), tn.Tanh()]
    return tn.Sequential(*layers[:-1], seed=5, backend="gpu", **settings)


def test_kernels_of_a_graph_ask_for_no_dynamic_memory(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", "graph")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 100)), rng.standard_normal((40, 90))
    net, here = net_of(100, 90), net_of(100, 90).to("numpy")
    for model in (net, here):
        model.fit(x, y, optimizer=tn.SGD(0.1), epochs=1, batch_size=40)
    np.testing.assert_allclose(net.flat_parameters(), here.flat_parameters(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", [64 * 1024, 99 * 1024, 227 * 1024])
def test_static_memory_counts_where_the_dynamic_alone_would_do(cp: ModuleType, machine: Machine, shared: int) -> None:
    machine.shared_opt_in = shared
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((70, 9)), rng.standard_normal((70, 1))
    net = net_of(9, 64, 1)
    predictions = net.predict(x)
    np.testing.assert_allclose(predictions, net_of(9, 64, 1).to("numpy").predict(x), rtol=1e-5, atol=1e-6)
    assert net.evaluate(x, y, loss="mse")["loss"] == pytest.approx(float(((predictions - y) ** 2).mean()), rel=1e-5)


def test_memory_beyond_the_limit_is_an_error_with_the_numbers(cp: ModuleType, machine: Machine) -> None:
    from tinynet_kernels.cuda.fused.build import kernel
    from tinynet_kernels.cuda.fused.prelude import prelude
    from tinynet_kernels.cuda.fused.shapes import Limits, predicting_shape

    net = network([9, 64, 1], ["tanh"] * 2, "mse", OPTIMIZERS[0], "float32", (False, False, False))
    shape = predicting_shape(net, Limits(227 * 1024, 132))
    assert shape is not None
    machine.shared_opt_in = 48 * 1024
    made = prelude(net, shape)._replace(shared_bytes=48 * 1024)
    with pytest.raises(RuntimeError, match=r"into the 49152 bytes of shared memory of a block; it takes 49152 bytes"):
        kernel("predict.cu", "evaluate", made, dynamic=True)


def test_more_models_than_blocks_along_y(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused.prediction import Prediction
    from tinynet_kernels.cuda.fused.shapes import Limits

    n, rng = 70_000, np.random.default_rng(0)
    net = network([1, 1], ["identity"], "mse", OPTIMIZERS[0], "float32", (False, False, False))
    prediction = Prediction(net, n, Limits(227 * 1024, 132))
    parameters, x, y = (rng.standard_normal(shape).astype("float32") for shape in ((n, 2), (2, 1), (2, 1)))
    data = cp.asarray(parameters), cp.empty((n, 0), "float32"), cp.asarray(x)
    out = cp.empty((n, 2, 1), "float32")
    assert prediction.predict(*data, out).item() == 0
    expected = x * parameters[:, :1, np.newaxis] + parameters[:, 1:, np.newaxis]
    np.testing.assert_allclose(out.get(), expected, rtol=1e-5, atol=1e-6)
    chosen = np.arange(n - 1, -1, -1)
    losses = prediction.evaluate(*data, cp.asarray(y), None, chosen)
    np.testing.assert_allclose(losses, 0.05 * ((expected - y) ** 2).sum((1, 2))[::-1], rtol=1e-4)


def test_what_is_more_than_a_kernel_takes_is_no_graph(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused.prelude import prelude
    from tinynet_kernels.cuda.fused.shapes import MAX_STAGES, graph_shape

    net = network([2, 1], ["identity"], "mse", OPTIMIZERS[0], "float32", (False, False, False))
    assert graph_shape(net, 65_535 * 32) is not None
    assert graph_shape(net, 65_535 * 32 + 1) is None
    wide = network([2000, 1], ["identity"], "mse", OPTIMIZERS[0], "float32", (False, False, False))
    assert graph_shape(wide, 2**31 // 2000 + 8) is None  # A place in the batch would be no int.
    deep = Network((Layer("linear", 2, 2, True, "tanh"),) * MAX_STAGES, *net[1:])
    shape = graph_shape(deep, 10)
    assert shape is not None
    assert prelude(deep, shape).argument().nbytes + 21 * 8 <= 4096  # Beside 20 other arguments, and parts of a loss.
    assert graph_shape(deep._replace(layers=(*deep.layers, deep.layers[0])), 10) is None
