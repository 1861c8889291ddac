"""Where everything lies: panels in an arena, in bytes from its start."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from tinynet_kernels.cpu.generated.products import NARROW_HIGH, rows_covered
from tinynet_kernels.cpu.generated.target import VECTORS, Target
from tinynet_kernels.cpu.generated.team import RANGES
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.network import Layer

LINE = 64
"""Bytes of a cache line."""

BLOCK_BYTES = 1 << 18
"""What the numbers between the layers may take while rows go through: half of a common second-level cache."""

WHOLE_BATCH = 256
"""A batch of up to so many rows goes through in one piece: its gradient is then not the sum of pieces."""

LARGE_LAYER = 1 << 19
"""Weights from which on a layer is large: its products are cut into blocks, and threads share them. Each range of a
batch would need a gradient of its own, and read all weights."""

LARGE_BLOCK = 512
"""Most rows that go through large layers at a time: each time all weights are read, and a gradient is added to."""

DEEPEST = 512
"""Most rows of a factor's panel that a block of a product takes."""

SHALLOWEST = 192
"""Fewest: with fewer, tiles would be stored and read again too often."""

PIECES = 32
"""Into how many pieces a large step is cut, and more if they would be wider than ``WIDEST``: so many threads can share
it, and few share it evenly."""

WIDEST = 8
"""Most panels of a piece."""


MUCH_NARROWER = 2 / 3
"""Part of the multiplications that narrower registers must leave at most: some processors do twice as many at once in
the wide ones, and code for both kinds must be compiled."""


KINDS = ("linear", "activation", "dropout", "normalize", "layer_norm", "batch_norm", "fork", "join")
"""The layers that tables are made of."""


def is_large(layer: Layer) -> bool:
    """Whether a layer is so large that its products are cut into blocks."""
    return layer.kind == "linear" and layer.n_in * layer.n_out >= LARGE_LAYER


def ranges_of(batch: int, layers: tuple[Layer, ...] = ()) -> int:
    """Return how many ranges a batch is cut into, each with a gradient of its own, for these layers."""
    return 1 if batch <= WHOLE_BATCH or any(map(is_large, layers)) else RANGES


def suited(layers: tuple[Layer, ...], dtype: str, target: Target) -> Target:
    """Return a processor with registers that suit a network: narrow ones where much of wide panels would be empty.

    Examples
    --------
    >>> target = Target.of("x86_64-unknown-linux-gnu", "x86-64-v4", "+avx512f,+avx512vl")
    >>> [suited((Layer("linear", 64, n), Layer("linear", n, n)), "float32", target).vector_bytes for n in (12, 32)]
    [32, 64]
    """
    narrow, wide = (_multiplications(layers, Arena(dtype, kind, 1)) for kind in (target.narrower, target))
    return target.narrower if narrow <= MUCH_NARROWER * wide else target


def _multiplications(layers: tuple[Layer, ...], arena: Arena) -> int:
    """Return those of one row, forward and back, as if all panels were full.

    What a product saves in its last panel, updates and their padding take.
    """
    products = [layer for layer in layers if layer.kind == "linear"]
    forward = sum(layer.n_in * arena.panels(layer.n_out) for layer in products)
    back = sum(layer.n_out * arena.panels(layer.n_in) for layer in products[1:])
    return (2 * forward + back) * arena.width


def block_rows(layers: tuple[Layer, ...], dtype: str, target: Target, batch: int | None = None) -> int:
    """Return how many rows should go through a network at a time.

    Parameters
    ----------
    layers : tuple of Layer
    dtype : str
    target : Target
    batch : int, optional
        Rows of a batch: never more than that. A part of it is a multiple of four rows (four elements of a dropout mask
        are drawn together), and of a tile's.
    """
    unit = math.lcm(4, target.high)
    if any(map(is_large, layers)):
        rows = LARGE_BLOCK // unit * unit
        return rows if batch is None else min(batch, rows)
    if batch is not None and batch <= WHOLE_BATCH:
        return batch
    if batch is not None:
        batch = -(-batch // ranges_of(batch)) + 4
    arena = Arena(dtype, target, 1)
    width = sum(arena.panels(layer.n_in) + 2 * arena.panels(layer.n_out) for layer in layers) * arena.row_bytes
    rows = max(BLOCK_BYTES // width, 96) // unit * unit
    return rows if batch is None else min(batch, rows)


def check(layers: tuple[Layer, ...], dtype: str, rows: int) -> None:
    """Refuse what no table can be made of: in compiled code a wrong size would be a wrong address.

    Raises
    ------
    ValueError
        If the layers do not follow one another, or anything is not of a kind or a size that there is.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"generated code computes in float32 or float64; got {dtype!r}.")
    if rows < 1 or not layers:
        raise ValueError(f"a table expects layers and rows; got {len(layers)} layers and {rows} rows.")
    width = layers[0].n_in
    for layer in layers:
        if layer.n_in != width or layer.n_in < 1 or layer.n_out < 1:
            raise ValueError(f"a layer of {width} columns was expected; got {layer}.")
        if layer.kind not in KINDS or layer.activation not in ACTIVATIONS:
            raise ValueError(f"generated code has no {layer}.")
        if layer.kind != "linear" and layer.n_out != width:
            raise ValueError(f"only a linear layer changes the number of columns; got {layer}.")
        width = layer.n_out


class Panels(NamedTuple):
    """An array in panels: where, and the bytes from a panel to the next."""

    place: int
    step: int

    def at(self, panel: int) -> int:
        """Return the place of a panel."""
        return self.place + panel * self.step


class Own(int):
    """A place in what a thread that leads rows through a network has for itself: all but weights, gradients, moments.

    Threads that go through together have it from the first one.
    """

    def __add__(self, offset: int) -> Self:
        """Return a place so many bytes behind."""
        return type(self)(int(self) + offset)


class Scratch(Own):
    """A place in what every thread has for itself, also if they go through together."""


class Arena:
    """Hands out places, one after the other: in what all threads share, or in what each has for itself.

    Parameters
    ----------
    dtype : str
    target : Target
    rows : int
        Most rows that go through the network at a time.
    """

    def __init__(self, dtype: str, target: Target, rows: int) -> None:
        self.bytes = 4 if dtype == "float32" else 8
        self.vector_bytes = target.vector_bytes
        self.width = VECTORS * target.vector_bytes // self.bytes
        """Columns of a panel."""
        self.row_bytes = self.width * self.bytes
        covered = max(rows_covered(n, target) for n in range(max(1, rows - target.high), rows + 1))
        self.rows = max(covered, self.width // VECTORS)
        """Rows that there is room for: what the tiles compute, and as many as a register has lanes."""
        self.size = 0
        """Bytes that are shared."""
        self.own = 0
        """Bytes that each thread has for itself."""
        # What a product starts from where nothing else is, and as many rows of it as a tile has, a narrow one, too.
        self.zeros = self.take(max(target.high, NARROW_HIGH) * self.row_bytes)

    def take(self, size: int) -> int:
        """Return the place of so many bytes."""
        place = self.size
        self.size += -(-size // LINE) * LINE
        return place

    def take_own(self, size: int) -> Own:
        """Return the place of so many bytes of each thread's own."""
        place = Own(self.own)
        self.own += -(-size // LINE) * LINE
        return place

    def take_scratch(self, size: int) -> Scratch:
        """Return the place of so many bytes of each thread's own, whatever else threads share."""
        return Scratch(self.take_own(size))

    def panels(self, n: int) -> int:
        """Return how many panels ``n`` columns take."""
        return -(-n // self.width)

    def blocks(self, n: int, panels: int) -> list[tuple[int, int]]:
        """Cut ``n`` columns into blocks of so many panels; return the first panel and the columns of each."""
        return [(p, min(n - p * self.width, panels * self.width)) for p in range(0, self.panels(n), panels)]

    def pieces(self, n: int) -> list[tuple[int, int]]:
        """Cut ``n`` columns into the pieces of a large step, as ``blocks``."""
        return self.blocks(n, min(WIDEST, -(-self.panels(n) // PIECES)))

    @property
    def depth(self) -> int:
        """Panels of a factor in a block of a large product: the other one, of all rows in hand, stays in the cache."""
        rows = BLOCK_BYTES // (self.rows * self.bytes)
        return max(1, min(DEEPEST, max(SHALLOWEST, rows)) // self.width)

    def activation(self, n: int) -> Panels:
        """Return the place of ``n`` columns for the rows in hand.

        An odd number of rows lies between the panels, so that they do not all fall into the same sets of a cache.
        """
        step = (self.rows | 1) * self.row_bytes
        return Panels(self.take_own(self.panels(n) * step), step)

    def doubles(self, n: int) -> Panels:
        """Return the place of ``n`` columns of float64 for the rows in hand."""
        step = (self.rows | 1) * self.width * 8
        return Panels(self.take_own(self.panels(n) * step), step)

    def columns(self, n: int) -> Own:
        """Return the place of ``n`` columns of as many rows as a register has lanes, one after the other."""
        return self.take_own(self.panels(n) * self.width * self.vector_bytes)

    def weight_rows(self, n_in: int) -> int:
        """Return the rows of a panel of weights: the bias, and the inputs up to a whole panel."""
        return 1 + self.panels(n_in) * self.width


class Weights(NamedTuple):
    """A layer's parameters: offset in the panels, bytes between them, and offsets in the flat vector.

    ``frozen_before`` is what of the flat vector before them is frozen, in bytes.
    """

    place: int
    step: int
    flat_weight: int
    flat_bias: int
    frozen_before: int


class WeightSizes(NamedTuple):
    """Bytes of the panels of all weights and of those that are trained, and of these in a flat vector."""

    panels: int
    trained: int
    flat_trained: int


def weights_of(arena: Arena, layers: tuple[Layer, ...]) -> tuple[dict[int, Weights], dict[int, Weights], WeightSizes]:
    """Lay out the parameters of all layers that have some, by their numbers: those that are trained come first.

    Running statistics are laid out apart, means as weights and variances as biases; no step is theirs.
    """
    flats, moving, flat, frozen = {}, {}, 0, 0
    for i, layer in enumerate(layers):
        if layer.weight_rows:
            bias = flat + layer.weight_rows * layer.n_out * arena.bytes
            flats[i] = flat, bias, frozen
            following = bias + layer.n_out * arena.bytes * layer.bias
            frozen += (following - flat) * layer.frozen
            flat = following
        if layer.kind == "batch_norm":
            size = layer.n_out * arena.bytes
            moving[i] = flat, flat + size, 0
            flat, frozen = flat + 2 * size, frozen + 2 * size
    found, sizes = {}, [0, 0]
    for kept in (False, True):
        for i, places in flats.items():
            if layers[i].frozen == kept:
                step = arena.weight_rows(layers[i].weight_rows) * arena.row_bytes
                found[i] = Weights(sum(sizes), step, *places)
                sizes[kept] += arena.panels(layers[i].n_out) * step
    running = {}
    for i, places in moving.items():
        step = arena.weight_rows(1) * arena.row_bytes
        running[i] = Weights(sum(sizes), step, *places)
        sizes[True] += arena.panels(layers[i].n_out) * step
    return found, running, WeightSizes(sum(sizes), sizes[False], flat - frozen)


def keeps_z(layer: Layer) -> bool:
    """Whether the backward pass of a layer's activation reads the pre-activation."""
    return layer.kind in ("linear", "activation") and ACTIVATIONS[layer.activation].reads_z
