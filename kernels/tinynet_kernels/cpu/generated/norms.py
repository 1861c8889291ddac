"""Kernels of layers that standardise each row, and of ways around layers.

Sums are float64. The parameters of a norm lie in panels as those of a linear layer of one input do: first the bias,
then the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels.cpu.generated.elementary import sqrt
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import BYTES, DOUBLE, with_element


def _rows(frame: Frame, body: Callable[..., None], *pointers: Value) -> None:
    """Run ``body(row, *pointers)`` for each row, with the pointers moved on from row to row."""

    def row(i: Value, *now: Value) -> list[Value]:
        body(i, *now)
        return [frame.code.at(pointer, frame.row_bytes) for pointer in now]

    frame.code.loop(0, frame.whole("rows"), 1, row, *pointers)


def _sums(
    frame: Frame, n: Value, step: Value, count: int, terms: Callable[..., Sequence[Value]], *pointers: Value
) -> list[Value]:
    """Return sums over the columns of a row, as doubles; ``terms(p, offset, valid, *values)`` are of a vector."""
    code, wide = frame.code, with_element(frame.row, DOUBLE)

    def column(i: Value, *totals: Value) -> list[Value]:
        panel, offset, valid = _place(frame, i, n)
        values = [code.load(code.at(code.at(pointer, panel * step), offset), frame.row) for pointer in pointers]
        added = terms(panel, offset, valid, *(code.resize(value, DOUBLE) for value in values))
        return [total + term for total, term in zip(totals, added, strict=True)]

    zeros = [code.constant(wide, 0.0)] * count
    return [code.total(total) for total in code.loop(0, _vectors(frame, n), 1, column, *zeros)]


def _vectors(frame: Frame, n: Value) -> Value:
    return (n + (frame.lanes - 1)) / frame.lanes


def _place(frame: Frame, i: Value, n: Value) -> tuple[Value, Value, Value]:
    """Return the panel of a vector of columns, the bytes before it in a row of it, and its lanes in use."""
    per_panel = frame.width // frame.lanes
    panel = i / per_panel
    return panel, (i - panel * per_panel) * frame.vector_bytes, n - i * frame.lanes


def _masked(frame: Frame, valid: Value, value: Value) -> Value:
    """Return doubles with 0 beyond the last column."""
    kept = frame.kept(frame.mask(valid), frame.code.resize(value, frame.real))
    return frame.code.resize(kept, DOUBLE)


def layer_norm_forward(frame: Frame) -> None:
    """``xhat = (x - mean) / sqrt(var + eps)`` and ``y = weight * xhat + bias``, over the columns of each row.

    Arguments: x, xhat, y; parameters; 1 by the roots, a double for each row; bytes between the panels of the first
    three, and of the parameters; columns; eps; whether there are parameters.
    """
    code = frame.code
    x, h, y, own, inverse = (frame.place(i) for i in range(5))
    step, own_step, n = (frame.size(i) for i in (5, 6, 7))
    eps, affine = frame.double(8), code.compare("!=", frame.size(9), 0)
    columns = code.convert("sitofp", n, DOUBLE)

    def row(r: Value, x: Value, h: Value, y: Value) -> None:
        (total,) = _sums(frame, n, step, 1, lambda p, offset, valid, x: [x], x)
        mean = code.spread(total / columns)

        def squares(p: Value, offset: Value, valid: Value, x: Value) -> list[Value]:
            away = _masked(frame, valid, x - mean)
            return [away * away]

        (square,) = _sums(frame, n, step, 1, squares, x)
        unit = 1.0 / sqrt(square / columns + eps)
        code.store(unit, code.at(inverse, r, DOUBLE))
        spread = code.spread(unit)

        def column(i: Value) -> None:
            panel, offset, valid = _place(frame, i, n)
            places = [code.at(code.at(pointer, panel * step), offset) for pointer in (x, h, y)]
            wide = (code.resize(code.load(places[0], frame.row), DOUBLE) - mean) * spread
            xhat = frame.kept(frame.mask(valid), code.resize(wide, frame.real))
            code.store(xhat, places[1])
            parameters = code.at(code.at(own, panel * own_step), offset)

            def scaled() -> None:
                weight = code.load(code.at(parameters, frame.row_bytes), frame.row)
                code.store(code.fma(weight, xhat, code.load(parameters, frame.row)), places[2])

            code.when(affine, scaled, lambda: code.store(xhat, places[2]))

        code.loop(0, _vectors(frame, n), 1, column)

    _rows(frame, row, x, h, y)


def layer_norm_backward(frame: Frame) -> None:
    """``dx = inverse * (g - mean(g) - xhat * mean(g * xhat))`` with ``g = weight * dy``, in the place of ``dy``.

    Arguments: xhat, dy; parameters; 1 by the roots; bytes between the panels of the first two, and of the parameters;
    columns; whether there are parameters.
    """
    code = frame.code
    h, d, own, inverse = (frame.place(i) for i in range(4))
    step, own_step, n = (frame.size(i) for i in (4, 5, 6))
    affine, columns = code.compare("!=", frame.size(7), 0), code.convert("sitofp", n, DOUBLE)
    one = code.constant(with_element(frame.row, DOUBLE), 1.0)

    def weighted(panel: Value, offset: Value, d: Value) -> Value:
        # Without parameters what lies there is read, but not used.
        weight = code.load(code.at(code.at(code.at(own, panel * own_step), offset), frame.row_bytes), frame.row)
        return d * code.select(affine, code.resize(weight, DOUBLE), one)

    def row(r: Value, h: Value, d: Value) -> None:
        def products(p: Value, offset: Value, valid: Value, h: Value, d: Value) -> list[Value]:
            g = weighted(p, offset, d)
            return [g, g * h]

        mean, along = (code.spread(total / columns) for total in _sums(frame, n, step, 2, products, h, d))
        unit = code.spread(code.load(code.at(inverse, r, DOUBLE), DOUBLE))

        def column(i: Value) -> None:
            panel, offset, valid = _place(frame, i, n)
            places = [code.at(code.at(pointer, panel * step), offset) for pointer in (h, d)]
            xhat, slope = (code.resize(code.load(place, frame.row), DOUBLE) for place in places)
            found = unit * (weighted(panel, offset, slope) - mean - xhat * along)
            code.store(frame.kept(frame.mask(valid), code.resize(found, frame.real)), places[1])

        code.loop(0, _vectors(frame, n), 1, column)

    _rows(frame, row, h, d)


def layer_norm_gradient(frame: Frame) -> None:
    """Write the sums over the rows of ``dy`` and of ``dy * xhat``, or add them to those of the rows before.

    Arguments: xhat, dy; gradients; bytes between the panels of the first two, and of the gradients; columns.
    """
    code, wide = frame.code, with_element(frame.row, DOUBLE)
    h, d, out = frame.place(0), frame.place(1), code.at(frame.place(2), frame.whole("range_gradient"))
    step, out_step, n = (frame.size(i) for i in (3, 4, 5))
    later = code.compare("!=", frame.whole("first"), frame.whole("low"))

    def column(p: Value, offset: Value, valid: Value) -> None:
        def row(_: Value, h: Value, d: Value, bias: Value, weight: Value) -> list[Value]:
            xhat, slope = (code.resize(code.load(pointer, frame.row), DOUBLE) for pointer in (h, d))
            moved = [code.at(pointer, frame.row_bytes) for pointer in (h, d)]
            return [*moved, bias + slope, code.fma(xhat, slope, weight)]

        starts = (code.at(code.at(pointer, p * step), offset) for pointer in (h, d))
        sums = code.loop(0, frame.whole("rows"), 1, row, *starts, *[code.constant(wide, 0.0)] * 2)[2:]
        place = code.at(code.at(out, p * out_step), offset)
        for i, total in enumerate(sums):
            into = code.at(place, i * frame.row_bytes)
            new = code.resize(total, frame.real)
            old = code.select(later, code.load(into, frame.row), code.constant(frame.row, 0.0))
            code.store(old + new, into)

    frame.each_vector(n, column)


def _columns(frame: Frame, n: Value, step: Value, change: Callable[..., Value], *pointers: Value) -> None:
    """Write ``change(*values)`` to the last of the pointers, for all rows and columns."""
    code = frame.code

    def column(p: Value, offset: Value, valid: Value) -> None:
        def row(_: Value, *now: Value) -> None:
            code.store(change(*(code.load(pointer, frame.row) for pointer in now[:-1])), now[-1])

        _rows(frame, row, *(code.at(code.at(pointer, p * step), offset) for pointer in pointers))

    frame.each_vector(n, column)


def add(frame: Frame) -> None:
    """``y = a + b``, of which ``y`` may be one. Arguments: a, b, y; bytes between their panels; columns."""
    _columns(frame, frame.size(4), frame.size(3), lambda a, b: a + b, *(frame.place(i) for i in range(3)))


def copy(frame: Frame) -> None:
    """``y = a``. Arguments: a, y; bytes between their panels; columns."""
    _columns(frame, frame.size(3), frame.size(2), lambda a: a, frame.place(0), frame.place(1))


INVERSE_BYTES = BYTES[DOUBLE]
"""What each row keeps for its way back."""

LAYER_NORM = [
    Kernel("layer_norm_forward", layer_norm_forward),
    Kernel("layer_norm_backward", layer_norm_backward),
    Kernel("layer_norm_gradient", layer_norm_gradient),
]
SKIP = [Kernel("add", add), Kernel("copy", copy)]
