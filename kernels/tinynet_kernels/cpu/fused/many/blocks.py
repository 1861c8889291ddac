"""Moving a block of models into scratch, where the models lie side by side, and back; and what each of them draws.

Which models are taken is an array ``members`` of their numbers; ``first`` and ``last`` bound a block of its entries. In
scratch every number of a model is a row of ``lanes`` numbers, one for each model of the block. A last block that is
not full holds its last model several times; copies are computed like all others, and not written back.
"""

import numpy as np

from tinynet_kernels._typing import FloatArray, IndexArray
from tinynet_kernels.cpu.compiling import compiled
from tinynet_kernels.cpu.random import philox


@compiled
def enter(source: FloatArray, members: IndexArray, first: int, last: int, lanes: int, block: FloatArray) -> None:
    """Bring the vectors of a block of models into scratch.

    Parameters
    ----------
    source : (n_models, n) array
    members : (n_members,) int array
    first, last, lanes : int
    block : (n * lanes,) array
        Overwritten.
    """
    for lane in range(lanes):
        row = members[min(first + lane, last - 1)]
        for i in range(source.shape[1]):
            block[i * lanes + lane] = source[row, i]


@compiled
def leave(block: FloatArray, members: IndexArray, first: int, last: int, lanes: int, target: FloatArray) -> None:
    """Bring vectors from scratch back to where ``enter`` took them from."""
    for lane in range(last - first):
        row = members[first + lane]
        for i in range(target.shape[1]):
            target[row, i] = block[i * lanes + lane]


@compiled
def put_losses(values: FloatArray, losses: FloatArray, e: int, first: int, last: int) -> None:
    """Write the losses of an epoch: ``losses`` is (n_epochs, n_members)."""
    for row in range(first, last):
        losses[e, row] = values[row - first]


@compiled
def put_outputs(block: FloatArray, out: FloatArray, s: int, first: int, last: int, lanes: int) -> None:
    """Write the outputs for sample ``s``: ``out`` is (n_members, n_samples, n_out)."""
    for row in range(first, last):
        for k in range(out.shape[2]):
            out[row, s, k] = block[k * lanes + row - first]


@compiled
def own_rows(order: IndexArray, e: int, s: int, first: int, last: int, rows: IndexArray) -> None:
    """Look up which row each model visits: ``order`` is (n_epochs, n_members, n_visits)."""
    for lane in range(rows.size):
        rows[lane] = order[e, min(first + lane, last - 1), s]


@compiled
def own_weights(row: int, n_samples: int, members: IndexArray, first: int, last: int, places: IndexArray) -> None:
    """Find where each model's weight of a row lies in an (n_models, n_samples) array."""
    for lane in range(places.size):
        places[lane] = members[min(first + lane, last - 1)] * n_samples + row


@compiled
def own_weights_of(
    rows: IndexArray, n_samples: int, members: IndexArray, first: int, last: int, places: IndexArray
) -> None:
    """Find where each model's weight of its own row lies."""
    for lane in range(places.size):
        places[lane] = members[min(first + lane, last - 1)] * n_samples + rows[lane]


@compiled
def draw_masks(
    seeds: IndexArray,
    draws: IndexArray,
    rates: FloatArray,
    done: int,
    layer: int,
    start: int,
    mask: FloatArray,
) -> None:
    """Draw elements ``start`` on of each model's dropout mask; see ``tinynet_kernels.reference.dropout_mask``.

    Parameters
    ----------
    seeds, draws, rates : (lanes,) arrays
        Of each model: the key, the counter before this run, and the probability of zero.
    done : int
        Updates made in this run.
    layer, start : int
    mask : (n * lanes,) array
        Overwritten.
    """
    lanes = seeds.size
    n = mask.size // lanes
    real, zero = mask.dtype.type, mask.dtype.type(0)
    for block in range(start // 4, (start + n + 3) // 4):
        for lane in range(lanes):
            step, seed, rate = draws[lane] + done, seeds[lane], rates[lane]
            words = philox(block, step & 0xFFFFFFFF, step >> 32, layer, seed & 0xFFFFFFFF, seed >> 32)
            limit, kept = np.uint64(rate * 2**32), real(1.0 / (1.0 - rate))
            for k in range(4):
                i = 4 * block + k - start
                if 0 <= i < n:
                    mask[i * lanes + lane] = kept if words[k] >= limit else zero
