"""The rows of a Jacobian, the matrix of their products, and the solution of the equations that it makes.

A block of the Jacobian is (parameters, samples); its product with itself is added to a matrix, tile by tile of one
triangle, and the block is forgotten. One more row than there are parameters holds the ratios of the loss, so that the
gradient comes out as the last row of the matrix.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.abreast import each_register
from tinynet_kernels.cpu.generated.elementary import sqrt
from tinynet_kernels.cpu.generated.frame import ROW, Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER
from tinynet_kernels.cpu.generated.samples import totals_of

TILE = 4
"""Columns of a tile of the matrix; the matrix has a multiple of it."""


def outer(frame: Frame) -> None:
    """``J_kj = x_k d_j``. Arguments: x, d, J, columns of x, columns of d, stride."""
    code, stride = frame.code, frame.size(5)
    d, n_out = frame.place(1), frame.size(4)

    def line(_: Value, x: Value, out: Value) -> list[Value]:
        def column(_: Value, d: Value, out: Value) -> list[Value]:
            def register(s: Value) -> None:
                product = code.load(code.at(x, s), frame.row) * code.load(code.at(d, s), frame.row)
                code.store(product, code.at(out, s))

            each_register(frame, register)
            return [code.at(d, stride), code.at(out, stride)]

        _, out = code.loop(0, n_out, 1, column, d, out)
        return [code.at(x, stride), out]

    code.loop(0, frame.size(3), 1, line, frame.place(0), frame.place(2))


def triangle(frame: Frame) -> None:
    """Add ``J J'`` to the matrix in hand, its lower triangle and the tiles on the diagonal.

    Arguments: J, its rows, which are the columns of the matrix, stride.
    """
    code, high, lanes = frame.code, 4 if frame.module.target.registers == 32 else 2, frame.lanes
    rows, n, stride = frame.place(0), frame.size(1), frame.size(2)
    matrix = frame.pointer("gradients")
    line = n * frame.bytes
    stop = frame.whole("rows") * frame.bytes
    piece = min(TILE, lanes)
    kind = f"<{piece} x {frame.real}>"

    def strip(i: Value, left: Value, out: Value) -> list[Value]:
        lefts = [code.at(left, stride * r) for r in range(high)]

        def tile(j: Value, right: Value) -> list[Value]:
            rights = [code.at(right, stride * c) for c in range(TILE)]

            def add(s: Value, *sums: Value) -> list[Value]:
                a = [code.load(code.at(pointer, s), frame.row) for pointer in lefts]
                found = list(sums)
                for c, pointer in enumerate(rights):
                    b = code.load(code.at(pointer, s), frame.row)
                    for r in range(high):
                        found[r * TILE + c] = code.fma(a[r], b, found[r * TILE + c])
                return found

            zero = code.constant(frame.row, 0.0)
            sums = code.loop(0, stop, frame.vector_bytes, add, *([zero] * (high * TILE)))
            for first in range(0, high * TILE, lanes):
                totals = totals_of(sums[first : first + lanes])
                for part in range(0, lanes, piece):
                    r, c = divmod(first + part, TILE)
                    place = code.at(code.at(out, line * r), j + c, frame.real)
                    own = totals if piece == lanes else code.shuffle(totals, totals, range(part, part + piece))
                    code.store(code.load(place, kind) + own, place)
            return [code.at(right, stride * TILE)]

        code.loop(0, i + high, TILE, tile, rows)
        return [code.at(left, stride * high), code.at(out, line * high)]

    code.loop(0, n, high, strip, rows, matrix)


def drive_items(frame: Frame) -> None:
    """Run the steps of a table for a range of items, each a model with a part of the samples.

    The table begins with the number of steps, the samples of a block, those of a part, the parts of all samples, and
    the bytes of a matrix, which may be none. Matrix and loss of each item begin at 0, and lie where its number says.
    """
    code, table = frame.code, frame.arguments
    n_steps, block, part, parts, size = (frame.size(i) for i in range(5))
    bases = {name: frame.pointer(name) for name in ("parameters", "buffers", "weight", "gradients", "losses")}
    steps = {name: frame.whole(f"{name}_step") for name in ("parameters", "buffers", "weight")}
    n = frame.whole("n_visits")

    def item(i: Value) -> None:
        model = i / parts
        low = (i - model * parts) * part
        high = code.smaller(low + part, n)
        for name, step in steps.items():
            frame.put(name, code.at(bases[name], step * model))
        matrix = code.at(bases["gradients"], size * i)
        frame.put("gradients", matrix)
        zero = code.constant(frame.row, 0.0)
        code.loop(0, size, frame.vector_bytes, lambda s: code.store(zero, code.at(matrix, s)))
        frame.put("total", code.constant(DOUBLE, 0.0))

        def run(first: Value) -> None:
            frame.put("first", first)
            frame.put("rows", code.smaller(high - first, block))

            def step(_: Value, row: Value) -> list[Value]:
                code.call(code.load(row, POINTER), frame.context, code.at(row, 1, I64))
                return [code.at(row, ROW, I64)]

            code.loop(0, n_steps, 1, step, code.at(table, ROW, I64))

        code.loop(low, high, block, run)
        code.store(frame.state("total"), code.at(bases["losses"], i, DOUBLE))

    code.loop(frame.whole("first_item"), frame.whole("last_item"), 1, item)
    for name, base in bases.items():
        frame.put(name, base)


def solve(frame: Frame) -> None:
    """Solve ``(A + diag) s = g`` for a range of items by Cholesky's factors; NaN where there are none.

    ``A`` is the lower triangle of the matrix and ``g`` its row behind the last parameter. Arguments: scratch for the
    factor, for a row and for the inverse pivots; parameters; columns of a matrix, and of the scratch. Each column takes
    all rows from its pivot on, a register of them at a time, and the row of ``g`` with them: forward substitution is
    part of the factorisation (Golub and Van Loan, 2013, section 4.2.5).
    """
    code, real, lanes, size = frame.code, frame.real, frame.lanes, frame.bytes
    factor, row, pivots = (frame.place(i) for i in range(3))
    n, columns, line = frame.size(3), frame.size(4), frame.size(5) * size
    zero = code.constant(frame.row, 0.0)

    def at(base: Value, i: Value, k: Value) -> Value:
        return code.at(code.at(base, i * line), k, real)

    def take(matrix: Value, diagonal: Value) -> None:
        def one(i: Value) -> None:
            code.loop(0, line, frame.vector_bytes, lambda s: code.store(zero, code.at(code.at(factor, i * line), s)))
            held = code.at(matrix, i * columns, real)
            code.loop(0, i + 1, 1, lambda k: code.store(code.load(code.at(held, k, real), real), at(factor, i, k)))

        code.loop(0, n + 1, 1, one)

        def shift(i: Value) -> None:
            there = at(factor, i, i)
            code.store(code.load(there, real) + code.load(code.at(diagonal, i, real), real), there)

        code.loop(0, n, 1, shift)

    def column(j: Value) -> None:
        stop = (j + (lanes - 1)) / lanes * (lanes * size)
        # What stands in the row from the pivot on is not part of the factor yet.
        own = code.at(factor, j * line)

        def copy(s: Value) -> None:
            mask = frame.mask(j - s / size)
            code.store(frame.kept(mask, code.load(code.at(own, s), frame.row)), code.at(row, s))

        code.loop(0, stop, frame.vector_bytes, copy)

        def rows(i: Value, inverse: Value) -> list[Value]:
            ways = [code.at(code.at(factor, i * line), line * r) for r in range(lanes)]

            def add(s: Value, *sums: Value) -> list[Value]:
                known = code.load(code.at(row, s), frame.row)
                return [
                    code.fma(known, code.load(code.at(way, s), frame.row), total)
                    for way, total in zip(ways, sums, strict=True)
                ]

            totals = totals_of(code.loop(0, stop, frame.vector_bytes, add, *([zero] * lanes)))
            here = [code.at(way, j, real) for way in ways]
            held = zero
            for r, place in enumerate(here):
                held = code.op(frame.row, f"insertelement {held}, {code.load(place, real)}, i64 {r}")
            left = held - totals
            first = code.compare("==", i, j)
            inverse = code.select(first, 1.0 / sqrt(code.extract(left, 0)), inverse)
            found = left * code.spread(inverse)
            for r, place in enumerate(here):
                code.store(code.extract(found, r), place)
            return [inverse]

        (inverse,) = code.loop(j, n + 1, lanes, rows, code.constant(real, 0.0))
        code.store(inverse, code.at(pivots, j, real))

    def back(base: Value) -> None:
        last = code.at(factor, n * line)
        code.loop(0, n, 1, lambda k: code.store(code.load(code.at(last, k, real), real), code.at(row, k, real)))

        def one(count: Value) -> None:
            i = n - 1 - count
            there = code.at(row, i, real)
            value = code.load(there, real) * code.load(code.at(pivots, i, real), real)
            spread, own = code.spread(value), code.at(factor, i * line)

            def subtract(s: Value) -> None:
                place = code.at(row, s)
                code.store(code.load(place, frame.row) - spread * code.load(code.at(own, s), frame.row), place)

            code.loop(0, (i + (lanes - 1)) / lanes * (lanes * size), frame.vector_bytes, subtract)
            code.store(value, there)
            code.store(value, code.at(base, i, real))

        code.loop(0, n, 1, one)

    matrices, diagonals, out = (frame.pointer(name) for name in ("gradients", "moments", "out"))

    def item(i: Value) -> None:
        take(code.at(matrices, columns * columns * i, real), code.at(diagonals, n * i, real))
        code.loop(0, n, 1, column)
        back(code.at(out, n * i, real))

    code.loop(frame.whole("first_item"), frame.whole("last_item"), 1, item)


KERNELS = [Kernel(body.__name__, body) for body in (outer, triangle, drive_items, solve)]
