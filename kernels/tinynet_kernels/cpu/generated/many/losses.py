"""Losses of many models: values, summed for each in float64, and gradients by the predictions.

All of them have the same arguments: predictions, targets and gradients, each with the bytes of a row; the weights of
the samples; columns; the factor of one element; that of what is reported; the setting that is the loss's parameter;
whether a batch's mean is meant; whether the gradient is to be a step of gradient descent; the sum of each model's
losses; what its mean over the batch divides by.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of, is_blocks
from tinynet_kernels.cpu.generated.elementary import exp_nonpositive, log
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE
from tinynet_kernels.cpu.generated.many.elementwise import folded, peak_of
from tinynet_kernels.cpu.generated.many.lanes import doubles, rate, setting


class _Arguments:
    """What every loss is given."""

    def __init__(self, frame: Frame) -> None:
        self.frame, code = frame, frame.code
        self.arrays = [(frame.place(2 * i), frame.size(2 * i + 1)) for i in range(3)]
        self.weights, self.n, self.totals = frame.place(6), frame.size(7), frame.place(13)
        self.parameter = code.resize(setting(frame, frame.size(10)), frame.real)
        mean, step = (code.compare("!=", frame.size(i), 0) for i in (11, 12))
        scale, wide = code.spread(frame.double(8)), doubles(frame)
        one = code.constant(wide, 1.0)
        mass = code.select(mean, code.load(frame.place(14), wide), one)
        rows = code.spread(code.convert("sitofp", frame.whole("batch_rows"), DOUBLE))
        self.factor = code.resize(scale / mass * code.select(step, -rate(frame), one), frame.real)
        """Of the gradient."""
        self.counted = code.spread(frame.double(9)) * scale * code.select(mean, rows / mass, one)
        """Of the value, in what the epoch adds up."""

    def each_row(self, body: Callable[..., Value]) -> None:
        """Run ``body(p, t, d, factor)`` for each row in hand, which returns its value; add the values up."""
        frame, code = self.frame, self.frame.code

        def row(_: Value, total: Value, weights: Value, *places: Value) -> list[Value]:
            weight = code.load(weights, frame.row)
            value = body(*places, self.factor * weight)
            total = code.fma(code.resize(weight, DOUBLE), code.resize(value, DOUBLE), total)
            following = [code.at(place, step) for place, (_, step) in zip(places, self.arrays, strict=True)]
            return [total, code.at(weights, frame.vector_bytes), *following]

        zero, starts = code.constant(doubles(frame), 0.0), [place for place, _ in self.arrays]
        total, *_ = code.loop(0, frame.whole("rows"), 1, row, zero, self.weights, *starts)
        code.store(code.fma(self.counted, total, code.load(self.totals, total.kind)), self.totals)


Row = Callable[..., Value]
"""Writes the loss of a row: from a frame, the number of columns, the loss's parameter, the places of predictions,
targets and gradients, and the factor of the gradient to the value."""


def _symbols() -> list[formulas.E]:
    return [formulas.symbol(name) for name in ("p", "t", "parameter")]


def elementwise(kind: str) -> Row:
    """Return what writes an elementwise loss."""
    formula = formulas.LOSSES[kind]

    def row(frame: Frame, n: Value, parameter: Value, p: Value, t: Value, d: Value, factor: Value) -> Value:
        code = frame.code

        def number(total: Value, p: Value, t: Value, d: Value) -> Value:
            write = Writer(code, {"p": code.load(p, frame.row), "t": code.load(t, frame.row), "parameter": parameter})
            value = write(formula.value(*_symbols()))
            code.store(factor * write(formula.derivative(*_symbols())), d)
            return total + value

        return folded(frame, n, code.constant(frame.row, 0.0), number, p, t, d)

    return row


def _numbered(frame: Frame, n: Value, start: Value, body: Callable[..., Value], *places: Value) -> Value:
    """Like ``folded``, with the number of the column, in all lanes, as the second argument of ``body``."""
    code, zero = frame.code, frame.code.constant(frame.row, 0.0)

    def column(_: Value, value: Value, number: Value, *places: Value) -> list[Value]:
        following = body(value, number, *places)
        return [following, number + 1.0, *(code.at(place, frame.vector_bytes) for place in places)]

    return code.loop(0, n, 1, column, start, zero, *places)[0]


def cross_entropy(*, index: bool) -> Row:
    """``-sum_j t_j log softmax(z)_j``, with the gradient ``softmax(z) sum(t) - t``; t may be a class number."""

    def row(frame: Frame, n: Value, parameter: Value, p: Value, t: Value, d: Value, factor: Value) -> Value:
        code = frame.code
        zero, one = code.constant(frame.row, 0.0), code.constant(frame.row, 1.0)
        peak, label = peak_of(frame, n, p), code.load(t, frame.row)

        def exponential(total: Value, p: Value, d: Value) -> Value:
            value = exp_nonpositive(code.load(p, frame.row) - peak)
            code.store(value, d)
            return total + value

        total = folded(frame, n, zero, exponential, p, d)
        mass = one if index else folded(frame, n, zero, lambda sum_, t: sum_ + code.load(t, frame.row), t)
        share = mass / total

        def slope(value: Value, number: Value, p: Value, d: Value, t: Value) -> Value:
            target = code.select(code.compare("==", number, label), one, zero) if index else code.load(t, frame.row)
            code.store(factor * (code.load(d, frame.row) * share - target), d)
            return value - target * (code.load(p, frame.row) - peak)

        return _numbered(frame, n, log(total) * mass, slope, p, d, p if index else t)

    return row


def _probabilities_index(
    frame: Frame, n: Value, parameter: Value, p: Value, t: Value, d: Value, factor: Value
) -> Value:
    """``-log p_c``; the gradient of all other classes is 0."""
    code, formula = frame.code, formulas.LOSSES["cross_entropy_probabilities"]
    zero, one = code.constant(frame.row, 0.0), code.constant(frame.row, 1.0)
    label = code.load(t, frame.row)

    def number(total: Value, number: Value, p: Value, d: Value) -> Value:
        chosen = code.compare("==", number, label)
        write = Writer(code, {"p": code.load(p, frame.row), "t": one, "parameter": one})
        value = write(formula.value(*_symbols()))
        code.store(code.select(chosen, factor * write(formula.derivative(*_symbols())), zero), d)
        return code.select(chosen, value, total)

    return _numbered(frame, n, code.constant(frame.row, math.nan), number, p, d)


def blocks(kind: str) -> Row:
    """Return what writes a loss of several outputs for each target."""
    formula = blocks_of(kind)

    def row(frame: Frame, n: Value, parameter: Value, p: Value, t: Value, d: Value, factor: Value) -> Value:
        code, targets = frame.code, n / formula.size
        step = targets * frame.vector_bytes

        def target(total: Value, p: Value, t: Value, d: Value) -> Value:
            offsets = [step * i for i in range(formula.size)]
            outputs = [code.load(code.at(p, offset), frame.row) for offset in offsets]
            write = Writer(code, formula.symbols(outputs, code.load(t, frame.row)))
            for offset, slope in zip(offsets, formula.slopes, strict=True):
                code.store(factor * write(slope), code.at(d, offset))
            return total + write(formula.value)

        return folded(frame, targets, code.constant(frame.row, 0.0), target, p, t, d)

    return row


def row_of(kind: str) -> Row:
    """Return what writes the loss of a row."""
    if is_blocks(kind):
        return blocks(kind)
    rowwise: dict[str, Row] = {
        "cross_entropy": cross_entropy(index=False),
        "cross_entropy_index": cross_entropy(index=True),
        "cross_entropy_probabilities_index": _probabilities_index,
    }
    return rowwise.get(kind) or elementwise(kind)


def loss(kind: str) -> list[Kernel]:
    """Return the kernel of a loss."""

    def body(frame: Frame) -> None:
        given, row = _Arguments(frame), row_of(kind)
        given.each_row(lambda p, t, d, factor: row(frame, given.n, given.parameter, p, t, d, factor))

    return [Kernel("loss", body)]
