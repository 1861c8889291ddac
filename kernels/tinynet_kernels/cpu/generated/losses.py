"""Losses: their value, summed in float64, and their gradient; their arguments are those of ``loss_arguments``."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.blocks import blocks_of, is_blocks
from tinynet_kernels.cpu.generated.cross_entropy import cross_entropy
from tinynet_kernels.cpu.generated.elementwise import each_column
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, with_element
from tinynet_kernels.cpu.generated.loss_arguments import LossArguments


def elementwise(kind: str) -> Callable[[Frame], None]:
    """Return what writes the kernel of an elementwise loss."""

    def body(frame: Frame) -> None:
        code, own = frame.code, LossArguments(frame)
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


def cross_entropy_probabilities_index(frame: Frame) -> None:
    """``-log p_c``; the gradient of all other classes is 0."""
    code, own = frame.code, LossArguments(frame)
    value_term, slope_term = formulas.LOSSES["cross_entropy_probabilities"].terms

    def row(r: Value, total: Value, p: Value, d: Value) -> list[Value]:
        own.clear(d)
        label = code.load(code.at(own.t, r, I64), I64)
        place = own.place(own.p_step, label)
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
        code, own, formula = frame.code, LossArguments(frame), blocks_of(kind)
        targets = own.n / formula.size

        def row(r: Value, total: Value, p: Value, d: Value, t: Value) -> list[Value]:
            own.clear(d)
            weight = code.load(code.at(own.weights, r, frame.real), frame.real)
            factor = weight * own.factor

            def each(j: Value, total: Value) -> list[Value]:
                places = [own.place(own.p_step, j + targets * i) for i in range(formula.size)]
                outputs = [code.load(code.at(p, place), frame.real) for place in places]
                target = code.load(code.at(t, own.place(own.t_step, j)), frame.real)
                write = Writer(code, formula.symbols(outputs, target))
                for place, slope in zip(places, formula.slopes, strict=True):
                    code.store(factor * write(slope), code.at(d, place))
                value = code.resize(write(formula.value), DOUBLE)
                return [code.fma(code.resize(weight, DOUBLE), value, total)]

            (total,) = code.loop(0, targets, 1, each, total)
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
