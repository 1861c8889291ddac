"""Losses: their value, summed in float64, and their gradient.

All of them have the same arguments: predictions, targets, where the gradient goes, weights of the samples; bytes
between the panels of predictions (and of the gradient), of targets; columns; the factor of one element, that of what
is reported, whether a batch's mean is meant, and the loss's parameter. Beyond the last column the gradient is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of, is_blocks
from tinynet_kernels.cpu.generated.elementary import exp_nonpositive, log
from tinynet_kernels.cpu.generated.elementwise import each_column
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, with_element
from tinynet_kernels.cpu.generated.target import VECTORS


class _Arguments:
    """What every loss is given."""

    def __init__(self, frame: Frame) -> None:
        self.frame, code = frame, frame.code
        self.p, self.t, self.d, self.weights = (frame.place(i) for i in range(4))
        self.p_step, self.t_step, self.n = (frame.size(i) for i in range(4, 7))
        mean = code.compare("!=", frame.size(9), 0)
        mass = frame.state("mass")
        rows = code.convert("sitofp", frame.whole("batch_rows"), DOUBLE)
        scale = frame.double(7)
        self.factor = code.resize(scale / code.select(mean, mass, 1.0), frame.real)
        """Of the gradient."""
        self.counted = frame.double(8) * scale * code.select(mean, rows / mass, 1.0)
        """Of the value, in what the epoch adds up."""
        self.parameter = frame.spread(10)

    def add(self, value: Value) -> None:
        """Add the sum over the rows to the loss of the epoch."""
        self.frame.put("total", self.frame.code.fma(self.counted, value, self.frame.state("total")))


def elementwise(kind: str) -> Callable[[Frame], None]:
    """Return what writes the kernel of an elementwise loss."""

    def body(frame: Frame) -> None:
        code, own = frame.code, _Arguments(frame)
        value_term, slope_term = formulas.LOSSES[kind].terms
        factor, wide = code.spread(own.factor), with_element(frame.row, DOUBLE)
        total = code.op("ptr", f"alloca {wide}, align 64")
        code.store(code.constant(wide, 0.0), total)

        def column(p: Value, offset: Value, mask: Value, rows: Callable[..., None]) -> None:
            places = [code.at(code.at(own.p, p * own.p_step), offset), code.at(code.at(own.d, p * own.p_step), offset)]
            places.append(code.at(code.at(own.t, p * own.t_step), offset))

            def row(r: Value, total: Value, prediction: Value, d: Value, target: Value) -> list[Value]:
                weight = code.spread(code.load(code.at(own.weights, r, frame.real), frame.real))
                values = {
                    "p": code.load(prediction, frame.row),
                    "t": code.load(target, frame.row),
                    "parameter": own.parameter,
                }
                write = Writer(code, values)
                value = frame.kept(mask, write(value_term))
                slope = write(slope_term)
                code.store(frame.kept(mask, weight * factor * slope), d)
                total = code.fma(code.resize(weight, DOUBLE), code.resize(value, DOUBLE), total)
                return [total, *(code.at(pointer, frame.row_bytes) for pointer in (prediction, d, target))]

            after, *_ = code.loop(0, frame.whole("rows"), 1, row, code.load(total, wide), *places)
            code.store(after, total)

        each_column(frame, own.n, column)
        own.add(code.total(code.load(total, wide)))

    return body


def _softmax_rows(
    frame: Frame, z: Value, step: Value, n: Value, out: Value, also: Callable[[Value, int, Value], Value] | None
) -> tuple[Value, Value]:
    """Write ``exp(z - max z)`` of a row to ``out``; return its sum, and the sum of what ``also`` makes of the row.

    ``also(panel, vector, shifted)`` is a vector.
    """
    code = frame.code
    count = frame.panels(n)
    lowest = code.constant(frame.row, -math.inf)

    def vectors(p: Value, body: Callable[[int, Value, Value], None]) -> None:
        for v in range(VECTORS):
            mask = frame.mask(n - p * frame.width - v * frame.lanes)
            body(v, code.load(code.at(code.at(z, p * step), v * frame.vector_bytes), frame.row), mask)

    def larger(a: Value, b: Value) -> Value:
        return code.select(code.compare(">", a, b), a, b)

    def peak_of_panel(p: Value, *peaks: Value) -> list[Value]:
        found = list(peaks)

        def one(v: int, row: Value, mask: Value) -> None:
            inside = code.compare("!=", mask, 0)
            found[v] = larger(found[v], code.select(inside, row, lowest))

        vectors(p, one)
        return found

    peaks = code.loop(0, count, 1, peak_of_panel, *([lowest] * VECTORS))
    peak = code.spread(code.halves(larger(*peaks) if VECTORS == 2 else peaks[0], larger))
    zero = code.constant(frame.row, 0.0)

    def exponentials(p: Value, total: Value, other: Value) -> list[Value]:
        sums = [total, other]

        def one(v: int, row: Value, mask: Value) -> None:
            shifted = frame.kept(mask, row - peak)
            e = frame.kept(mask, exp_nonpositive(shifted))
            code.store(e, code.at(code.at(out, p * step), v * frame.vector_bytes))
            sums[0] = sums[0] + e
            if also:
                sums[1] = sums[1] + also(p, v, shifted)

        vectors(p, one)
        return sums

    total, other = code.loop(0, count, 1, exponentials, zero, zero)
    return code.total(total), code.total(other)


def softmax_forward(frame: Frame) -> None:
    """``y = softmax(z)`` by rows. Arguments: z, y, bytes between their panels, columns, and one that is not used."""
    code = frame.code
    z, y, step, n = frame.place(0), frame.place(1), frame.size(2), frame.size(3)

    def row(_: Value, z: Value, y: Value) -> list[Value]:
        total, _ = _softmax_rows(frame, z, step, n, y, None)
        divisor = code.spread(total)

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


def cross_entropy(*, index: bool) -> Callable[[Frame], None]:
    """``-sum_j t_j log softmax(z)_j``, with the gradient ``softmax(z) sum(t) - t``; t may be a class number."""

    def body(frame: Frame) -> None:
        code, own = frame.code, _Arguments(frame)
        bits = f"i{8 * frame.bytes}"
        lanes = code.counting(f"<{frame.lanes} x {bits}>")
        zero, one = code.constant(frame.row, 0.0), code.constant(frame.row, 1.0)

        def row(r: Value, total: Value, z: Value, d: Value, t: Value) -> list[Value]:
            label = code.load(code.at(own.t, r, I64), I64) if index else r

            def target(p: Value, v: int) -> Value:
                if not index:
                    return code.load(code.at(code.at(t, p * own.t_step), v * frame.vector_bytes), frame.row)
                place = label - p * frame.width - v * frame.lanes
                chosen = code.compare("==", lanes, code.spread(code.convert("trunc", place, bits)))
                return code.select(chosen, one, zero)

            def weighted(p: Value, v: int, shifted: Value) -> Value:
                return target(p, v) * shifted

            e_sum, dot = _softmax_rows(frame, z, own.p_step, own.n, d, weighted)
            if index:
                t_sum = code.constant(frame.real, 1.0)
            else:

                def add(p: Value, mass: Value) -> list[Value]:
                    for v in range(VECTORS):
                        mass = mass + target(p, v)
                    return [mass]

                t_sum = code.total(code.loop(0, frame.panels(own.n), 1, add, zero)[0])
            weight = code.load(code.at(own.weights, r, frame.real), frame.real)
            factor, share = code.spread(own.factor * weight), code.spread(t_sum / e_sum)

            def slopes(p: Value) -> None:
                for v in range(VECTORS):
                    place = code.at(code.at(d, p * own.p_step), v * frame.vector_bytes)
                    code.store(factor * (code.load(place, frame.row) * share - target(p, v)), place)

            code.loop(0, frame.panels(own.n), 1, slopes)
            value = log(e_sum) * t_sum - dot
            total = code.fma(code.resize(weight, DOUBLE), code.resize(value, DOUBLE), total)
            return [total, *(code.at(pointer, frame.row_bytes) for pointer in (z, d, t))]

        total, *_ = code.loop(0, frame.whole("rows"), 1, row, code.constant(DOUBLE, 0.0), own.p, own.d, own.t)
        own.add(total)

    return body


def cross_entropy_probabilities_index(frame: Frame) -> None:
    """``-log p_c``; the gradient of all other classes is 0."""
    code, own = frame.code, _Arguments(frame)
    value_term, slope_term = formulas.LOSSES["cross_entropy_probabilities"].terms

    def row(r: Value, total: Value, p: Value, d: Value) -> list[Value]:
        def clear(panel: Value) -> None:
            for v in range(VECTORS):
                place = code.at(code.at(d, panel * own.p_step), v * frame.vector_bytes)
                code.store(code.constant(frame.row, 0.0), place)

        code.loop(0, frame.panels(own.n), 1, clear)
        label = code.load(code.at(own.t, r, I64), I64)
        panel = label / frame.width
        place = panel * own.p_step + (label - panel * frame.width) * frame.bytes
        one = code.constant(frame.real, 1.0)
        write = Writer(code, {"p": code.load(code.at(p, place), frame.real), "t": one, "parameter": one})
        weight = code.load(code.at(own.weights, r, frame.real), frame.real)
        code.store(weight * own.factor * write(slope_term), code.at(d, place))
        value = code.resize(write(value_term), DOUBLE)
        total = code.fma(code.resize(weight, DOUBLE), value, total)
        return [total, code.at(p, frame.row_bytes), code.at(d, frame.row_bytes)]

    total, *_ = code.loop(0, frame.whole("rows"), 1, row, code.constant(DOUBLE, 0.0), own.p, own.d)
    own.add(total)


def blocks(kind: str) -> Callable[[Frame], None]:
    """Return what writes the kernel of a loss of several outputs for each target, one target after the other."""

    def body(frame: Frame) -> None:
        code, own, formula = frame.code, _Arguments(frame), blocks_of(kind)
        targets = own.n / formula.size

        def place(pointer: Value, step: Value, column: Value) -> Value:
            panel = column / frame.width
            return code.at(pointer, panel * step + (column - panel * frame.width) * frame.bytes)

        def row(r: Value, total: Value, p: Value, d: Value, t: Value) -> list[Value]:
            def clear(panel: Value) -> None:
                for v in range(VECTORS):
                    there = code.at(code.at(d, panel * own.p_step), v * frame.vector_bytes)
                    code.store(code.constant(frame.row, 0.0), there)

            code.loop(0, frame.panels(own.n), 1, clear)
            weight = code.load(code.at(own.weights, r, frame.real), frame.real)
            factor = weight * own.factor

            def target(j: Value, total: Value) -> list[Value]:
                columns = [j + targets * i for i in range(formula.size)]
                outputs = [code.load(place(p, own.p_step, column), frame.real) for column in columns]
                write = Writer(code, formula.symbols(outputs, code.load(place(t, own.t_step, j), frame.real)))
                for column, slope in zip(columns, formula.slopes, strict=True):
                    code.store(factor * write(slope), place(d, own.p_step, column))
                value = code.resize(write(formula.value), DOUBLE)
                return [code.fma(code.resize(weight, DOUBLE), value, total)]

            (total,) = code.loop(0, targets, 1, target, total)
            return [total, *(code.at(pointer, frame.row_bytes) for pointer in (p, d, t))]

        total, *_ = code.loop(0, frame.whole("rows"), 1, row, code.constant(DOUBLE, 0.0), own.p, own.d, own.t)
        own.add(total)

    return body


_ROWWISE: dict[str, Callable[[Frame], None]] = {
    "cross_entropy": cross_entropy(index=False),
    "cross_entropy_index": cross_entropy(index=True),
    "cross_entropy_probabilities_index": cross_entropy_probabilities_index,
}


def loss(kind: str) -> list[Kernel]:
    """Return the kernel of a loss."""
    body = blocks(kind) if is_blocks(kind) else _ROWWISE.get(kind) or elementwise(kind)
    return [Kernel(f"loss_{kind}", body)]


SOFTMAX = [Kernel("softmax_forward", softmax_forward), Kernel("softmax_backward", softmax_backward)]
