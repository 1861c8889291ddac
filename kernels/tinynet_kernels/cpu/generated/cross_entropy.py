"""Cross-entropy from logits: ``-sum_j t_j log softmax(z)_j``, with the gradient ``softmax(z) sum(t) - t``.

There are two ways to lay the numbers into lanes, and one formula. A row by itself has its classes in the lanes. Few
classes would leave most lanes empty: as many rows as there are lanes are then turned, and each has a lane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels.cpu.generated.elementary import exp_nonpositive, log
from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Code, Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER, with_element
from tinynet_kernels.cpu.generated.loss_arguments import LossArguments
from tinynet_kernels.cpu.generated.products import transposed
from tinynet_kernels.cpu.generated.softmax import larger, register, registers

TURNED = {"cross_entropy": 2, "cross_entropy_index": 1}
"""How many arrays such a loss turns: predictions, and targets unless they are class numbers."""


class _Row:
    """A row: each register has some of its classes.

    Attributes
    ----------
    count : Value
        Registers.
    weight : Value
    counted : Value
        The lanes whose value of the loss counts.
    """

    def __init__(self, frame: Frame, own: LossArguments, row: Value, *, index: bool) -> None:
        code = frame.code
        self.frame, self.own, self.index = frame, own, index
        self.count = registers(frame, own.n)
        offset = row * frame.row_bytes
        self._z, self._d, self._t = (code.at(place, offset) for place in (own.p, own.d, own.t))
        if index:
            self._label = code.load(code.at(own.t, row, I64), I64)
        self.weight = code.spread(code.load(code.at(own.weights, row, frame.real), frame.real))
        self.counted = frame.mask(code.constant(I64, 1))

    def prediction(self, i: Value) -> Value:
        """Return where predictions are."""
        return register(self.frame, self._z, self.own.p_step, i)

    def gradient(self, i: Value) -> Value:
        """Return where their exponentials go, and then the gradient."""
        return register(self.frame, self._d, self.own.p_step, i)

    def target(self, i: Value) -> Value:
        """Return targets; of a class number, the mask of its class."""
        code, frame = self.frame.code, self.frame
        if not self.index:
            return code.load(register(frame, self._t, self.own.t_step, i), frame.row)
        bits = f"i{8 * frame.bytes}"
        place = code.spread(code.convert("trunc", self._label - i * frame.lanes, bits))
        return code.compare("==", code.counting(place.kind), place)

    def classes(self, i: Value) -> Value | None:
        """Return the mask of what are classes; None if all are."""
        return self.frame.mask(self.own.n - i * self.frame.lanes)

    def over(self, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """Combine what has been found for the registers to what holds for a row, in the lanes of its classes."""
        return self.frame.code.spread(self.frame.code.halves(value, combine))

    def end(self) -> None:
        """Bring the gradient to where it belongs."""


class _Block:
    """As many rows as there are lanes: each register has a class of all of them; see ``_Row``.

    The last rows are as many, too: some then come twice, with the same gradient, and are counted once.
    """

    def __init__(self, frame: Frame, own: LossArguments, first: Value, *, index: bool) -> None:
        code, rows = frame.code, frame.whole("rows")
        self.frame, self.own, self.index, self.count = frame, own, index, own.n
        start = code.smaller(first, code.select(code.compare(">", rows, frame.lanes), rows - frame.lanes, 0))
        offset = start * frame.row_bytes
        self._columns, self._targets = frame.place(11), None if index else frame.place(12)
        self._d = code.at(own.d, offset)
        self._turn(code.at(own.p, offset), own.p_step, self._columns)
        if self._targets:
            self._turn(code.at(own.t, offset), own.t_step, self._targets)
        else:
            labels = code.load(code.at(own.t, start, I64), f"<{frame.lanes} x {I64}>")
            self._labels = code.convert("trunc", labels, f"<{frame.lanes} x i{8 * frame.bytes}>")
        self.weight = code.load(code.at(own.weights, start, frame.real), frame.row)
        before, until = frame.mask(first - start), frame.mask(rows - start)
        self.counted = code.op(until.kind, f"xor {before}, {until.name}")

    def _turn(self, panels: Value, step: Value, columns: Value, *, back: bool = False) -> None:
        frame, code = self.frame, self.frame.code
        square = _square(frame)
        row, column = (code.constant(I64, size) for size in (frame.row_bytes, frame.vector_bytes))

        def turn(i: Value) -> None:
            rows, there = register(frame, panels, step, i), code.at(columns, i * (frame.lanes * frame.vector_bytes))
            ends = (there, column, rows, row) if back else (rows, row, there, column)
            code.call(square, *ends)

        code.loop(0, registers(frame, self.own.n), 1, turn)

    def prediction(self, i: Value) -> Value:
        return self.frame.code.at(self._columns, i * self.frame.vector_bytes)

    gradient = prediction

    def target(self, i: Value) -> Value:
        code, frame = self.frame.code, self.frame
        if self._targets:
            return code.load(code.at(self._targets, i * frame.vector_bytes), frame.row)
        return code.compare("==", self._labels, code.spread(code.convert("trunc", i, f"i{8 * frame.bytes}")))

    def classes(self, i: Value) -> Value | None:
        return None

    def over(self, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
        return value

    def end(self) -> None:
        self._turn(self._d, self.own.p_step, self._columns, back=True)


def _square(frame: Frame) -> str:
    """Write the function that turns as many registers as one has lanes, and return its name.

    Its arguments: where from, and bytes from a register to the next; where to, and the same there.
    """

    def body(code: Code, here: Value, by: Value, there: Value, onward: Value) -> None:
        inner = Frame(code, here, there)
        rows = [code.load(code.at(here, by * i), inner.row) for i in range(inner.lanes)]
        for i, column in enumerate(transposed(inner, rows)):
            code.store(column, code.at(there, onward * i))

    frame.module.function("turn_square", [POINTER, I64, POINTER, I64], body, exported=False)
    return "turn_square"


def _add(frame: Frame, own: LossArguments, way: _Row | _Block, total: Value) -> Value:
    """Write the gradient; return the total with the values of the loss added."""
    code, index = frame.code, way.index
    zero, one = code.constant(frame.row, 0.0), code.constant(frame.row, 1.0)

    def kept(i: Value, value: Value) -> Value:
        mask = way.classes(i)
        return value if mask is None else frame.kept(mask, value)

    def peak_of(i: Value, peak: Value) -> list[Value]:
        z, mask = code.load(way.prediction(i), frame.row), way.classes(i)
        return [larger(peak, z if mask is None else code.select(code.compare("!=", mask, 0), z, -math.inf))]

    (peak,) = code.loop(0, way.count, 1, peak_of, code.constant(frame.row, -math.inf))
    peak = way.over(peak, larger)

    def exponentials(i: Value, e_sum: Value, t_sum: Value, dot: Value) -> list[Value]:
        shifted, target = kept(i, code.load(way.prediction(i), frame.row) - peak), way.target(i)
        e = kept(i, exp_nonpositive(shifted))
        code.store(e, way.gradient(i))
        if index:
            return [e_sum + e, t_sum, code.select(target, shifted, dot)]
        return [e_sum + e, t_sum + target, code.fma(target, shifted, dot)]

    sums = code.loop(0, way.count, 1, exponentials, zero, zero, zero)
    e_sum, t_sum, dot = (way.over(value, lambda a, b: a + b) for value in sums)
    t_sum = one if index else t_sum
    factor, share = code.spread(own.factor) * way.weight, t_sum / e_sum

    def slopes(i: Value) -> None:
        target, place = way.target(i), way.gradient(i)
        target = code.select(target, one, zero) if index else target
        code.store(factor * (code.load(place, frame.row) * share - target), place)

    code.loop(0, way.count, 1, slopes)
    way.end()
    value, weight = (frame.kept(way.counted, number) for number in (log(e_sum) * t_sum - dot, way.weight))
    return code.fma(code.resize(weight, DOUBLE), code.resize(value, DOUBLE), total)


def cross_entropy(*, index: bool) -> Callable[[Frame], None]:
    """Return what writes the kernel, for targets or for class numbers; room for what is turned comes last."""

    def body(frame: Frame) -> None:
        code, own = frame.code, LossArguments(frame)
        rows = frame.whole("rows")

        def run(way: type[_Row] | type[_Block], step: int) -> None:
            def add(first: Value, total: Value) -> list[Value]:
                return [_add(frame, own, way(frame, own, first, index=index), total)]

            (total,) = code.loop(0, rows, step, add, code.constant(with_element(frame.row, DOUBLE), 0.0))
            own.add(code.total(total))

        # From about so many rows on a block takes less time than they do one by one (measured).
        many = code.compare(">", rows * (own.n + 2 * frame.lanes), (own.n + 1) * frame.lanes)
        code.when(many, lambda: run(_Block, frame.lanes), lambda: run(_Row, 1))

    return body
