"""The product of few rows with weights as they lie: to bring them into panels first takes longer than to multiply.

All weights pass through once, some rows of them after the others. The sums wait in memory meanwhile and are added up in
the same order as in ``product_rows``, so that the results have the same bits.

Columns that do not fill a register are read with what follows them, the next row of weights. Behind the last rows there
may be nothing, so their columns are copied first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import I64
from tinynet_kernels.cpu.generated.products import add_products, vectors
from tinynet_kernels.cpu.generated.target import VECTORS, Target

HIGH = 4
"""Rows of the highest tile. Three rows take one, too: the fourth one's sums are read by nobody."""


LONG_ROW = 2048
"""Bytes of a row of weights from which on ``TOGETHER`` of them are read at a time (measured): in long pieces, then, and
not in short ones that lie in as many pages. Shorter rows are read by the panel of inputs."""
TOGETHER = 8


def most_rows(target: Target) -> int:
    """Return up to how many rows this is quicker than to bring the weights into panels first (measured)."""
    if target.registers == 32:
        return 32
    return 16 if target.fused else 8


def tiles(target: Target) -> dict[int, int]:
    """Return the heights of tiles, and for each the registers in its width: so many sums stay in registers.

    Examples
    --------
    >>> tiles(Target.of("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx,+avx2,+fma"))
    {4: 2, 2: 4, 1: 4}
    """
    return {HIGH: 4 if target.registers == 32 else 2, 2: 4, 1: 4}


class _Rows(NamedTuple):
    """Rows of weights that lie side by side: where, the bytes from one to the next, and how many there are."""

    first: Value
    step: Value | int
    n: Value


class _Product:
    """``C = b + A W``, as the arguments of ``few_rows`` describe it."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        code = self.code
        self.a, self.c, self.room = (frame.place(i) for i in range(3))
        self.a_step, self.c_step, weight, bias, self.n_in, self.n_out, self.has_bias = (
            frame.size(i) for i in range(3, 10)
        )
        parameters = frame.pointer("parameters")
        self.w, self.b = code.at(parameters, weight), code.at(parameters, bias)
        self.w_row, self.rows = self.n_out * frame.bytes, frame.whole("rows")
        self.full = self.n_out / frame.lanes
        self.behind = self.full * frame.lanes
        self.left = self.n_out - self.behind
        self.mask = frame.mask(self.left)
        # Of the last columns, the rows whose registers end within the weights.
        spare = self.n_in * self.n_out - self.behind - frame.lanes
        self.read = code.select(code.compare("<", spare, 0), 0, spare / self.n_out + 1)

    def copy_left(self) -> None:
        """Copy the last columns of the rows of weights that cannot be read in whole registers, and their bias."""
        frame, code = self.frame, self.code

        def copy(source: Value, place: Value) -> list[Value]:
            def one(j: Value) -> None:
                code.store(code.load(code.at(source, j, frame.real), frame.real), code.at(place, j, frame.real))

            code.loop(0, self.left, 1, one)
            return [code.at(source, self.w_row), code.at(place, frame.vector_bytes)]

        code.store(code.constant(frame.row, 0.0), self.room)
        bias = code.at(self.b, self.behind, frame.real)
        code.when(code.compare("!=", self.has_bias, 0), lambda: copy(bias, self.room))
        source = code.at(code.at(self.w, self.read * self.w_row), self.behind, frame.real)
        rows = code.at(self.room, frame.vector_bytes)
        code.loop(self.read, self.n_in, 1, lambda _, *now: copy(*now), source, rows)

    def begin(self) -> None:
        """Let the sums begin with the bias."""
        frame, code = self.frame, self.code

        def column(i: Value, bias: Value) -> None:
            def row(_: Value, place: Value) -> list[Value]:
                code.store(bias, place)
                return [code.at(place, frame.row_bytes)]

            code.loop(0, self.rows, 1, row, self.places(i, 1)[0])

        biases = code.select(code.compare("!=", self.has_bias, 0), self.full, 0)
        code.loop(0, biases, 1, lambda i: column(i, code.load(code.at(self.b, i * frame.vector_bytes), frame.row)))
        code.loop(biases, self.full, 1, lambda i: column(i, code.constant(frame.row, 0.0)))
        code.when(code.compare(">", self.left, 0), lambda: column(self.full, code.load(self.room, frame.row)))

    def places(self, i: Value, width: int) -> list[Value]:
        """Return where in the first row of C the registers from the i-th on are, of which several begin a panel."""
        code = self.code
        panel = i / VECTORS
        first = code.at(code.at(self.c, panel * self.c_step), (i - panel * VECTORS) * self.frame.vector_bytes)
        panels = [first]
        for _ in range(VECTORS, width, VECTORS):
            panels.append(code.at(panels[-1], self.c_step))
        return [code.at(panels[v // VECTORS], v % VECTORS * self.frame.vector_bytes) for v in range(width)]

    def tile(
        self, height: int, a: Value, places: list[Value], weights: list[_Rows], last: Callable[[Value], Value]
    ) -> None:
        """Add a tile's products with some rows of weights; ``last`` is what is done to the sums behind it."""
        frame, code, width = self.frame, self.code, len(places)

        def step(_: Value, a: Value, w: Value, *sums: Value, by: Value | int) -> list[Value]:
            numbers = [code.load(code.at(a, r * frame.row_bytes), frame.real) for r in range(height)]
            return [
                code.at(a, frame.bytes),
                code.at(w, by),
                *add_products(frame, numbers, vectors(frame, w, [frame.row] * width), sums),
            ]

        sums_at = [code.at(place, r * frame.row_bytes) for r in range(height) for place in places]
        sums: Sequence[Value] = [code.load(place, frame.row) for place in sums_at]
        for rows in weights:
            a, _, *sums = code.loop(0, rows.n, 1, lambda *now, by=rows.step: step(*now, by=by), a, rows.first, *sums)
        for value, place in zip(sums, sums_at, strict=True):
            code.store(last(value), place)

    def add(self) -> None:
        """Add all products, with some rows of weights after the others."""
        frame, code = self.frame, self.code
        most = code.select(code.compare(">=", self.w_row, LONG_ROW), code.constant(I64, TOGETHER), frame.width)

        def panel(p: Value, a: Value, w: Value) -> list[Value]:
            count = code.smaller(self.n_in - p * frame.width, frame.width)

            def some(i: Value, w: Value) -> list[Value]:
                steps = code.smaller(count - i, most)
                self.block(p * frame.width + i, steps, code.at(a, i, frame.real), w)
                return [code.at(w, steps * self.w_row)]

            return [code.at(a, self.a_step), *code.loop(0, count, most, some, w)]

        code.loop(0, frame.panels(self.n_in), 1, panel, self.a, self.w)

    def block(self, first: Value, count: Value, a: Value, w: Value) -> None:
        """Add the products of all rows with some of their inputs, for the highest tiles first."""
        code, done = self.code, self.code.constant(I64, 0)
        for height in tiles(self.frame.module.target):

            def strip(_: Value, done: Value, height: int = height) -> list[Value]:
                self.strip(height, done * self.frame.row_bytes, first, count, a, w)
                return [done + height]

            left = self.rows - done
            (done,) = code.loop(0, (left + height // HIGH) / height, 1, strip, done)

    def strip(self, height: int, offset: Value, first: Value, count: Value, a: Value, w: Value) -> None:
        """Add the products of a tile's rows, so many bytes behind the first one."""
        frame, code = self.frame, self.code
        a = code.at(a, offset)

        def at(i: Value, width: int) -> list[Value]:
            return [code.at(place, offset) for place in self.places(i, width)]

        i = code.constant(I64, 0)
        for width in (tiles(frame.module.target)[height], 1):

            def columns(_: Value, i: Value, width: int = width) -> list[Value]:
                weights = _Rows(code.at(w, i * frame.vector_bytes), self.w_row, count)
                self.tile(height, a, at(i, width), [weights], lambda value: value)
                return [i + width]

            (i,) = code.loop(0, (self.full - i) / width, 1, columns, i)

        def columns_left() -> None:
            whole = code.smaller(code.select(code.compare(">", self.read, first), self.read - first, 0), count)
            copied = code.select(code.compare(">", first, self.read), first - self.read, 0) + 1
            weights = [
                _Rows(code.at(w, self.behind, frame.real), self.w_row, whole),
                _Rows(code.at(self.room, copied * frame.vector_bytes), frame.vector_bytes, count - whole),
            ]
            self.tile(height, a, at(self.full, 1), weights, lambda value: frame.kept(self.mask, value))

        code.when(code.compare(">", self.left, 0), columns_left)


def few_rows(frame: Frame) -> None:
    """``C = b + A W`` for few rows, with weights and bias in the flat vector of parameters.

    Arguments: A, C, room for as many registers as one has lanes, and one more; bytes from a panel to the next of A and
    C; offsets of weight and bias in the vector; columns of A, columns of C; whether there is a bias.
    """
    product, code = _Product(frame), frame.code
    code.when(code.compare(">", product.left, 0), product.copy_left)
    product.begin()
    product.add()


KERNELS = [Kernel("few_rows", few_rows)]
