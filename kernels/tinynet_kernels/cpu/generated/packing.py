"""Packing: rows of flat arrays into panels, and back."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Code, Value
from tinynet_kernels.cpu.generated.ir_types import I64, POINTER
from tinynet_kernels.cpu.generated.layout import LINE
from tinynet_kernels.cpu.generated.target import VECTORS

BLOCK_AHEAD = 8
"""How many rows before it is copied a row of a block is asked for."""


def _copy_rows(
    frame: Frame, count: Value, valid: Value, packed: Value, flat: Value, flat_row: Value, *, pack: bool
) -> None:
    """Copy rows between a panel and a flat array, of which the panel has ``valid`` columns, by a function for all."""
    name = "pack_rows" if pack else "unpack_rows"

    def body(code: Code, count: Value, valid: Value, packed: Value, flat: Value, flat_row: Value) -> None:
        _write_copy(Frame(code, packed, packed), count, valid, packed, flat, flat_row, pack=pack)

    kinds = [I64, I64, POINTER, POINTER, I64]
    frame.module.function(name, kinds, body, exported=False)
    frame.code.call(name, count, valid, packed, flat, flat_row)


def _write_copy(
    frame: Frame, count: Value, valid: Value, packed: Value, flat: Value, flat_row: Value, *, pack: bool
) -> None:
    code = frame.code

    def onward(packed: Value, flat: Value) -> list[Value]:
        return [code.at(packed, frame.row_bytes), code.at(flat, flat_row)]

    def whole(_: Value, packed: Value, flat: Value) -> list[Value]:
        _move_panel(frame, packed, flat, pack=pack)
        return onward(packed, flat)

    def part(_: Value, packed: Value, flat: Value) -> list[Value]:
        _move_part(frame, valid, packed, flat, pack=pack)
        return onward(packed, flat)

    code.when(
        code.compare(">=", valid, frame.width),
        lambda: code.loop(0, count, 1, whole, packed, flat),
        lambda: code.loop(0, count, 1, part, packed, flat),
    )


def _move(code: Code, packed: Value, flat: Value, kind: str, *, pack: bool) -> None:
    """Copy a number or a register to panels, or from them."""
    source, place = (flat, packed) if pack else (packed, flat)
    code.store(code.load(source, kind), place)


def _move_panel(frame: Frame, packed: Value, flat: Value, *, pack: bool) -> None:
    """Copy a row of a panel."""
    for offset in range(0, frame.row_bytes, frame.vector_bytes):
        _move(frame.code, frame.code.at(packed, offset), frame.code.at(flat, offset), frame.row, pack=pack)


def _move_part(frame: Frame, valid: Value, packed: Value, flat: Value, *, pack: bool) -> None:
    """Copy a row of a panel that is not full; in panels zeros follow."""
    code = frame.code
    if pack:
        for v in range(VECTORS):
            code.store(code.constant(frame.row, 0.0), code.at(packed, v * frame.vector_bytes))

    def one(j: Value) -> None:
        _move(code, code.at(packed, j, frame.real), code.at(flat, j, frame.real), frame.real, pack=pack)

    code.loop(0, valid, 1, one)


def _layer(*, pack: bool) -> Callable[[Frame], None]:
    """Copy the weight and the bias of a layer between a flat vector and panels, or what belongs to them.

    Arguments: panels (the bias of the first); bytes between them; offsets of weight and bias in the vector; inputs,
    outputs; whether there is a bias; the word of the context that is the vector's address.
    """

    def body(frame: Frame) -> None:
        code = frame.code
        packed, step, weight, bias, n_in, n_out, has_bias = frame.place(0), *(frame.size(i) for i in range(1, 7))
        flat = code.load(code.at(frame.context, frame.size(7), I64), POINTER)
        flat_row = n_out * frame.bytes
        rows_of_bias = code.select(code.compare("!=", has_bias, 0), code.constant(I64, 1), 0)

        def panel(p: Value, packed: Value) -> list[Value]:
            valid, column = n_out - p * frame.width, code.at(flat, p * frame.row_bytes)
            _copy_rows(frame, rows_of_bias, valid, packed, code.at(column, bias), flat_row, pack=pack)
            rows = code.at(packed, frame.row_bytes)
            _copy_rows(frame, n_in, valid, rows, code.at(column, weight), flat_row, pack=pack)
            return [code.at(packed, step)]

        code.loop(0, frame.panels(n_out), 1, panel, packed)

    return body


def _block(*, pack: bool) -> Callable[[Frame], None]:
    """Copy a block of a large flat matrix into panels or back, row after row, as it lies in memory.

    Arguments: panels; bytes between them; offset of the block in the vector; rows and columns of the block; columns of
    the matrix; the word of the context that is the vector's address.
    """

    def body(frame: Frame) -> None:
        code, row_bytes = frame.code, frame.row_bytes
        packed, step, offset, rows, columns, all_columns = frame.place(0), *(frame.size(i) for i in range(1, 6))
        flat = code.at(code.load(code.at(frame.context, frame.size(6), I64), POINTER), offset)
        flat_row = all_columns * frame.bytes
        whole = columns / frame.width
        left = columns - whole * frame.width
        ahead = flat_row * BLOCK_AHEAD

        def row(_: Value, packed: Value, flat: Value) -> list[Value]:
            def panel(_: Value, packed: Value, flat: Value) -> list[Value]:
                for line in range(0, row_bytes if pack else 0, LINE):
                    code.prefetch(code.at(code.at(flat, ahead), line))
                _move_panel(frame, packed, flat, pack=pack)
                return [code.at(packed, step), code.at(flat, row_bytes)]

            last, behind = code.loop(0, whole, 1, panel, packed, flat)
            code.when(code.compare(">", left, 0), lambda: _move_part(frame, left, last, behind, pack=pack))
            return [code.at(packed, row_bytes), code.at(flat, flat_row)]

        code.loop(0, rows, 1, row, packed, flat)

    return body


def put_rows(frame: Frame) -> None:
    """Write the rows in hand to the caller's ``out``. Arguments: panels, bytes between them, columns."""
    code = frame.code
    packed, step, n = frame.place(0), frame.size(1), frame.size(2)
    flat_row = n * frame.bytes
    first = code.at(frame.pointer("out"), (frame.whole("start") + frame.whole("first")) * flat_row)

    def panel(p: Value, packed: Value) -> list[Value]:
        valid = n - p * frame.width
        place = code.at(first, p * frame.row_bytes)
        _copy_rows(frame, frame.whole("rows"), valid, packed, place, flat_row, pack=False)
        return [code.at(packed, step)]

    code.loop(0, frame.panels(n), 1, panel, packed)


KERNELS = [
    Kernel("pack", _layer(pack=True)),
    Kernel("unpack", _layer(pack=False)),
    Kernel("put_rows", put_rows),
]

BLOCKS = [Kernel("pack_block", _block(pack=True)), Kernel("unpack_block", _block(pack=False))]
"""What only large layers need."""
