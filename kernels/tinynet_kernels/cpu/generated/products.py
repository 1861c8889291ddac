"""The three products of a layer, from tiles of sums that stay in registers.

A tile is some rows high and ``VECTORS`` registers wide. All factors lie in panels of that width, so every product
reads memory in order, and the sums of a tile leave the registers once, when they are complete (Van Zee and van de
Geijn, 2015, call the innermost loop the micro-kernel). Sizes are arguments: with tiles, constant ones gain nothing.

Rows of a batch are made up of tiles of ``high`` and ``high - 1`` rows, which all larger numbers can be; smaller
ones may compute some rows too many, whose results nobody reads. Thinner tiles would have too few sums under way to keep
the processor busy, and be no quicker; but a single row, of a prediction or a batch of one, is a tile by itself.

Columns that fill but one register of their last panel take tiles of one register there: the last layer of 64-64-2 would
else be a third of all multiplications. What lies in the panel's other register is zeros, and stays so. Where registers
are so wide that some processors take twice the time for a whole one, columns that fill but half of it take that half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import I64, lanes_of, vector
from tinynet_kernels.cpu.generated.target import VECTORS, Target

WHOLE_BYTES = 32
"""Of a register that all processors multiply in one go."""

NARROW_HIGH = 8
"""Rows of a gradient's tile that is one register wide: as many sums as keep two units of multiply-adds busy."""


def rows_covered(n: int, target: Target) -> int:
    """Return how many rows the tiles compute for ``n``.

    Examples
    --------
    >>> target = Target.of("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx,+avx2,+fma")
    >>> [rows_covered(n, target) for n in (1, 7, 11, 32)]
    [1, 10, 11, 32]
    """
    if n == 1:
        return 1
    tiles = -(-n // target.high)
    return target.high * tiles - min(tiles, target.high * tiles - n)


def heights_in_panel(width: int, high: int) -> list[int]:
    """Return the heights of the tiles that cut up a panel of so many rows.

    Examples
    --------
    >>> heights_in_panel(16, 6), heights_in_panel(8, 6), heights_in_panel(32, 8)
    ([6, 5, 5], [4, 4], [8, 8, 8, 8])
    """
    tiles = -(-width // high)
    small, larger = divmod(width, tiles)
    return [small + 1] * larger + [small] * (tiles - larger)


Kinds = Sequence[str]
"""The types of the registers of a panel's row that are in use."""


def vectors(frame: Frame, pointer: Value, kinds: Kinds) -> list[Value]:
    """Read registers of a row of a panel."""
    code = frame.code
    return [code.load(code.at(pointer, v * frame.vector_bytes), kind) for v, kind in enumerate(kinds)]


def add_products(
    frame: Frame, numbers: Sequence[Value], vectors: Sequence[Value], sums: Sequence[Value]
) -> list[Value]:
    """Add the products of some numbers, one for each row of a tile, with a row of vectors."""
    code, added = frame.code, []
    for r, number in enumerate(numbers):
        factor = code.spread(number, lanes_of(vectors[0].kind))
        added += [code.fma(factor, one, sums[r * len(vectors) + v]) for v, one in enumerate(vectors)]
    return added


def _each_panel(frame: Frame, n: Value, body: Callable[..., Sequence[Value]], *cursor: Value) -> None:
    """Run ``body(kinds, *cursor)`` for each panel of ``n`` columns."""
    code = frame.code
    registers = (n + (frame.lanes - 1)) / frame.lanes
    whole = registers / VECTORS
    rest = registers - whole * VECTORS
    cases: list[tuple[Kinds, Value]] = [([frame.row] * VECTORS, whole)]
    if frame.vector_bytes > WHOLE_BYTES:
        half = frame.lanes // 2
        halves = code.select(code.compare("<=", n - (registers - 1) * frame.lanes, half), rest, 0)
        cases.append(([vector(frame.real, half)], halves))
        rest = rest - halves
    for kinds, panels in [*cases, ([frame.row], rest)]:

        def panel(_: Value, *now: Value, kinds: Kinds = kinds) -> Sequence[Value]:
            return body(kinds, *now)

        cursor = code.loop(0, panels, 1, panel, *cursor)


def product_rows(frame: Frame, *, adds: bool = False) -> None:
    """``C = start + A B`` for rows of a batch: the forward product, and that of a gradient with transposed weights.

    Arguments: A, B, start (a row for each panel, such as the bias), C; bytes from a panel to the next of A, B, start,
    C; columns of A, columns of C. One that ``adds`` starts from C itself.
    """
    code, row_bytes, high = frame.code, frame.row_bytes, frame.module.target.high
    a, b, start, c = (frame.place(i) for i in range(4))
    a_step, b_step, start_step, c_step, n_in, n_out = (frame.size(i) for i in range(4, 10))
    rows = frame.whole("rows")
    tiles = (rows + (high - 1)) / high
    low = code.smaller(tiles * high - rows, tiles)
    single = code.select(code.compare("==", rows, 1), code.constant(I64, 1), 0)
    several = code.constant(I64, 1) - single
    high_rows, low_rows = (tiles - low) * high * several, low * (high - 1) * several
    panels_in = frame.panels(n_in)
    back = a_step - frame.width * frame.bytes

    def tile(height: int, first: Sequence[Value], a: Value, b: Value, c: Value) -> None:
        kinds = [one.kind for one in first]
        if adds:
            begin = [one for r in range(height) for one in vectors(frame, code.at(c, r * row_bytes), kinds)]
        else:
            begin = list(first) * height

        def panel(p: Value, a: Value, b: Value, *sums: Value) -> tuple[Value, ...]:
            def step(_: Value, a: Value, b: Value, *sums: Value) -> tuple[Value, ...]:
                numbers = [code.load(code.at(a, r * row_bytes), frame.real) for r in range(height)]
                added = add_products(frame, numbers, vectors(frame, b, kinds), sums)
                return (code.at(a, frame.bytes), code.at(b, row_bytes), *added)

            steps = code.smaller(n_in - p * frame.width, frame.width)
            a, b, *sums_after = code.loop(0, steps, 1, step, a, b, *sums)
            return (code.at(a, back), b, *sums_after)

        _, _, *sums = code.loop(0, panels_in, 1, panel, a, b, *begin)
        for i, value in enumerate(sums):
            row, v = divmod(i, len(first))
            code.store(value, code.at(c, row * row_bytes + v * frame.vector_bytes))

    def panel_out(kinds: Kinds, b: Value, start: Value, c: Value) -> tuple[Value, ...]:
        first = vectors(frame, start, kinds)
        cursor = (a, c)
        for height, count in ((high, high_rows), (high - 1, low_rows), (1, single)):

            def strip(_: Value, a: Value, c: Value, height: int = height) -> tuple[Value, ...]:
                tile(height, first, a, b, c)
                return code.at(a, height * row_bytes), code.at(c, height * row_bytes)

            cursor = code.loop(0, count, height, strip, *cursor)  # type: ignore[assignment]
        return code.at(b, b_step), code.at(start, start_step), code.at(c, c_step)

    _each_panel(frame, n_out, panel_out, b, start, c)


def gradient(frame: Frame) -> None:
    """``dW = x.T d`` and ``db = d.sum(0)``, or the step of plain gradient descent that they make.

    Arguments: x, d, out (the bias of the first panel), zeros; bytes from a panel to the next of x, d, out; inputs,
    columns of d; whether there is a bias; whether ``out`` are the parameters, from which rate times gradient is taken.
    Else it is the gradient of the range in hand, to which its blocks behind the first one are added; and the first one,
    too, where the last argument says so.
    """
    code, row_bytes = frame.code, frame.row_bytes
    x, d, out, zeros = (frame.place(i) for i in range(4))
    x_step, d_step, out_step, n_in, n_out, bias, fold, adds = (frame.size(i) for i in range(4, 12))
    rows = frame.whole("rows")
    out = code.at(out, frame.whole("range_gradient"))
    descends = code.compare("!=", fold, 0)
    later = code.compare("!=", frame.whole("first"), frame.whole("low"))
    keeps = code.op("i1", f"or {descends}, {later.name}")
    keeps = code.op("i1", f"or {keeps}, {code.compare('!=', adds, 0).name}")
    rate = code.resize(frame.state("rate"), frame.real)
    scale = code.select(descends, -rate, 1.0)

    def finish(kinds: Kinds, sums: Sequence[Value], place: Value) -> None:
        """Add to what is there, or to zeros."""
        old, factor = code.select(keeps, place, zeros), code.spread(scale, lanes_of(kinds[0]))
        for i, value in enumerate(sums):
            row, v = divmod(i, len(kinds))
            offset = row * row_bytes + v * frame.vector_bytes
            code.store(code.fma(factor, value, code.load(code.at(old, offset), kinds[v])), code.at(place, offset))

    def nothing(kinds: Kinds) -> list[Value]:
        return [code.constant(kind, 0.0) for kind in kinds]

    def bias_of(kinds: Kinds, d: Value, place: Value) -> tuple[Value, ...]:
        def add(_: Value, d: Value, *sums: Value) -> tuple[Value, ...]:
            row = vectors(frame, d, kinds)
            return (code.at(d, row_bytes), *(a + b for a, b in zip(sums, row, strict=True)))

        _, *sums = code.loop(0, rows, 1, add, d, *nothing(kinds))
        finish(kinds, sums, place)
        return code.at(d, d_step), code.at(place, out_step)

    def tile(kinds: Kinds, height: int, x: Value, d: Value, place: Value) -> None:
        def step(_: Value, x: Value, d: Value, *sums: Value) -> tuple[Value, ...]:
            numbers = [code.load(code.at(x, r * frame.bytes), frame.real) for r in range(height)]
            added = add_products(frame, numbers, vectors(frame, d, kinds), sums)
            return (code.at(x, row_bytes), code.at(d, row_bytes), *added)

        _, _, *sums = code.loop(0, rows, 1, step, x, d, *(nothing(kinds) * height))
        finish(kinds, sums, place)

    def panel_in(p: Value, x: Value, out: Value) -> tuple[Value, ...]:
        left = n_in - p * frame.width

        def panel_out(kinds: Kinds, d: Value, out: Value) -> tuple[Value, ...]:
            high = frame.module.target.high if len(kinds) == VECTORS else NARROW_HIGH
            heights, offset = heights_in_panel(frame.width, high), 0
            for height in sorted(set(heights), reverse=True):
                last = code.smaller(left, offset + height * heights.count(height))

                def strip(i: Value, height: int = height) -> None:
                    places = (code.at(x, i, frame.real), d, code.at(out, i * row_bytes))
                    half = -(-height // 2)
                    if len(kinds) < VECTORS:
                        tile(kinds, height, *places)
                    else:
                        code.when(
                            code.compare(">", left - i, half),
                            lambda: tile(kinds, height, *places),
                            lambda: tile(kinds, half, *places),
                        )

                code.loop(offset, last, height, strip)
                offset += height * heights.count(height)
            return code.at(d, d_step), code.at(out, out_step)

        _each_panel(frame, n_out, panel_out, d, out)
        return code.at(x, x_step), code.at(out, frame.width * row_bytes)

    code.when(code.compare("!=", bias, 0), lambda: _each_panel(frame, n_out, bias_of, d, out))
    code.loop(0, frame.panels(n_in), 1, panel_in, x, code.at(out, row_bytes))


def transposition(frame: Frame) -> None:
    """Write the panels of transposed weights.

    Arguments: weights (the first row behind the bias), transposed ones; bytes from a panel to the next of each; panels
    of inputs, panels of outputs.
    """
    code, row_bytes, lanes = frame.code, frame.row_bytes, frame.lanes
    w, wt = frame.place(0), frame.place(1)
    w_step, wt_step, panels_in, panels_out = (frame.size(i) for i in range(2, 6))
    block = lanes * row_bytes

    def square(source: Value, place: Value) -> None:
        rows = [code.load(code.at(source, i * row_bytes), frame.row) for i in range(lanes)]
        for j, row in enumerate(transposed(frame, rows)):
            code.store(row, code.at(place, j * row_bytes))

    def each(count: Value | int, body: Callable[..., None], *pointers: tuple[Value, Value | int]) -> None:
        """Run ``body(*pointers)`` so many times, each pointer moved on by its step."""

        def step(_: Value, *now: Value) -> list[Value]:
            body(*now)
            return [code.at(pointer, by) for pointer, (_, by) in zip(now, pointers, strict=True)]

        code.loop(0, count, 1, step, *(pointer for pointer, _ in pointers))

    # Registers of inputs, then of outputs, within a panel of each.
    def within(source: Value, place: Value) -> None:
        def over_inputs(source: Value, place: Value) -> None:
            each(VECTORS, square, (source, frame.vector_bytes), (place, block))

        each(VECTORS, over_inputs, (source, block), (place, frame.vector_bytes))

    def over_panels_in(source: Value, place: Value) -> None:
        each(panels_in, within, (source, frame.width * row_bytes), (place, wt_step))

    each(panels_out, over_panels_in, (w, w_step), (wt, frame.width * row_bytes))


def transposed(frame: Frame, rows: Sequence[Value]) -> list[Value]:
    """Return the columns of a square of vectors, by exchanging ever smaller blocks."""
    code, n, found = frame.code, len(rows), list(rows)
    size = n // 2
    while size:
        low = [lane if not lane & size else n + lane - size for lane in range(n)]
        high = [lane + size if not lane & size else n + lane for lane in range(n)]
        for r in range(n):
            if not r & size:
                upper, lower = found[r], found[r + size]
                found[r], found[r + size] = code.shuffle(upper, lower, low), code.shuffle(upper, lower, high)
        size //= 2
    return found


def product_added(frame: Frame) -> None:
    """``C = C + A B``; else as ``product_rows``."""
    product_rows(frame, adds=True)


ADDED = [Kernel("product_added", product_added)]
"""What only layers of several blocks need."""

KERNELS = [
    Kernel("product_rows", product_rows),
    Kernel("gradient", gradient),
    Kernel("transposition", transposition),
]
