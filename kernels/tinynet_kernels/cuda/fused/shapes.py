"""How fused kernels are cut for a network and a device.

The rules are estimates from the machine's published figures, to be measured: a thread's share should be long enough to
hide latencies, and every model of an ensemble should find room on the device at once.
"""

from __future__ import annotations

from typing import NamedTuple

from tinynet_kernels.cuda.fused.prelude import REALS, Shape, prelude, row_slots
from tinynet_kernels.cuda.fused.sequence import TILE
from tinynet_kernels.cuda.grids import MAX_BLOCKS_YZ
from tinynet_kernels.kinds import n_targets as n_targets_of
from tinynet_kernels.network import Network

MAX_ROWS = 128
"""Most samples that go through a network together. More would only take shared memory."""

MAX_THREADS = 512

THREADS_OF_A_MEMBER = 128
"""Most threads of a block where there are many models, which hide one another's latencies."""

MAX_TOGETHER = 8
"""Most models that a multiprocessor should find room for at a time."""

THREADS_TOGETHER = 384
"""Threads that a multiprocessor should find room for where there are many blocks: it leaves 168 registers to each."""

WARP = 32
"""Threads of a warp."""

WARPS_OF_A_BLOCK = 4
"""Most models of a block where each has a warp: one for each scheduler of a multiprocessor."""

WARPS_TOGETHER = THREADS_TOGETHER // WARP
"""Warps that a multiprocessor should find room for where each trains a model."""

STATIC_BYTES = 1280
"""Most static shared memory of a kernel beside the dynamic one that a prelude counts: rates, and sums over the block.

What a kernel has is known once it is compiled, when the limits of its launch are set from it (build.py). A plan is made
before, and leaves this much room; the tests hold it against what NVRTC says of all kernels."""

RESERVED_BYTES = 1024
"""Shared memory that CUDA takes of a multiprocessor for each block; the most that a block can have is without it."""

REGISTERS_FOR_PARAMETERS = 180
"""Of a thread's 255, those that may hold parameters, gradients and moments. With more, the compiler spills (sm_90)."""

REGISTERS_FOR_MEMORY = 64
"""Of these, those that may hold what lies between the layers."""

GRAPH_THREADS = 256
"""Threads of a block that computes a tile of a product."""

MAX_TILES = MAX_BLOCKS_YZ
"""Tiles of a product, one below the other: blocks along y. Along x there may be 2**31 - 1."""

MAX_STAGES = 112
"""Stages of a network whose sizes are an argument of kernels: of 4096 bytes, which any GPU has for a kernel's arguments
(CUDA C++ Programming Guide, "Function Parameters"), it takes 32 for each."""

MAX_INT = 2**31 - 1
"""Largest place that kernels compute as an int. They compute places in data, of which there may be more, in 64 bits."""

STAGED_BYTES = 8192
"""Of the samples that a block stages for its models."""


class Limits(NamedTuple):
    """What a device offers.

    Attributes
    ----------
    shared_bytes : int
        Most shared memory of a block.
    multiprocessors : int
    """

    shared_bytes: int
    multiprocessors: int


def persistent_shape(network: Network, n_models: int, batch: int, limits: Limits) -> Shape | None:
    """Cut a training with a block for each model; None if the model does not fit.

    Whole batches at a time if possible. Where there are more models than multiprocessors, several at a time on each, at
    the price of smaller tiles; but rather fewer of them than with the optimizer's memory outside.
    """
    room = limits.shared_bytes - STATIC_BYTES
    together = min(MAX_TOGETHER, -(-n_models // limits.multiprocessors))
    most_threads = MAX_THREADS if together == 1 else THREADS_OF_A_MEMBER
    for moments_shared in (True, False):
        for n_blocks in range(together, 0, -1):
            for rows in _tiles(batch, least=8):
                threads = _threads(network, min(rows, batch), most_threads)
                blocks = max(1, min(n_blocks, THREADS_TOGETHER // threads))
                shape = Shape(rows, threads, batch, moments_shared=moments_shared, blocks=blocks)
                if prelude(network, shape).shared_bytes <= room // n_blocks - RESERVED_BYTES * (n_blocks > 1):
                    return shape
    return None


def warp_shape(network: Network, n_models: int, batch: int, limits: Limits) -> Shape | None:
    """Cut a training with a warp for each model; None if the model does not fit.

    Tiles are as large as they can be while a multiprocessor has room for as many warps as it should have, or as there
    are models for it; else as small as is good for most of them.
    """
    together = min(WARPS_TOGETHER, -(-n_models // limits.multiprocessors))
    for moments_shared in (True, False):
        found: list[Shape] = []
        for rows in _tiles(batch, least=8):
            shape = Shape(rows, WARP, batch, moments_shared=moments_shared, warps=1)
            of_a_model = prelude(network, shape).shared_bytes
            warps = min(together, WARPS_OF_A_BLOCK, (limits.shared_bytes - STATIC_BYTES) // of_a_model)
            if warps:
                blocks = min(together // warps, limits.shared_bytes // (warps * of_a_model + RESERVED_BYTES))
                found.append(shape._replace(warps=warps, blocks=blocks))
        if found:
            return max(found, key=warps_together)  # Of equals the first, which has the largest tile.
    return None


def warps_together(shape: Shape) -> int:
    """Return how many models a multiprocessor trains at a time, each by a warp."""
    return shape.warps * shape.blocks


def spread_shape(network: Network, batch: int, limits: Limits) -> Shape | None:
    """Cut a training in which blocks share the rows of a batch; None if the model does not fit.

    Tiles are as large as they can be while there is one for each multiprocessor.
    """
    for rows in _tiles(max(8, -(-batch // limits.multiprocessors)), least=8):
        shape = Shape(rows, _threads(network, rows, MAX_THREADS), batch, moments_shared=False, summed=True)
        if prelude(network, shape).shared_bytes <= limits.shared_bytes - STATIC_BYTES:
            return shape
    return None


def graph_shape(network: Network, batch: int) -> Shape | None:
    """Cut a training with a kernel for each product; None if that cannot be.

    It cannot where the optimizer needs the whole gradient at once, where a grid would have more than ``MAX_TILES``
    tiles one below the other, where a place in what lies between the layers would be no int, or where the sizes of the
    layers are too many for an argument.
    """
    widest = max(batch, *(layer.n_in + layer.bias for layer in network.layers))
    too_deep = len(network.layers) > MAX_STAGES
    if network.optimizer.clip_norm is not None or widest > MAX_TILES * TILE or too_deep:
        return None
    shape = Shape(batch, GRAPH_THREADS, batch, padded=False, moments_shared=False, sizes_given=True)
    made = prelude(network, shape)
    n_targets = n_targets_of(network.loss.kind, network.layers[-1].n_out)
    largest = max(made.n_memory, made.n_parameters, made.row_slots * (made.x_stride + n_targets + 1))
    return shape if largest <= MAX_INT else None


def registers_shape(network: Network, n_models: int, batch: int, limits: Limits) -> Shape | None:
    """Cut a training with a thread for each model; None if the model does not fit."""
    size = REALS[network.dtype][1]
    threads = 128 if n_models >= 128 * limits.multiprocessors else 32
    sample = (network.layers[0].n_in + network.layers[-1].n_out) * size + 16
    staged = max(1, min(64, STAGED_BYTES // sample))
    shape = Shape(1, threads, batch, padded=False, staged=staged)
    made = prelude(network, shape)
    words = size // 4
    fits = made.n_state * words <= REGISTERS_FOR_PARAMETERS and made.n_memory * words <= REGISTERS_FOR_MEMORY
    return shape if fits else None


def predicting_shape(network: Network, limits: Limits) -> Shape | None:
    """Cut predictions; None if the model does not fit."""
    for rows in _tiles(64, least=8):
        threads = _threads(network, rows, 128)
        shape = Shape(rows, threads, blocks=max(1, THREADS_TOGETHER // threads))
        if prelude(network, shape).shared_bytes <= limits.shared_bytes - STATIC_BYTES:
            return shape
    return None


def _tiles(rows: int, least: int) -> list[int]:
    """Return sizes of tiles to try, largest first: all the rows that there is room for, so that few are compiled."""
    sizes = [row_slots(min(rows, MAX_ROWS))]
    while sizes[-1] > least:
        sizes.append(max(least, row_slots(sizes[-1] // 2)))
    return sizes


def _threads(network: Network, rows: int, most: int) -> int:
    """Return how many threads share a tile: one for each number of the widest layer, or for four of many."""
    widest = max(layer.n_out for layer in network.layers)
    n_parameters = sum((layer.n_in + layer.bias) * layer.n_out for layer in network.layers if layer.kind == "linear")
    work = max(rows * widest, n_parameters)
    wanted = work if work <= 128 else max(128, work // 4)
    return min(most, -(-wanted // 32) * 32)
