"""Softmax: exponentials of a row, divided by their sum, and its Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels.cpu.generated.elementary import exp_nonpositive
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.target import VECTORS


def larger(a: Value, b: Value) -> Value:
    """Return the larger number in each lane."""
    return a.code.select(a.code.compare(">", a, b), a, b)


def _softmax_row(frame: Frame, z: Value, step: Value, n: Value, out: Value) -> Value:
    """Write ``exp(z - max z)`` of a row to ``out``; return its sum."""
    code = frame.code
    lowest, zero = code.constant(frame.row, -math.inf), code.constant(frame.row, 0.0)

    def each(body: Callable[..., Value], first: Value) -> Value:
        """Carry a value through the registers of the row: ``body(offset, numbers, mask, value)``."""

        def register(i: Value, value: Value) -> list[Value]:
            panel = i / VECTORS
            offset = panel * step + (i - panel * VECTORS) * frame.vector_bytes
            return [body(offset, code.load(code.at(z, offset), frame.row), frame.mask(n - i * frame.lanes), value)]

        return code.loop(0, (n + (frame.lanes - 1)) / frame.lanes, 1, register, first)[0]

    def peak_of(_: Value, row: Value, mask: Value, peak: Value) -> Value:
        return larger(peak, code.select(code.compare("!=", mask, 0), row, lowest))

    peak = code.spread(code.halves(each(peak_of, lowest), larger))

    def add(offset: Value, row: Value, mask: Value, total: Value) -> Value:
        e = frame.kept(mask, exp_nonpositive(frame.kept(mask, row - peak)))
        code.store(e, code.at(out, offset))
        return total + e

    return code.total(each(add, zero))


def softmax_forward(frame: Frame) -> None:
    """``y = softmax(z)`` by rows. Arguments: z, y, bytes between their panels, columns, and one that is not used."""
    code = frame.code
    z, y, step, n = frame.place(0), frame.place(1), frame.size(2), frame.size(3)

    def row(_: Value, z: Value, y: Value) -> list[Value]:
        divisor = code.spread(_softmax_row(frame, z, step, n, y))

        def panel(p: Value) -> None:
            for v in range(VECTORS):
                place = code.at(code.at(y, p * step), v * frame.vector_bytes)
                code.store(code.load(place, frame.row) / divisor, place)

        code.loop(0, frame.panels(n), 1, panel)
        return [code.at(z, frame.row_bytes), code.at(y, frame.row_bytes)]

    code.loop(0, frame.whole("rows"), 1, row, z, y)


def softmax_backward(frame: Frame) -> None:
    """``dz = y (dy - <dy, y>)`` by rows: the Jacobian is ``diag(y) - y y^T``.

    Arguments: z, y, dy, dz, bytes between their panels, columns, and one that is not used.
    """
    code = frame.code
    y, dy, dz, step, n = (*(frame.place(i) for i in (1, 2, 3)), frame.size(4), frame.size(5))

    def row(_: Value, y: Value, dy: Value, dz: Value) -> list[Value]:
        def vector(pointer: Value, p: Value, v: int) -> Value:
            return code.at(code.at(pointer, p * step), v * frame.vector_bytes)

        def products(p: Value, total: Value) -> list[Value]:
            for v in range(VECTORS):
                total = code.fma(code.load(vector(y, p, v), frame.row), code.load(vector(dy, p, v), frame.row), total)
            return [total]

        (total,) = code.loop(0, frame.panels(n), 1, products, code.constant(frame.row, 0.0))
        dot = code.spread(code.total(total))

        def panel(p: Value) -> None:
            for v in range(VECTORS):
                difference = code.load(vector(dy, p, v), frame.row) - dot
                code.store(code.load(vector(y, p, v), frame.row) * difference, vector(dz, p, v))

        code.loop(0, frame.panels(n), 1, panel)
        return [code.at(pointer, frame.row_bytes) for pointer in (y, dy, dz)]

    code.loop(0, frame.whole("rows"), 1, row, y, dy, dz)


KERNELS = [Kernel("softmax_forward", softmax_forward), Kernel("softmax_backward", softmax_backward)]
