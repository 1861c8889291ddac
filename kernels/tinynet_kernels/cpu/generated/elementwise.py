"""Kernels that take panels number by number: activations and their derivatives, normalisation, dropout."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import BYTES, DOUBLE, I64, vector


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
    """``y = (x - mean) / scale``, by columns, in double.

    Arguments: x, y, the bytes between the panels of each, columns, the offset of the means among what is stored
    untrained: float64, and the scales follow.
    """
    _by_columns(frame, frame.real, _standardized)


def standardize(frame: Frame) -> None:
    """``normalize_forward`` of rows that were gathered as doubles."""
    _by_columns(frame, DOUBLE, _standardized)


def normalize_backward(frame: Frame) -> None:
    """``dx = dy / scale``, by columns, in double. Arguments: as those of ``normalize_forward``."""
    _by_columns(frame, frame.real, lambda dy, mean, divided: divided(dy))


def _standardized(x: Value, mean: Value, divided: Callable[[Value], Value]) -> Value:
    return divided(x - mean)


LIFT = 2.0**1000
"""Scales below its reciprocal are multiplied by it, for they have none themselves."""


def _by_columns(frame: Frame, given: str, formula: Callable[[Value, Value, Callable[[Value], Value]], Value]) -> None:
    """Write ``formula(x, mean, divided by scale)`` for numbers that are given as ``float`` or ``double``."""
    code = frame.code
    x, y, (x_step, y_step, n, flat) = frame.place(0), frame.place(1), (frame.size(i) for i in range(2, 6))
    means = code.at(frame.pointer("buffers"), flat)

    def column(p: Value, offset: Value, valid: Value, lanes: int) -> None:
        first, mask = code.at(means, n - valid, DOUBLE), frame.mask(valid, lanes)
        mean = _doubles(frame, first, valid, lanes, beyond=0.0)
        divided = _division(frame, _doubles(frame, code.at(first, n, DOUBLE), valid, lanes, beyond=1.0))

        def row(_: Value, x: Value, y: Value) -> list[Value]:
            value = formula(code.resize(code.load(x, vector(given, lanes)), DOUBLE), mean, divided)
            code.store(frame.kept(mask, code.resize(value, frame.real)), y)
            return [code.at(x, frame.width * BYTES[given]), code.at(y, frame.row_bytes)]

        start = code.at(code.at(x, p * x_step), offset * (BYTES[given] // frame.bytes))
        code.loop(0, frame.whole("rows"), 1, row, start, code.at(code.at(y, p * y_step), offset))

    def either(p: Value, offset: Value, valid: Value) -> None:
        if frame.real == DOUBLE:
            column(p, offset, valid, frame.lanes)
            return
        # A register of floats is two of doubles, of which few columns need one. What lies beyond it is zeros already.
        few = code.compare("<=", valid, frame.lanes // 2)
        code.when(
            few,
            lambda: column(p, offset, valid, frame.lanes // 2),
            lambda: column(p, offset, valid, frame.lanes),
        )

    frame.each_vector(n, either)


def _division(frame: Frame, scale: Value) -> Callable[[Value], Value]:
    """Return what divides doubles by a scale: for floats, of which it makes no other, by multiplications."""
    if frame.real == DOUBLE:
        return lambda value: value / scale
    code = frame.code
    lift = code.select(code.compare("<", scale, 1.0 / LIFT), code.constant(scale.kind, LIFT), 1.0)
    unit = 1.0 / (scale * lift)
    return lambda value: value * lift * unit


def _doubles(frame: Frame, pointer: Value, valid: Value, lanes: int, *, beyond: float) -> Value:
    """Return so many float64 numbers in the lanes of a register, and the same one in all lanes beyond."""
    code, kind = frame.code, vector(DOUBLE, lanes)
    inside = code.compare("<", code.counting(vector(I64, lanes)), code.spread(valid, lanes))
    load = f"@llvm.masked.load.v{lanes}f64.p0"
    code.module.declared.add(f"declare {kind} {load}(ptr, i32, {inside.kind}, {kind})")
    return code.op(kind, f"call {kind} {load}({pointer}, i32 8, {inside}, {code.constant(kind, beyond)})")


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


NORMALIZE = [
    Kernel("normalize_forward", normalize_forward),
    Kernel("standardize", standardize),
    Kernel("normalize_backward", normalize_backward),
]
MULTIPLY = Kernel("multiply", multiply)
