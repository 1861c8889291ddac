"""Softmax: exponentials of a row, divided by their sum, and its Jacobian."""

from __future__ import annotations

import math

from tinynet_kernels.cpu.generated.elementary import exp_nonpositive
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.target import VECTORS


def larger(a: Value, b: Value) -> Value:
    """Return the larger number in each lane."""
    return a.code.select(a.code.compare(">", a, b), a, b)


def registers(frame: Frame, n: Value) -> Value:
    """Return how many registers of a row are in use. The others stay zeros, even where the row is not finite."""
    return (n + (frame.lanes - 1)) / frame.lanes


def register(frame: Frame, panels: Value, step: Value, i: Value) -> Value:
    """Return where the i-th register of a row is."""
    panel = i / VECTORS
    return frame.code.at(panels, panel * step + (i - panel * VECTORS) * frame.vector_bytes)


def softmax_forward(frame: Frame) -> None:
    """``y = softmax(z)`` by rows. Arguments: z, y, bytes between their panels, columns, and one that is not used."""
    code = frame.code
    z, y, step, n = frame.place(0), frame.place(1), frame.size(2), frame.size(3)
    lowest, zero = code.constant(frame.row, -math.inf), code.constant(frame.row, 0.0)
    count = registers(frame, n)

    def row(_: Value, z: Value, y: Value) -> list[Value]:
        def given(i: Value) -> tuple[Value, Value]:
            return code.load(register(frame, z, step, i), frame.row), frame.mask(n - i * frame.lanes)

        def peak_of(i: Value, peak: Value) -> list[Value]:
            value, mask = given(i)
            return [larger(peak, code.select(code.compare("!=", mask, 0), value, lowest))]

        peak = code.spread(code.halves(code.loop(0, count, 1, peak_of, lowest)[0], larger))

        def add(i: Value, total: Value) -> list[Value]:
            value, mask = given(i)
            e = frame.kept(mask, exp_nonpositive(frame.kept(mask, value - peak)))
            code.store(e, register(frame, y, step, i))
            return [total + e]

        divisor = code.spread(code.total(code.loop(0, count, 1, add, zero)[0]))

        def divide(i: Value) -> None:
            place = register(frame, y, step, i)
            code.store(code.load(place, frame.row) / divisor, place)

        code.loop(0, count, 1, divide)
        return [code.at(z, frame.row_bytes), code.at(y, frame.row_bytes)]

    code.loop(0, frame.whole("rows"), 1, row, z, y)


def softmax_backward(frame: Frame) -> None:
    """``dz = y (dy - <dy, y>)`` by rows: the Jacobian is ``diag(y) - y y^T``.

    Arguments: z, y, dy, dz, bytes between their panels, columns, and one that is not used.
    """
    code = frame.code
    y, dy, dz, step, n = (*(frame.place(i) for i in (1, 2, 3)), frame.size(4), frame.size(5))
    count = registers(frame, n)

    def row(_: Value, y: Value, dy: Value, dz: Value) -> list[Value]:
        def given(pointer: Value, i: Value) -> Value:
            return code.load(register(frame, pointer, step, i), frame.row)

        def add(i: Value, total: Value) -> list[Value]:
            return [code.fma(given(y, i), given(dy, i), total)]

        dot = code.spread(code.total(code.loop(0, count, 1, add, code.constant(frame.row, 0.0))[0]))

        def slope(i: Value) -> None:
            code.store(given(y, i) * (given(dy, i) - dot), register(frame, dz, step, i))

        code.loop(0, count, 1, slope)
        return [code.at(pointer, frame.row_bytes) for pointer in (y, dy, dz)]

    code.loop(0, frame.whole("rows"), 1, row, y, dy, dz)


KERNELS = [Kernel("softmax_forward", softmax_forward), Kernel("softmax_backward", softmax_backward)]
