"""The fused kernels as real GPUs get them: no spills, and no more registers than there are."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from cuda_on_cpu import nvrtc
from cuda_on_cpu.fake_cupy import Machine
from tinynet_kernels.network import Layer, Loss, Network, Optimizer

# Registers of a multiprocessor, on every GPU since 2012.
REGISTERS = 65_536
ADAM = Optimizer("adam", (0.9, 0.999, 1e-8, 0.0))
SGD = Optimizer("sgd", (0.0, 0.0, 0.0))
NOTEBOOK = (Layer("linear", 4, 5, True, "sigmoid"), Layer("linear", 5, 3, True, "sigmoid"))
PROBABILITIES = (Layer("linear", 4, 5, True, "sigmoid"), Layer("linear", 5, 3, True, "softmax"))
DEEP = (*(Layer("linear", 32, 32, True, "relu") for _ in range(3)), Layer("linear", 32, 10, True))
SMALL = (Layer("linear", 8, 16, True, "tanh"), Layer("linear", 16, 16, True, "tanh"), Layer("linear", 16, 1, True))
EVERYTHING = (
    Layer("normalize", 6, 6),
    Layer("linear", 6, 7, True, "gelu"),
    Layer("dropout", 7, 7, alpha=0.5, place=0),
    Layer("linear", 7, 9, True, "softmax"),
    Layer("activation", 9, 9, activation="silu"),
    Layer("linear", 9, 5, True, "elu", 0.5),
)
ALL_SETTINGS = Optimizer("rmsprop", (0.9, 1e-8, 0.1, 0.9, 1.0), 1.0, 0.5)


def network(layers: tuple[Layer, ...], loss: str, optimizer: Optimizer, dtype: str = "float32") -> Network:
    return Network(layers, Loss(loss, 0.0, True, 0.1), optimizer, dtype, weighted=True, ordered=True)


# How it is cut, the kernels, the network, samples of a batch, and of which architectures all are tried.
KERNELS: dict[str, tuple[str, tuple[str, ...], Network, int, tuple[int, ...]]] = {
    "block, deep": ("persistent", ("persistent",), network(DEEP, "cross_entropy_index", ADAM), 32, nvrtc.ENDS),
    "block, everything": (
        "persistent",
        ("persistent",),
        network(EVERYTHING, "mse", ALL_SETTINGS, "float64"),
        20,
        (90,),
    ),
    "warp": ("warp", ("persistent",), network(SMALL, "mse", ADAM), 10, nvrtc.ENDS),
    "warp, everything": (
        "warp",
        ("persistent",),
        network(EVERYTHING, "mse", ALL_SETTINGS, "float64"),
        20,
        (75,),
    ),
    "thread": ("registers", ("registers<false>",), network(NOTEBOOK, "mse", ADAM), 10, nvrtc.ENDS),
    "thread, labels": (
        *("registers", ("registers<true>",)),
        network(PROBABILITIES, "cross_entropy_probabilities_index", ADAM),
        *(10, (90,)),
    ),
    "thread, double": ("registers", ("registers<true>",), network(NOTEBOOK, "mse", SGD, "float64"), 10, (90,)),
    "spread": (
        "spread",
        ("spread_gradients", "spread_change", "spread_change_by_norm", "spread_advance"),
        network(DEEP, "mse", ADAM._replace(clip_norm=1.0)),
        10_000,
        (90,),
    ),
    "graph": (
        "graph",
        (
            *("graph_gather", "graph_up<0, false>", "graph_up<1, true>", "graph_row_loss<0>"),
            *("graph_down<1, false>", "graph_down<1, true>"),
            *("graph_change<0>", "graph_change<1>", "graph_finish"),
        ),
        network((Layer("linear", 784, 256, True, "gelu"), Layer("linear", 256, 10, True)), "cross_entropy_index", ADAM),
        128,
        (75, 90),
    ),
    "predict": ("predict", ("predict", "evaluate"), network(DEEP, "cross_entropy_index", SGD), 1, (90,)),
}


FILES = {"warp": "persistent.cu"}


def shape_of(cut: str, net: Network, batch: int) -> Any:
    from tinynet_kernels.cuda.fused import shapes

    limits = shapes.Limits(232_448, 132)
    match cut:
        case "persistent":
            return shapes.persistent_shape(net, 1, batch, limits)
        case "warp":
            return shapes.warp_shape(net, 10_000, batch, limits)
        case "registers":
            return shapes.registers_shape(net, 10_000, batch, limits)
        case "spread":
            return shapes.spread_shape(net, batch, limits)
        case "graph":
            return shapes.graph_shape(net, batch)
        case _:
            return shapes.predicting_shape(net, limits)


@pytest.mark.parametrize("name", KERNELS)
def test_fused_kernels_compile_without_spills(cp: ModuleType, machine: Machine, name: str) -> None:
    if nvrtc.missing():
        pytest.skip(nvrtc.missing() or "")
    from tinynet_kernels.cuda.fused.build import code_of
    from tinynet_kernels.cuda.fused.prelude import prelude
    from tinynet_kernels.cuda.loading import OPTIONS

    cut, kernels, net, batch, architectures = KERNELS[name]
    shape = shape_of(cut, net, batch)
    code = code_of(FILES.get(cut, f"{cut}.cu"), prelude(net, shape))
    expressions = [f"tinynet::{kernel}" for kernel in kernels]
    for architecture in set(architectures) & set(nvrtc.supported()):
        compiled = nvrtc.compile_source(code, expressions, OPTIONS, architecture=architecture)
        for expression, usage in compiled.usage.items():
            assert usage.spill_bytes == 0, (architecture, expression)
            assert usage.stack_bytes == 0, (architecture, expression)
            assert usage.registers * shape.threads * shape.models * shape.blocks <= REGISTERS, (
                architecture,
                expression,
            )
            assert usage.shared_bytes <= 24 * 1024, (architecture, expression)


def test_a_model_among_many_leaves_room_for_others(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused import shapes
    from tinynet_kernels.cuda.fused.prelude import prelude

    limits, net = shapes.Limits(232_448, 132), network(DEEP, "cross_entropy_index", ADAM)
    alone = shapes.persistent_shape(net, 1, 32, limits)
    among = shapes.persistent_shape(net, 10_000, 32, limits)
    assert alone is not None
    assert among is not None
    assert alone.rows == 32
    assert among.blocks >= 2
    assert prelude(net, among).shared_bytes * among.blocks <= limits.shared_bytes


def test_warps_leave_room_for_a_dozen_models(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused import shapes
    from tinynet_kernels.cuda.fused.prelude import prelude

    limits, net = shapes.Limits(232_448, 132), network(SMALL, "mse", ADAM)
    small = shapes.warp_shape(net, 10_000, 32, limits)
    assert small is not None
    assert (small.rows, shapes.warps_together(small)) == (32, 12)
    assert (prelude(net, small).shared_bytes + shapes.RESERVED_BYTES) * small.blocks <= limits.shared_bytes
    few = shapes.warp_shape(net, 300, 32, limits)
    assert few is not None
    assert shapes.warps_together(few) == 3  # 300 on 132 multiprocessors.
    deep = shapes.warp_shape(network(DEEP, "mse", ADAM), 10_000, 32, limits)
    assert deep is not None
    assert shapes.warps_together(deep) < 12
    assert shapes.warp_shape(network(DEEP, "mse", ADAM), 1, 32, shapes.Limits(16_384, 132)) is None
