"""Gathering: rows of the caller's arrays into panels, whatever their type and however they lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import BYTES, DOUBLE, I64, POINTER, vector, with_element
from tinynet_kernels.cpu.generated.layout import LINE
from tinynet_kernels.cpu.generated.target import VECTORS

AHEAD = 16
"""So many rows before a row is gathered, it is asked for: rows in random order come from memory one after the other."""


class Source(NamedTuple):
    """How numbers of a dtype are read."""

    stored: str
    """As what they are loaded."""
    signed: bool = True
    swapped: bool = False
    """Whether their bytes are in the other order."""


@cache
def source_of(code: str) -> Source | None:
    """Return how numbers are read whose NumPy dtype has this ``str``, such as ``<f4``; None if they are not.

    Examples
    --------
    >>> source_of("<f4"), source_of("|u1"), source_of("<c8")
    (Source(stored='float', signed=False, swapped=False), Source(stored='i8', signed=False, swapped=False), None)
    """
    order, kind, size = code[0], code[1], int(code[2:])
    if kind == "f":
        stored = {2: "half", 4: "float", 8: "double"}.get(size)
    else:
        stored = f"i{8 * size}" if kind in "iub" and size <= 8 else None
    return None if stored is None else Source(stored, kind == "i", order == ">")


def _as_real(frame: Frame, value: Value, source: Source, real: str) -> Value:
    """Turn what was loaded as whole numbers into the numbers that they mean, as ``float`` or ``double``."""
    code, bits = frame.code, value.kind
    if source.swapped:
        value = code.call_intrinsic("bswap", value)
    kind = with_element(bits, real)
    if source.stored == "half":
        return code.resize(_from_half(frame, value), real)
    if source.stored in ("float", "double"):
        return code.resize(code.convert("bitcast", value, with_element(bits, source.stored)), real)
    return code.convert("sitofp" if source.signed else "uitofp", value, kind)


def _from_half(frame: Frame, value: Value) -> Value:
    """Return half-precision numbers as ``float``, by their bits: not all processors have an instruction for it.

    Moved to where they are in a float, exponent and mantissa are 2**112 times too small.
    """
    code = frame.code
    wide = with_element(value.kind, "i32")
    whole = code.convert("zext", value, wide)

    def both(name: str, number: int, of: Value = whole) -> Value:
        return code.op(wide, f"{name} {of}, {code.constant(wide, number).name}")

    kind = with_element(value.kind, "float")
    size = code.convert("bitcast", both("shl", 13, both("and", 0x7FFF)), kind) * 2.0**112
    special = code.compare(">=", both("and", 0x7FFF), 0x7C00)
    nan_or_inf = both("or", 0x7F800000, both("shl", 13, both("and", 0x3FF)))
    bits = code.select(special, nan_or_inf, code.convert("bitcast", size, wide))
    signed = code.op(wide, f"or {bits}, {both('shl', 16, both('and', 0x8000)).name}")
    return code.convert("bitcast", signed, kind)


def read(frame: Frame, pointer: Value, source: Source, size: int, lanes: int, real: str | None = None) -> Value:
    """Read numbers of ``size`` bytes, as many as there are lanes, as ``real``: by default the arrays' type.

    They are aligned to a byte: a column of a structured array, or a file, may begin anywhere.
    """
    kind = vector(f"i{8 * size}", lanes)
    return _as_real(frame, frame.code.op(kind, f"load {kind}, {pointer}, align 1"), source, real or frame.real)


def is_exact(dtype: str, real: str) -> bool:
    """Whether all numbers of a dtype are numbers of ``float32`` or ``float64``, too.

    Examples
    --------
    >>> is_exact("<f4", "float32"), is_exact("|u1", "float32"), is_exact("<i4", "float32"), is_exact("<i4", "float64")
    (True, True, False, True)
    """
    size = int(dtype[2:])
    return size <= {"float32": 4, "float64": 8}[real] if dtype[1] == "f" else size < {"float32": 4, "float64": 8}[real]


def gather(dtype: str, real: str | None = None) -> Callable[[Frame], None]:
    """Gather the rows in hand from a source whose numbers have this dtype, as ``real``: by default the arrays' type.

    Arguments: where to; bytes from a row to the next there, and from a panel; columns; the word of the context in which
    the source begins (its address, and its steps); the first column.
    """
    source = source_of(dtype)
    assert source is not None
    size = int(dtype[2:])

    def body(frame: Frame) -> None:
        code, number = frame.code, real or frame.real
        place, row_step, panel_step, n = frame.place(0), *(frame.size(i) for i in (1, 2, 3))
        kind = vector(number, frame.lanes)
        vector_bytes = frame.lanes * BYTES[number]
        words = code.at(frame.context, frame.size(4), I64)
        data_row, data_column = (code.load(code.at(words, i, I64), I64) for i in (1, 2))
        origin = code.at(code.load(words, POINTER), frame.size(5) * data_column)
        order = code.at(frame.pointer("order"), frame.whole("epoch") * frame.whole("order_step"))
        order = code.at(order, frame.whole("start") + frame.whole("first"), I64)
        zero = code.constant(kind, 0.0)
        # Columns that lie side by side are read in whole panels, and then in pieces of half as many, down to one.
        dense = code.compare("==", data_column, size)
        panels = code.select(dense, n / frame.width, 0)
        left = code.select(dense, n - panels * frame.width, 0)
        scattered_panels = code.select(dense, 0, frame.panels(n))
        pieces = [frame.width >> power for power in range(1, frame.width.bit_length())]
        lines = code.select(dense, n * size / LINE, 0)
        last = frame.whole("n_visits") - frame.whole("start") - frame.whole("first") - 1

        def row(r: Value, place: Value, zeros: Value) -> tuple[Value, Value]:
            index = code.load(code.at(order, r, I64), I64)
            start = code.at(origin, index * data_row)
            ahead = code.at(origin, code.load(code.at(order, code.smaller(r + AHEAD, last), I64), I64) * data_row)
            code.loop(0, lines, 1, lambda i: code.prefetch(code.at(ahead, i * LINE)))

            def whole_panel(place: Value, start: Value, zeros: Value) -> Value:
                for v in range(VECTORS):
                    value = read(frame, code.at(start, v * frame.lanes * size), source, size, frame.lanes, number)
                    code.store(value, code.at(place, v * vector_bytes))
                    zeros = code.fma(0.0, value, zeros)
                return zeros

            def panel(p: Value, place: Value, start: Value, zeros: Value) -> list[Value]:
                return [
                    code.at(place, panel_step),
                    code.at(start, frame.width * size),
                    whole_panel(place, start, zeros),
                ]

            def piece(lanes: int, there: Value, start: Value, zeros: Value) -> list[Value]:
                value = read(frame, start, source, size, lanes, number)
                code.store(value, there)
                if lanes == 1:
                    wide = code.op(kind, f"insertelement {zero}, {value}, i64 0")
                else:
                    over = [*range(lanes), *[lanes] * (frame.lanes - lanes)]
                    wide = code.shuffle(value, code.constant(value.kind, 0.0), over)
                return [code.at(there, lanes * BYTES[number]), code.at(start, lanes * size), code.fma(0.0, wide, zeros)]

            there, start, zeros = code.loop(0, panels, 1, panel, place, start, zeros)
            for lanes in pieces:
                count = code.op(I64, f"and {left / lanes}, 1")
                there, start, zeros = code.loop(
                    0, count, 1, lambda _, *now, lanes=lanes: piece(lanes, *now), there, start, zeros
                )

            def one(j: Value, there: Value, start: Value, zeros: Value) -> list[Value]:
                value = read(frame, start, source, size, 1, number)
                code.store(value, code.at(there, j, number))
                first = code.op(kind, f"insertelement {zero}, {value}, i64 0")
                return [there, code.at(start, data_column), code.fma(0.0, first, zeros)]

            def scattered(p: Value, there: Value, start: Value, zeros: Value) -> list[Value]:
                count = code.smaller(n - p * frame.width, frame.width)
                _, start, zeros = code.loop(0, count, 1, one, there, start, zeros)
                return [code.at(there, panel_step), start, zeros]

            _, _, zeros = code.loop(0, scattered_panels, 1, scattered, there, start, zeros)
            return code.at(place, row_step), zeros

        _, zeros = code.loop(0, frame.whole("rows"), 1, row, place, zero)
        # The product of 0 with a number is 0 if that is finite, and NaN if not.
        sum_of_zeros = code.halves(zeros, lambda a, b: a + b)
        bad = code.compare("!=", sum_of_zeros, 0.0)
        code.when(bad, lambda: frame.put("finite", 0))

    return body


def gather_doubles(dtype: str) -> Callable[[Frame], None]:
    """Gather the rows in hand as doubles, whatever the type of the arrays; see ``gather``."""
    return gather(dtype, DOUBLE)


def gather_labels(dtype: str) -> Callable[[Frame], None]:
    """Gather the class numbers of the rows in hand, as i64. Argument: where to."""
    source = source_of(dtype)
    assert source is not None
    stored = f"i{8 * int(dtype[2:])}"

    def body(frame: Frame) -> None:
        code, place = frame.code, frame.place(0)
        order = code.at(frame.pointer("order"), frame.whole("epoch") * frame.whole("order_step"))
        order = code.at(order, frame.whole("start") + frame.whole("first"), I64)
        origin, step = frame.pointer("y"), frame.whole("y_row")

        def row(r: Value) -> None:
            pointer = code.at(origin, code.load(code.at(order, r, I64), I64) * step)
            value = code.op(stored, f"load {stored}, {pointer}, align 1")
            if source.swapped:
                value = code.call_intrinsic("bswap", value)
            code.store(code.convert("sext" if source.signed else "zext", value, I64), code.at(place, r, I64))

        code.loop(0, frame.whole("rows"), 1, row)

    return body


def clear(frame: Frame) -> None:
    """Write zeros. Arguments: where to, how many bytes, a multiple of a register's."""
    write_zeros(frame, frame.place(0), frame.size(1))


def write_zeros(frame: Frame, place: Value, size: Value) -> None:
    """Write so many bytes of zeros."""
    code, zero = frame.code, frame.code.constant(frame.row, 0.0)
    code.loop(0, size, frame.vector_bytes, lambda i: code.store(zero, code.at(place, i)))


KERNELS = [
    Kernel("clear", clear),
]
