"""Kernels that take panels number by number: activations and their derivatives, normalisation, dropout."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value


def each_column(frame: Frame, n: Value, body: Callable[[Value, Value, Value, Callable[..., None]], None]) -> None:
    """Run ``body(panel, offset, mask, rows)`` for each column of vectors.

    ``rows(step, *pointers)`` then runs ``step`` for each row, with the pointers moved on from row to row.
    """
    code, count = frame.code, frame.whole("rows")

    def rows(step: Callable[..., None], *pointers: Value) -> None:
        def row(_: Value, *now: Value) -> list[Value]:
            step(*now)
            return [code.at(pointer, frame.row_bytes) for pointer in now]

        code.loop(0, count, 1, row, *pointers)

    frame.each_vector(n, lambda p, offset, valid: body(p, offset, frame.mask(valid), rows))


def activation_forward(kind: str) -> Callable[[Frame], None]:
    """``y = f(z)``, and 0 beyond the last column. Arguments: z, y, bytes between their panels, columns, alpha."""

    def body(frame: Frame) -> None:
        code, (value, _) = frame.code, formulas.ACTIVATIONS[kind].terms
        z, y, step, n, alpha = frame.place(0), frame.place(1), frame.size(2), frame.size(3), frame.spread(4)

        def column(p: Value, offset: Value, mask: Value, rows: Callable[..., None]) -> None:
            def row(z: Value, y: Value) -> None:
                write = Writer(code, {"z": code.load(z, frame.row), "alpha": alpha})
                code.store(frame.kept(mask, write(value)), y)

            rows(row, *(code.at(code.at(pointer, p * step), offset) for pointer in (z, y)))

        each_column(frame, n, column)

    return body


def activation_backward(kind: str) -> Callable[[Frame], None]:
    """``dz = dy f'(z)``. Arguments: z, y, dy, dz, bytes between their panels, columns, alpha."""

    def body(frame: Frame) -> None:
        code, (_, derivative) = frame.code, formulas.ACTIVATIONS[kind].terms
        pointers = [frame.place(i) for i in range(4)]
        step, n, alpha = frame.size(4), frame.size(5), frame.spread(6)

        def column(p: Value, offset: Value, mask: Value, rows: Callable[..., None]) -> None:
            def row(z: Value, y: Value, dy: Value, dz: Value) -> None:
                symbols = {"z": code.load(z, frame.row), "y": code.load(y, frame.row), "alpha": alpha}
                slope = Writer(code, symbols)(derivative)
                code.store(code.load(dy, frame.row) * slope, dz)

            rows(row, *(code.at(code.at(pointer, p * step), offset) for pointer in pointers))

        each_column(frame, n, column)

    return body


def normalize_forward(frame: Frame) -> None:
    """``y = (x - mean) / scale``, by columns. Arguments: x, y, their panels' bytes, columns, mean, scale."""
    _by_columns(frame, lambda x, mean, scale: (x - mean) / scale)


def normalize_backward(frame: Frame) -> None:
    """``dx = dy / scale``, by columns. Arguments: dy, dx, their panels' bytes, columns, mean, scale."""
    _by_columns(frame, lambda dy, mean, scale: dy / scale)


def _by_columns(frame: Frame, formula: Callable[[Value, Value, Value], Value]) -> None:
    code = frame.code
    x, y, mean, scale = (frame.place(i) for i in (0, 1, 4, 5))
    step, n = frame.size(2), frame.size(3)

    def column(p: Value, offset: Value, mask: Value, rows: Callable[..., None]) -> None:
        own = [
            code.load(code.at(code.at(pointer, p * frame.row_bytes), offset), frame.row) for pointer in (mean, scale)
        ]

        def row(x: Value, y: Value) -> None:
            code.store(frame.kept(mask, formula(code.load(x, frame.row), *own)), y)

        rows(row, *(code.at(code.at(pointer, p * step), offset) for pointer in (x, y)))

    each_column(frame, n, column)


def multiply(frame: Frame) -> None:
    """``y = x * mask``. Arguments: x, y, their panels' bytes, columns, and the mask, whose rows follow one another."""
    code = frame.code
    x, y, factors = (frame.place(i) for i in (0, 1, 4))
    step, n = frame.size(2), frame.size(3)
    mask_row = n * frame.bytes

    def panel(p: Value, offset: Value, valid: Value) -> None:
        def row(_: Value, x: Value, y: Value, factor: Value) -> list[Value]:
            product = code.load(x, frame.row) * code.load(factor, frame.row)
            code.store(frame.kept(mask, product), y)
            return [code.at(x, frame.row_bytes), code.at(y, frame.row_bytes), code.at(factor, mask_row)]

        mask = frame.mask(valid)
        starts = (code.at(code.at(pointer, p * step), offset) for pointer in (x, y))
        code.loop(0, frame.whole("rows"), 1, row, *starts, code.at(code.at(factors, p * frame.row_bytes), offset))

    frame.each_vector(n, panel)


def activations(kind: str) -> list[Kernel]:
    """Return the kernels of an activation."""
    return [
        Kernel(f"{kind}_forward", activation_forward(kind)),
        Kernel(f"{kind}_backward", activation_backward(kind)),
    ]


NORMALIZE = [Kernel("normalize_forward", normalize_forward), Kernel("normalize_backward", normalize_backward)]
MULTIPLY = Kernel("multiply", multiply)
