"""The rows of a Jacobian, and the matrix of their products.

A block of the Jacobian is (parameters, samples); its product with itself is added to a matrix, tile by tile of one
triangle, and the block is forgotten. One more row than there are parameters holds the ratios of the loss, so that the
gradient comes out as the last column of the matrix, of which the upper triangle counts.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.abreast import each_register
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
    """Add ``J J'`` to the matrix in hand, its upper triangle and the tiles on the diagonal.

    Arguments: J, its rows, which are the columns of the matrix, bytes from a row of the matrix to the next, stride.
    """
    code, high, lanes = frame.code, 4 if frame.module.target.registers == 32 else 2, frame.lanes
    rows, n, line, stride = frame.place(0), *(frame.size(i) for i in (1, 2, 3))
    matrix = frame.pointer("gradients")
    stop = frame.whole("rows") * frame.bytes
    piece = min(high, lanes)
    kind = f"<{piece} x {frame.real}>"

    def strip(i: Value, left: Value, out: Value) -> list[Value]:
        lefts = [code.at(left, stride * r) for r in range(high)]

        def tile(_: Value, right: Value, out: Value) -> list[Value]:
            rights = [code.at(right, stride * c) for c in range(TILE)]

            def add(s: Value, *sums: Value) -> list[Value]:
                a = [code.load(code.at(pointer, s), frame.row) for pointer in lefts]
                found = list(sums)
                for c, pointer in enumerate(rights):
                    b = code.load(code.at(pointer, s), frame.row)
                    for r in range(high):
                        found[c * high + r] = code.fma(a[r], b, found[c * high + r])
                return found

            zero = code.constant(frame.row, 0.0)
            sums = code.loop(0, stop, frame.vector_bytes, add, *([zero] * (high * TILE)))
            for first in range(0, high * TILE, lanes):
                totals = totals_of(sums[first : first + lanes])
                for part in range(0, lanes, piece):
                    c, r = divmod(first + part, high)
                    place = code.at(code.at(out, line * c), r, frame.real)
                    own = totals if piece == lanes else code.shuffle(totals, totals, range(part, part + piece))
                    code.store(code.load(place, kind) + own, place)
            return [code.at(right, stride * TILE), code.at(out, line * TILE)]

        code.loop(0, i + high, TILE, tile, rows, out)
        return [code.at(left, stride * high), code.at(out, high, frame.real)]

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


KERNELS = [Kernel(body.__name__, body) for body in (outer, triangle, drive_items)]
