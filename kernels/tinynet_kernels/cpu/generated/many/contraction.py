"""The contraction: all products of a network, since every factor is a register of models.

``out[i, j] = start[i, j] + sum_k a[i, k] b[k, j]`` with any bytes from one element to the next: outputs of a layer from
inputs and weights, gradients of inputs from those of outputs and weights, gradients of weights from inputs and outputs.
A tile of sums stays in registers; each sum is made in the order of ``k``, whatever tile it is in.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.many.lanes import counted
from tinynet_kernels.cpu.generated.target import Target


def tile_of(target: Target) -> tuple[int, int]:
    """Return rows and columns of a tile: its sums, a column of factors and one more fill the registers."""
    return (3, 4) if target.registers == 16 else (4, 6)


def _halving(n: int) -> list[int]:
    return [n, *_halving(n // 2)] if n > 1 else [1]


def contraction(frame: Frame) -> None:
    """Multiply. A count of 0 stands for the rows in hand.

    Arguments: a, bytes from row to row, from column to column; b, bytes from column to column, from row to row; what
    sums start from, bytes from row to row, from column to column; out, bytes from row to row; counts of i, j and k.
    """
    code = frame.code
    a, a_row, a_next = frame.place(0), frame.size(1), frame.size(2)
    b, b_column, b_next = frame.place(3), frame.size(4), frame.size(5)
    start, start_row, start_column = frame.place(6), frame.size(7), frame.size(8)
    out, out_row = frame.place(9), frame.size(10)
    rows, columns, inner = (counted(frame, i) for i in (11, 12, 13))
    high, wide = tile_of(frame.module.target)
    a_offsets = [a_row * i for i in range(high)]
    b_offsets = [b_column * j for j in range(wide)]
    vector = frame.vector_bytes

    def tile(n_rows: int, n_columns: int, a: Value, b: Value, start: Value, out: Value) -> None:
        places = [(i, j) for i in range(n_rows) for j in range(n_columns)]
        sums = [code.load(code.at(code.at(start, start_row * i), start_column * j), frame.row) for i, j in places]

        def step(_: Value, a: Value, b: Value, *sums: Value) -> list[Value]:
            left = [code.load(code.at(a, a_offsets[i]), frame.row) for i in range(n_rows)]
            following = list(sums)
            for j in range(n_columns):
                # One column after the other, so that it takes one register beside the sums.
                right = code.load(code.at(b, b_offsets[j]), frame.row)
                for i in range(n_rows):
                    place = i * n_columns + j
                    following[place] = code.fma(left[i], right, sums[place])
            return [code.at(a, a_next), code.at(b, b_next), *following]

        _, _, *sums = code.loop(0, inner, 1, step, a, b, *sums)
        for (i, j), value in zip(places, sums, strict=True):
            code.store(value, code.at(code.at(out, out_row * i), j * vector))

    def strip(n_rows: int, a: Value, start: Value, out: Value) -> None:
        column: tuple[Value, ...] = (b, start, out)
        done = code.whole(0)
        for size in _halving(wide):

            def piece(_: Value, b: Value, start: Value, out: Value, size: int = size) -> list[Value]:
                tile(n_rows, size, a, b, start, out)
                return [code.at(b, b_column * size), code.at(start, start_column * size), code.at(out, size * vector)]

            column = code.loop(done, columns - (size - 1), size, piece, *column)
            done = done + (columns - done) / size * size

    strips: tuple[Value, ...] = (a, start, out)
    done = code.whole(0)
    for n_rows in _halving(high):

        def some(_: Value, a: Value, start: Value, out: Value, n_rows: int = n_rows) -> list[Value]:
            strip(n_rows, a, start, out)
            moved = zip((a, start, out), (a_row * n_rows, start_row * n_rows, out_row * n_rows), strict=True)
            return [code.at(pointer, offset) for pointer, offset in moved]

        strips = code.loop(done, rows - (n_rows - 1), n_rows, some, *strips)
        done = done + (rows - done) / n_rows * n_rows


KERNELS = [Kernel("contraction", contraction)]
