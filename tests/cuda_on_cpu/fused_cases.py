"""Launches that between them pass through every barrier and shuffle of the fused kernels.

Networks with a softmax below and above, a loss of whole rows, clipping by norm, tiles smaller than the batch, and a
last batch that is smaller than the others. A barrier that one source does without is needed in another.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tinynet_kernels
from numpy.typing import NDArray
from tinynet_kernels.network import Layer, Loss, Network, Optimizer

from .builder import Module
from .cases import Source, case
from .kernel_cases import source_text

Arrays = list[NDArray[Any]]

N, N_MODELS, BATCH, N_EPOCHS = 23, 3, 6, 2


def _prelude_module() -> Any:
    """Return the module that writes preludes, without the package, which imports CuPy."""
    path = Path(tinynet_kernels.__file__).parent / "cuda" / "fused" / "prelude.py"
    spec = importlib.util.spec_from_file_location("fused_prelude", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PRELUDE = _prelude_module()


def network(layers: tuple[Layer, ...], loss: str, optimizer: Optimizer) -> Network:
    return Network(layers, Loss(loss, 0.0, True, 0.25), optimizer, "float32", weighted=True, ordered=True)


SUMMED = network(
    (
        Layer("linear", 3, 12, True, "gelu"),
        Layer("linear", 12, 12, True, "softmax"),
        Layer("activation", 12, 12, activation="tanh"),
        Layer("linear", 12, 4, True),
    ),
    "cross_entropy_index",
    Optimizer("adam", (0.9, 0.999, 1e-8, 0.1), clip_norm=0.2),
)
DIRECT = network(
    (
        Layer("linear", 3, 9, True, "tanh"),
        Layer("dropout", 9, 9, alpha=0.3, place=0),
        Layer("linear", 9, 5, True, "softmax"),
        Layer("linear", 5, 4),
        Layer("activation", 4, 4, activation="softmax"),
    ),
    "mse",
    Optimizer("sgd", (0.9, 1.0, 0.0), clip_value=0.02),
)
# With so few threads each takes several gradients at a time, so that who sums and who updates are not the same.
TILES = PRELUDE.Shape(rows=4, threads=32, batch=BATCH)
WHOLE = PRELUDE.Shape(rows=BATCH, threads=64, batch=BATCH, moments_shared=False)
# Here each thread would have to hold many numbers of the next tile, which is then not fetched ahead.
FEW = PRELUDE.Shape(rows=BATCH * 6, threads=32, batch=BATCH * 6)
# A warp for each model; the last of them is alone in its block, whose other warp has none.
WARP_TILES = PRELUDE.Shape(rows=4, threads=32, batch=BATCH, warps=2)
WARP_FEW = PRELUDE.Shape(rows=BATCH * 6, threads=32, batch=BATCH * 6, moments_shared=False, warps=2)
SHARED = PRELUDE.Shape(rows=4, threads=32, batch=3 * BATCH, moments_shared=False, summed=True)
THREADS = PRELUDE.Shape(rows=1, threads=32, batch=BATCH, padded=False, staged=4)
ROWS = PRELUDE.Shape(rows=8, threads=64)


def source_of(name: str, file: str, kernels: tuple[str, ...], net: Network, shape: Any) -> Source:
    parts = [source_text("fused/description.cuh"), PRELUDE.prelude(net, shape).text, source_text(f"fused/{file}")]
    return Source(name, "\n".join(parts), tuple(f"tinynet::{kernel}" for kernel in kernels))


def data(net: Network, labels: bool) -> tuple[Any, ...]:
    rng = np.random.default_rng(2)
    layers = net.layers
    n_parameters = sum((layer.n_in + layer.bias) * layer.n_out for layer in layers if layer.kind == "linear")
    n_moments = 2 if net.optimizer.kind == "adam" else 1
    parameters = rng.normal(size=(N_MODELS, n_parameters)).astype(np.float32)
    moments = np.zeros((n_moments, N_MODELS, n_parameters), np.float32)
    x, held = rng.normal(size=(N, 3)).astype(np.float32), np.zeros(1, np.float32)
    t = rng.integers(0, 4, N) if labels else rng.normal(size=(N, 4)).astype(np.float32)
    weight = rng.uniform(0.5, 2, N).astype(np.float32)
    return parameters, moments, held, x, t, weight


def trained(module: Module, name: str, net: Network, shape: Any, labels: bool, own: bool = False) -> Arrays:
    parameters, moments, held, x, t, weight = data(net, labels)
    rng = np.random.default_rng(3)
    order = np.stack([rng.permutation(N) for _ in range(N_EPOCHS * (N_MODELS if own else 1))])
    numbers = np.array(PRELUDE.numbers_of(net, N_MODELS))
    counters = np.arange(3 * N_MODELS, dtype=np.uint64).reshape(N_MODELS, 3)
    losses, rates = np.zeros((N_EPOCHS, N_MODELS)), np.full((N_EPOCHS, 1), 0.05)
    n_updates = N_EPOCHS * -(-N // shape.batch)
    blocks = -(-N_MODELS // shape.models) if name == "persistent" else 1
    sizes = (
        np.arange(N_MODELS),
        np.int64(N_MODELS),
        np.int64(N_MODELS),
        np.int64(N),
        np.int64(N),
        np.int64(shape.batch),
        np.int64(1),
        np.int32(0),
        np.int32(own),
        np.int32(0),
    )
    arrays = (parameters, moments, held, x, t, weight, order, rates, numbers, counters, losses)
    shared = PRELUDE.prelude(net, shape).shared_bytes if name == "persistent" else 0
    for window in ((0, 1), (1, n_updates)):
        arguments = (*arrays, *sizes, *map(np.int64, window))
        module.get_function(f"tinynet::{name}")(
            (blocks,), (shape.models * shape.threads,), arguments, shared_mem=shared
        )
    return [parameters, moments, losses]


PERSISTENT_TILES = source_of("persistent tiles", "persistent.cu", ("persistent",), SUMMED, TILES)
PERSISTENT_WHOLE = source_of("persistent whole", "persistent.cu", ("persistent",), DIRECT, WHOLE)
PERSISTENT_FEW = source_of("persistent few threads", "persistent.cu", ("persistent",), DIRECT, FEW)
PERSISTENT_WARP_TILES = source_of("persistent warps, tiles", "persistent.cu", ("persistent",), SUMMED, WARP_TILES)
PERSISTENT_WARP_FEW = source_of("persistent warps, few threads", "persistent.cu", ("persistent",), DIRECT, WARP_FEW)
REGISTERS = source_of("registers", "registers.cu", ("registers<false>", "registers<true>"), DIRECT, THREADS)
SPREAD_KERNELS = ("spread_gradients", "spread_change", "spread_change_by_norm", "spread_advance")
SPREAD = source_of("spread", "spread.cu", SPREAD_KERNELS, SUMMED, SHARED)
PRODUCTS = ("graph_gather", "graph_up<0, true>", "graph_down<3, true>", "graph_change<3>", "graph_finish")
PRODUCT = PRELUDE.Shape(rows=40, threads=256, batch=40, padded=False, sizes_given=True)
GRAPH = source_of("graph", "graph.cu", PRODUCTS, DIRECT, PRODUCT)
PREDICT = source_of("predict", "predict.cu", ("predict", "evaluate"), SUMMED, ROWS)


@case(PERSISTENT_TILES)
def summed_gradients(module: Module) -> Arrays:
    return trained(module, "persistent", SUMMED, TILES, labels=True)


@case(PERSISTENT_WHOLE)
def direct_updates(module: Module) -> Arrays:
    return trained(module, "persistent", DIRECT, WHOLE, labels=False, own=True)


@case(PERSISTENT_FEW)
def nothing_fetched_ahead(module: Module) -> Arrays:
    return trained(module, "persistent", DIRECT, FEW, labels=False)


@case(PERSISTENT_WARP_TILES)
def summed_gradients_of_warps(module: Module) -> Arrays:
    return trained(module, "persistent", SUMMED, WARP_TILES, labels=True, own=True)


@case(PERSISTENT_WARP_FEW)
def nothing_fetched_ahead_by_warps(module: Module) -> Arrays:
    return trained(module, "persistent", DIRECT, WARP_FEW, labels=False)


@case(REGISTERS)
def staged_rows(module: Module) -> Arrays:
    return trained(module, "registers<false>", DIRECT, THREADS, labels=False)


@case(REGISTERS)
def own_rows(module: Module) -> Arrays:
    return trained(module, "registers<true>", DIRECT, THREADS, labels=False, own=True)


@case(PREDICT)
def predictions_and_losses(module: Module) -> Arrays:
    parameters, _, held, x, t, weight = data(SUMMED, labels=True)
    shared = PRELUDE.prelude(SUMMED, ROWS).shared_bytes
    out, sums = np.full((N_MODELS, N, 4), np.nan, np.float32), np.full((N_MODELS, 3), np.nan)
    flag, numbers = np.zeros(1, np.int32), np.array(PRELUDE.numbers_of(SUMMED, N_MODELS))
    for arguments, name in (
        ((parameters, held, x, out, flag), "predict"),
        ((parameters, held, x, t, weight, np.int32(0), numbers, np.arange(N_MODELS), sums, flag), "evaluate"),
    ):
        launch = module.get_function(f"tinynet::{name}")
        launch((3, N_MODELS), (ROWS.threads,), (*arguments, np.int64(N)), shared_mem=shared)
    return [out, sums, flag]


@case(SPREAD)
def shared_batches(module: Module) -> Arrays:
    (parameters, moments, held, x, t, weight), n_blocks = data(SUMMED, labels=True), 3
    parameters, moments = parameters[0], np.ascontiguousarray(moments[:, 0])
    order = np.stack([np.random.default_rng(3).permutation(N) for _ in range(N_EPOCHS)])
    numbers, counters = np.array(PRELUDE.numbers_of(SUMMED, 1)), np.array([[0, 5, 7]], np.uint64)
    parts, part_losses = np.full((n_blocks, parameters.size), np.nan, np.float32), np.full(n_blocks, np.nan)
    gradients, rates = np.full_like(parameters, np.nan), np.full((4, 3), 0.05, np.float32)
    losses, base = np.zeros(N_EPOCHS), np.array([0, 4])
    find, change, change_by_norm, advance = (module.get_function(f"tinynet::{name}") for name in SPREAD_KERNELS)
    shared = PRELUDE.prelude(SUMMED, SHARED).shared_bytes
    for offset in (0, 1, 0, 1):
        place, sizes = (base, np.int64(offset)), (np.int64(N), np.int64(SHARED.batch))
        data_set = (held, x, t, weight, order, np.int32(1), numbers, counters)
        find(
            *((n_blocks,), (SHARED.threads,), (parameters, *data_set, parts, part_losses, *place, *sizes)),
            shared_mem=shared,
        )
        state = (parameters, moments, parts, part_losses, np.int32(n_blocks), rates, numbers, gradients, losses)
        change((-(-parameters.size // 32),), (256,), (*state, *place, *sizes))
        change_by_norm((1,), (512,), (parameters, moments, rates, numbers, gradients, *place))
        if offset == 1:
            advance((1,), (1,), (base, np.int64(2)))
    return [parameters, moments, losses]


@case(GRAPH)
def products_around_a_graph(module: Module) -> Arrays:
    net, made, rng = DIRECT, PRELUDE.prelude(DIRECT, PRODUCT), np.random.default_rng(6)
    parameters, moments, held, x, t, weight = data(net, labels=False)
    parameters, moments = parameters[0], np.ascontiguousarray(moments[:, 0])
    memory = rng.uniform(0.1, 0.9, made.n_memory).astype(np.float32)
    batch_x = np.full(made.row_slots * made.x_stride, np.nan, np.float32)
    batch_weight, batch_t = (
        np.full(made.row_slots, np.nan, np.float32),
        np.full((made.row_slots, 4), np.nan, np.float32),
    )
    parts, losses, number = np.arange(3.0), np.zeros(1), np.array([0, 1])
    numbers, counters = np.array(PRELUDE.numbers_of(net, 1)), np.array([[0, 5, 7]], np.uint64)
    rates, order = np.full((1, 3), 0.05, np.float32), rng.permutation(N)[None]
    arguments = (
        *(parameters, moments, held, x, t, weight, order, numbers, counters, rates, losses),
        *(memory, batch_x, batch_weight, batch_t, parts, number, np.int64(N), np.int64(40), np.int32(1)),
        made.argument(),
    )
    for name in PRODUCTS:
        more = (np.int32(3),) if name == "graph_finish" else ()
        module.get_function(f"tinynet::{name}")((1, 2), (256,), (*arguments, *more))
    return [parameters, moments, losses, memory]
