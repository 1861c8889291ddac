"""What becomes of the gradients of many models: penalties, clipping, and the steps of the optimizers.

Formulas and settings are those for one model, whose numbers are registers here: each model has settings of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels.cpu.generated.elementary import absolute, sqrt
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE
from tinynet_kernels.cpu.generated.many.elementwise import folded
from tinynet_kernels.cpu.generated.many.lanes import doubles, own, rate, setting, wholes
from tinynet_kernels.cpu.generated.updates import numbers_of, updated
from tinynet_kernels.updates import SETTINGS, n_moments


def step(kind: str, on: tuple[str, ...]) -> Callable[[Frame], None]:
    """Return what writes a step. Arguments: parameters, gradients, moments, numbers in each; the first setting."""

    def body(frame: Frame) -> None:
        code = frame.code
        p, g, moments, n = *(frame.place(i) for i in range(3)), frame.size(3)
        count = own(frame, "counts", wholes(frame)) + code.spread(frame.whole("step"))
        write_step(frame, kind, on, rate(frame), count, frame.size(4), n, p, g, moments)

    return body


def write_step(
    frame: Frame,
    kind: str,
    on: tuple[str, ...],
    rate: Value,
    count: Value,
    first: Value,
    n: Value,
    p: Value,
    g: Value,
    moments: Value,
) -> None:
    """Write a step of ``n`` parameters: with the rate, the number of the update, and that of the first setting."""
    code = frame.code
    settings = [setting(frame, first + i) for i in range(len(SETTINGS[kind]))]
    numbers = numbers_of(code, kind, on, settings, rate, count)
    short = {name: code.resize(value, frame.real) for name, value in numbers.items()}
    size = n * frame.vector_bytes

    def number(_: Value, p: Value, g: Value, *moments: Value) -> list[Value]:
        own, slope, *held = (code.load(pointer, frame.row) for pointer in (p, g, *moments))
        for place, value in zip((p, *moments), updated(code, kind, on, short, own, slope, held), strict=True):
            code.store(value, place)
        return [code.at(pointer, frame.vector_bytes) for pointer in (p, g, *moments)]

    rows = [code.at(moments, size * i) for i in range(n_moments(kind, on))]
    code.loop(0, n, 1, number, p, g, *rows)


def clip_value(frame: Frame) -> None:
    """Clip to ``[-limit, limit]``; NaN stays. Arguments: gradients, how many, the setting that is the limit."""
    write_clip_value(frame, frame.place(0), frame.size(1), frame.size(2))


def write_clip_value(frame: Frame, g: Value, n: Value, limit: Value | int) -> None:
    """Write the clipping of ``n`` gradients to the limits of a setting."""
    code, high = frame.code, frame.code.resize(setting(frame, limit), frame.real)
    low = -high

    def number(_: Value, g: Value) -> list[Value]:
        value = code.load(g, frame.row)
        value = code.select(code.compare(">", value, high), high, value)
        code.store(code.select(code.compare("<", value, low), low, value), g)
        return [code.at(g, frame.vector_bytes)]

    code.loop(0, n, 1, number, g)


def clip_norm(frame: Frame) -> None:
    """Scale so that the 2-norm is at most a limit. Arguments: gradients, how many, the limit's setting; a place."""
    write_clip_norm(frame, frame.place(0), frame.size(1), frame.size(2), frame.place(3))


def write_clip_norm(frame: Frame, g: Value, n: Value, number: Value | int, slot: Value) -> None:
    """Write the scaling of ``n`` gradients; the norms are kept in a slot.

    They are in float64; there is a second pass, scaled by the largest element, for the models whose squares overflow or
    vanish.
    """
    code, limit, wide = frame.code, setting(frame, number), doubles(frame)
    zero, one = code.constant(wide, 0.0), code.constant(wide, 1.0)

    def squares(unit: Value) -> Value:
        def add(total: Value, g: Value) -> Value:
            value = code.resize(code.load(g, frame.row), DOUBLE) / unit
            return code.fma(value, value, total)

        return folded(frame, n, zero, add, g)

    def plain(total: Value, g: Value) -> Value:
        value = code.resize(code.load(g, frame.row), DOUBLE)
        return code.fma(value, value, total)

    total = folded(frame, n, zero, plain, g)
    code.store(sqrt(total), slot)
    # Neither what is usual nor NaN, which makes everything NaN.
    bits = f"<{frame.lanes} x i1>"
    unusual = code.op(bits, f"or {code.compare('<=', total, 1e-280)}, {code.compare('==', total, math.inf).name}")

    def scaled() -> None:
        def larger(peak: Value, g: Value) -> Value:
            value = absolute(code.load(g, frame.row))
            return code.select(code.compare("<=", value, peak), peak, value)

        peak = code.resize(folded(frame, n, code.constant(frame.row, 0.0), larger, g), DOUBLE)
        usable = code.op(bits, f"and {code.compare('>', peak, 0.0)}, {code.compare('<', peak, math.inf).name}")
        norm = peak * sqrt(squares(code.select(usable, peak, one)))
        norm = code.select(usable, norm, peak)
        code.store(code.select(unusual, norm, code.load(slot, wide)), slot)

    whole = f"i{frame.lanes}"
    some = code.compare("!=", code.convert("bitcast", unusual, whole), 0)
    code.when(some, scaled)
    factor = limit / (code.load(slot, wide) + 1e-6)
    # NaN makes everything NaN.
    factor = code.resize(code.select(code.compare(">=", factor, 1.0), one, factor), frame.real)

    def shrink(_: Value, g: Value) -> list[Value]:
        code.store(code.load(g, frame.row) * factor, g)
        return [code.at(g, frame.vector_bytes)]

    code.loop(0, n, 1, shrink, g)


def l2(frame: Frame) -> None:
    """Add an L2 penalty to the gradients of a weight and to the losses.

    Arguments: weights, gradients, how many; the strength; whether a batch's mean is meant; the sum of each model's
    losses; what its mean over the batch divides by.
    """
    code = frame.code
    w, g, n, totals = frame.place(0), frame.place(1), frame.size(2), frame.place(5)
    mean = code.compare("!=", frame.size(4), 0)
    zero, one = (code.constant(doubles(frame), number) for number in (0.0, 1.0))
    strength = code.spread(frame.double(3)) / code.select(mean, code.load(frame.place(6), zero.kind), one)
    factor = code.resize(strength, frame.real)

    def number(_: Value, total: Value, w: Value, g: Value) -> list[Value]:
        weight = code.load(w, frame.row)
        code.store(code.fma(factor, weight, code.load(g, frame.row)), g)
        square = code.resize(weight, DOUBLE)
        return [code.fma(square, square, total), *(code.at(place, frame.vector_bytes) for place in (w, g))]

    total, *_ = code.loop(0, n, 1, number, zero, w, g)
    rows = code.spread(code.convert("sitofp", frame.whole("batch_rows"), DOUBLE))
    counted = strength * 0.5 * code.select(mean, rows, one)
    code.store(code.fma(counted, total, code.load(totals, total.kind)), totals)


def decay(frame: Frame) -> None:
    """Add the weight decay of a parameter to its gradients. Arguments: weights, gradients, how many; the decay."""
    code, factor = frame.code, frame.spread(3)

    def number(_: Value, w: Value, g: Value) -> list[Value]:
        code.store(code.fma(factor, code.load(w, frame.row), code.load(g, frame.row)), g)
        return [code.at(place, frame.vector_bytes) for place in (w, g)]

    code.loop(0, frame.size(2), 1, number, frame.place(0), frame.place(1))


def shrink(frame: Frame) -> None:
    """Multiply a parameter by 1 less the learning rates times its weight decay. Arguments: as those of ``decay``."""
    code = frame.code
    factor = code.resize(1.0 - rate(frame) * code.spread(frame.double(3)), frame.real)

    def number(_: Value, w: Value) -> list[Value]:
        code.store(code.load(w, frame.row) * factor, w)
        return [code.at(w, frame.vector_bytes)]

    code.loop(0, frame.size(2), 1, number, frame.place(0))


def optimizer(kind: str, on: tuple[str, ...]) -> list[Kernel]:
    """Return the step of an optimizer."""
    return [Kernel("step", step(kind, on))]


KERNELS = [
    Kernel("clip_value", clip_value),
    Kernel("clip_norm", clip_norm),
    Kernel("l2", l2),
    Kernel("decay", decay),
    Kernel("shrink", shrink),
]
