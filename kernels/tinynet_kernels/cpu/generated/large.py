"""Large layers: their steps, cut into blocks that fit into the caches, and into pieces that threads share.

A block of one factor, of all rows in hand, stays in the second level of the cache, and one panel of a block of weights
in the first, while a tile's sums are in registers: the loops of Van Zee and van de Geijn (2015), which here are in the
table. So the kernels are those of all other layers. Every number is the work of one thread, with the same blocks in the
same order, so that it has the same bits however many threads there are.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import PIECES, WIDEST, Arena, Panels, Scratch, Weights
from tinynet_kernels.cpu.generated.table import Table
from tinynet_kernels.network import Layer

PAGE = 4096


def product(table: Table, a: Panels, n_in: int, weights: Panels, start: Panels, c: Panels, n_out: int) -> None:
    """Write ``C = start + A W``."""
    arena = table.arena
    table.new_stage()
    for k, depth in arena.blocks(n_in, arena.depth):
        for piece, (p, n) in enumerate(arena.pieces(n_out)):
            w = weights.at(p) + k * arena.width * arena.row_bytes
            steps = (a.step, weights.step, start.step, c.step)
            table.share("rows", piece, *_product(k), a.at(k), w, start.at(p), c.at(p), *steps, depth, n)


def product_flat(table: Table, a: Panels, layer: Layer, own: Weights, c: Panels, scratch: Scratch) -> None:
    """Write ``C = b + A W`` with the parameters in their flat vector, of which ``scratch`` holds a block in panels.

    To bring all of them into panels first would be to write and to read them once more.
    """
    arena, n_out = table.arena, layer.n_out
    table.new_stage()
    for k, depth in arena.blocks(layer.n_in, arena.depth):
        step = (1 + depth) * arena.row_bytes
        first_row = own.flat_weight + k * arena.width * n_out * arena.bytes
        w = scratch + arena.row_bytes
        for piece, (p, n) in enumerate(arena.pieces(n_out)):
            start, start_step, column = arena.zeros, 0, p * arena.row_bytes
            if layer.bias and k == 0:
                start, start_step = scratch, step
                _pack_block(table, piece, start, step, own.flat_bias + column, (1, n, n_out))
            _pack_block(table, piece, w, step, first_row + column, (depth, n, n_out))
            factors = (a.at(k), w, start, c.at(p))
            table.share("rows", piece, *_product(k), *factors, a.step, step, start_step, c.step, depth, n)


def _pack_block(table: Table, piece: int, place: int, step: int, flat: int, sizes: tuple[int, int, int]) -> None:
    """Write the copy of a block of a parameter: its rows, its columns, those of the whole parameter."""
    table.share("rows", piece, "large", "pack_block", place, step, flat, *sizes, PLACES["parameters"])


def product_transposed(
    table: Table, d: Panels, n_out: int, weights: Panels, c: Panels, n_in: int, scratch: Scratch
) -> None:
    """Write ``C = D W.T``, with as much of the transposed weights at a time as ``scratch`` holds."""
    arena = table.arena
    table.new_stage()
    for k, depth in arena.blocks(n_out, arena.depth):
        step = arena.panels(depth) * arena.width * arena.row_bytes
        for piece, (p, n) in enumerate(arena.pieces(n_in)):
            w = weights.at(k) + p * arena.width * arena.row_bytes
            sizes = (arena.panels(n), arena.panels(depth))
            table.share("rows", piece, "products", "transposition", w, scratch, weights.step, step, *sizes)
            places = (d.at(k), scratch, arena.zeros, c.at(p))
            table.share("rows", piece, *_product(k), *places, d.step, step, 0, c.step, depth, n)


def scratch_bytes(arena: Arena) -> int:
    """Return what a product needs that brings a block of weights into panels."""
    return (1 + arena.depth * arena.width) * WIDEST * arena.row_bytes


def gradient(table: Table, x: Panels, n_in: int, d: Panels, n_out: int, out: Panels, *, bias: bool, fold: bool) -> None:
    """Write the gradient, or the step of gradient descent; ``out`` begins with the bias."""
    arena = table.arena
    table.new_stage()
    for piece, (p, n) in enumerate(arena.pieces(n_in)):
        places = (x.at(p), d.place, out.place + p * arena.width * arena.row_bytes, arena.zeros)
        sizes = (n, n_out, int(bias and p == 0), int(fold))
        table.share("rows", piece, "products", "gradient", *places, x.step, d.step, out.step, *sizes)


def elementwise(table: Table, unit: str, kernel: str, arrays: tuple[Panels, ...], n: int, *numbers: float) -> None:
    """Write a function of all elements, for arrays with the same step; the last stage needs no more than its piece."""
    for piece, (p, columns) in enumerate(table.arena.pieces(n)):
        places = (array.at(p) for array in arrays)
        table.share("rows", piece, unit, kernel, *places, arrays[-1].step, columns, *numbers)


def transfer(
    table: Table, part: str, kernel: str, panels: Panels, layer: Layer, weight: int, bias: int, word: int
) -> None:
    """Write a copy between panels and a flat vector, and zeros to what the panels have beyond it."""
    arena, n_in, n_out = table.arena, layer.n_in, layer.n_out
    table.new_stage()
    if layer.bias:
        table.share(part, 0, "large", f"{kernel}_block", panels.place, panels.step, bias, 1, n_out, n_out, word)
    rows = -(-n_in // PIECES)
    for piece, row in enumerate(range(0, n_in, rows)):
        place, flat = panels.place + (1 + row) * arena.row_bytes, weight + row * n_out * arena.bytes
        for p, n in arena.blocks(n_out, WIDEST):
            places = (place + p * panels.step, panels.step, flat + p * arena.row_bytes)
            table.share(part, piece, "large", f"{kernel}_block", *places, min(rows, n_in - row), n, n_out, word)
    if kernel == "pack":
        _clear_padding(table, part, panels, layer)


def _clear_padding(table: Table, part: str, panels: Panels, layer: Layer) -> None:
    arena = table.arena
    behind = arena.weight_rows(layer.n_in) - 1 - layer.n_in
    for p in range(arena.panels(layer.n_out)):
        if behind:
            first = panels.at(p) + (1 + layer.n_in) * arena.row_bytes
            table.share(part, p, "core", "clear", first, behind * arena.row_bytes)
        if not layer.bias:
            table.share(part, p, "core", "clear", panels.at(p), arena.row_bytes)


def update(table: Table, unit: str, kernel: str, vectors: tuple[int, int, int], size: int, *settings: float) -> None:
    """Write an optimizer's step over so many bytes of parameters, gradients and moments."""
    table.new_stage()
    length = -(-size // (PIECES * PAGE)) * PAGE
    for piece, first in enumerate(range(0, size, length)):
        places = (vector + first for vector in vectors)
        table.share("update", piece, unit, kernel, *places, min(length, size - first), size, *settings)


def _product(block: int) -> tuple[str, str]:
    """Return the unit and the name of the product of a block: all but the first are added to it."""
    return ("large", "product_added") if block else ("products", "product_rows")
