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


def _own(frame: Frame, place: Value, affine: Value, wide: str) -> tuple[Value, Value]:
    """Return the weight and the bias of a vector of columns, as doubles; 1 and 0 where there are none."""
    code = frame.code
    bias, weight = (code.resize(code.load(code.at(place, i * frame.row_bytes), frame.row), DOUBLE) for i in (0, 1))
    return code.select(affine, weight, code.constant(wide, 1.0)), code.select(affine, bias, code.constant(wide, 0.0))


def batch_norm_forward(frame: Frame) -> None:
    """``xhat = (x - mean) / sqrt(var + eps)`` and ``y = weight * xhat + bias``, over the rows: all of a batch.

    Arguments: x, xhat, y; parameters; running statistics, first the variances; 1 by the roots, a number for each
    column; bytes between the panels of the first three, of the parameters, and of the statistics; columns; eps; the
    momentum; whether there are parameters.
    """
    code, wide = frame.code, with_element(frame.row, DOUBLE)
    x, h, y, own, running, inverse = (frame.place(i) for i in range(6))
    step, own_step, running_step, n = (frame.size(i) for i in (6, 7, 8, 9))
    eps, momentum = code.spread(frame.double(10)), code.spread(frame.double(11))
    affine = code.compare("!=", frame.size(12), 0)
    rows = code.convert("sitofp", frame.whole("rows"), DOUBLE)

    def column(p: Value, offset: Value, valid: Value) -> None:
        starts = [code.at(code.at(pointer, p * step), offset) for pointer in (x, h, y)]

        def summed(_: Value, x: Value, total: Value) -> list[Value]:
            return [code.at(x, frame.row_bytes), total + code.resize(code.load(x, frame.row), DOUBLE)]

        zero = code.constant(wide, 0.0)
        mean = code.loop(0, frame.whole("rows"), 1, summed, starts[0], zero)[1] / code.spread(rows)

        def squared(_: Value, x: Value, total: Value) -> list[Value]:
            away = code.resize(code.load(x, frame.row), DOUBLE) - mean
            return [code.at(x, frame.row_bytes), code.fma(away, away, total)]

        square = code.loop(0, frame.whole("rows"), 1, squared, starts[0], zero)[1]
        unit = 1.0 / sqrt(square / code.spread(rows) + eps)
        code.store(code.resize(unit, frame.real), code.at(code.at(inverse, p * frame.row_bytes), offset))
        held = code.at(code.at(running, p * running_step), offset)
        for i, new in enumerate((square / code.spread(rows - 1.0), mean)):
            place = code.at(held, i * frame.row_bytes)
            old = code.resize(code.load(place, frame.row), DOUBLE)
            code.store(code.resize(old + momentum * (new - old), frame.real), place)
        weight, bias = _own(frame, code.at(code.at(own, p * own_step), offset), affine, wide)

        def row(_: Value, x: Value, h: Value, y: Value) -> None:
            xhat = (code.resize(code.load(x, frame.row), DOUBLE) - mean) * unit
            code.store(code.resize(xhat, frame.real), h)
            code.store(code.resize(code.fma(weight, xhat, bias), frame.real), y)

        _rows(frame, row, *starts)

    frame.each_vector(n, column)


def batch_norm_predict(frame: Frame) -> None:
    """``y = weight * (x - mean) / sqrt(var + eps) + bias`` by the running statistics.

    Arguments: x, y; parameters; running statistics, first the variances; bytes between the panels of the first two, of
    the parameters, and of the statistics; columns; eps; whether there are parameters.
    """
    code, wide = frame.code, with_element(frame.row, DOUBLE)
    x, y, own, running = (frame.place(i) for i in range(4))
    step, own_step, running_step, n = (frame.size(i) for i in (4, 5, 6, 7))
    eps, affine = code.spread(frame.double(8)), code.compare("!=", frame.size(9), 0)

    def column(p: Value, offset: Value, valid: Value) -> None:
        held = code.at(code.at(running, p * running_step), offset)
        variance, mean = (code.resize(code.load(code.at(held, i * frame.row_bytes), frame.row), DOUBLE) for i in (0, 1))
        weight, bias = _own(frame, code.at(code.at(own, p * own_step), offset), affine, wide)
        factor, mask = weight / sqrt(variance + eps), frame.mask(valid)

        def row(_: Value, x: Value, y: Value) -> None:
            found = code.fma(code.resize(code.load(x, frame.row), DOUBLE) - mean, factor, bias)
            code.store(frame.kept(mask, code.resize(found, frame.real)), y)

        _rows(frame, row, *(code.at(code.at(pointer, p * step), offset) for pointer in (x, y)))

    frame.each_vector(n, column)


def batch_norm_backward(frame: Frame) -> None:
    """``dx = inverse * weight * (dy - (sum(dy) + xhat * sum(dy * xhat)) / rows)`` in the place of ``dy``.

    The sums are the gradients of the bias and of the weight.

    Arguments: xhat, dy; parameters; gradients; 1 by the roots; bytes between the panels of the first two, and of the
    parameters; columns; whether there are parameters; whether they are trained; whether ``dx`` is asked for.
    """
    code, wide = frame.code, with_element(frame.row, DOUBLE)
    h, d, own, out, inverse = (frame.place(i) for i in range(5))
    step, own_step, n = (frame.size(i) for i in (5, 6, 7))
    affine, trained, passes = (code.compare("!=", frame.size(i), 0) for i in (8, 9, 10))
    rows = code.spread(code.convert("sitofp", frame.whole("rows"), DOUBLE))

    def column(p: Value, offset: Value, valid: Value) -> None:
        starts = [code.at(code.at(pointer, p * step), offset) for pointer in (h, d)]

        def summed(_: Value, h: Value, d: Value, sums: Value, products: Value) -> list[Value]:
            xhat, slope = (code.resize(code.load(pointer, frame.row), DOUBLE) for pointer in (h, d))
            moved = [code.at(pointer, frame.row_bytes) for pointer in (h, d)]
            return [*moved, sums + slope, code.fma(xhat, slope, products)]

        zeros = [code.constant(wide, 0.0)] * 2
        totals = code.loop(0, frame.whole("rows"), 1, summed, *starts, *zeros)[2:]

        def kept() -> None:
            place = code.at(code.at(out, p * own_step), offset)
            for i, total in enumerate(totals):
                code.store(code.resize(total, frame.real), code.at(place, i * frame.row_bytes))

        def led_back() -> None:
            weight, _ = _own(frame, code.at(code.at(own, p * own_step), offset), affine, wide)
            unit = code.load(code.at(code.at(inverse, p * frame.row_bytes), offset), frame.row)
            factor = weight * code.resize(unit, DOUBLE)
            mean, along = (total / rows for total in totals)

            def row(_: Value, h: Value, d: Value) -> None:
                xhat, slope = (code.resize(code.load(pointer, frame.row), DOUBLE) for pointer in (h, d))
                code.store(code.resize(factor * (slope - mean - xhat * along), frame.real), d)

            _rows(frame, row, *starts)

        code.when(trained, kept)
        code.when(passes, led_back)

    frame.each_vector(n, column)


BATCH_NORM = [
    Kernel("batch_norm_forward", batch_norm_forward),
    Kernel("batch_norm_predict", batch_norm_predict),
    Kernel("batch_norm_backward", batch_norm_backward),
]
