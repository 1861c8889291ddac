"""What becomes of a gradient: penalties, clipping, and the steps of the optimizers.

They run over the panels of all layers, padding and all: it holds zeros, and zeros stay zeros, but for an epsilon of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tinynet_kernels.cpu.generated.elementary import absolute, sqrt
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Code, Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, with_element
from tinynet_kernels.cpu.generated.target import VECTORS
from tinynet_kernels.updates import SETTINGS, flags, formula_of, n_moments, terms_of


def _power(code: Code, base: Value, exponent: Value) -> Value:
    """Return a whole power, by squaring; base and exponent may be vectors."""
    kind, one = exponent.kind, code.constant(base.kind, 1.0)

    # 63 bits at most; where those that are left are 0, nothing changes any more.
    def bit(_: Value, result: Value, base: Value, left: Value) -> list[Value]:
        unit = code.constant(kind, 1).name
        odd = code.compare("!=", code.op(kind, f"and {left}, {unit}"), 0)
        return [result * code.select(odd, base, one), base * base, code.op(kind, f"lshr {left}, {unit}")]

    largest = exponent
    if kind != I64:
        largest = code.call_intrinsic("vector.reduce.umax", exponent, result=I64)
    length = 64 - code.op(I64, f"call i64 @llvm.ctlz.i64({largest}, i1 false)")
    code.module.declared.add("declare i64 @llvm.ctlz.i64(i64, i1)")
    return code.loop(0, length, 1, bit, one, base, exponent)[0]


def numbers_of(
    code: Code, kind: str, on: tuple[str, ...], settings: Sequence[Value], rate: Value, step: Value
) -> dict[str, Value]:
    """Return the numbers of a step, by the names that its formula has for them, as float64: of one model, or of many.

    Parameters
    ----------
    settings : sequence of Value
        Those of the optimizer, in their order.
    rate, step : Value
        The learning rate, and the number of the update.
    """
    numbers = dict(zip(SETTINGS[kind], settings, strict=True))
    if kind in ("adam", "adamw"):
        beta1, beta2 = numbers["beta1"], numbers["beta2"]
        corrected = rate / (1.0 - _power(code, beta1, step))
        root = sqrt(1.0 - _power(code, beta2, step))
        hat = "hat" in on
        numbers["rate"] = corrected * root if hat else corrected
        numbers["root"] = code.constant(rate.kind, 1.0) if hat else 1.0 / root
        numbers |= {"new1": 1.0 - beta1, "new2": 1.0 - beta2, "keep": 1.0 - rate * numbers["decay"]}
    else:
        numbers["rate"] = rate
        if kind == "rmsprop":
            numbers["fresh"] = 1.0 - numbers["alpha"]
    return numbers


def settings_of(frame: Frame, kind: str, first: int) -> list[Value]:
    """Return the settings of an optimizer, which are arguments from a first one on."""
    return [frame.double(first + i) for i in range(len(SETTINGS[kind]))]


def updated(
    code: Code, kind: str, on: tuple[str, ...], numbers: Mapping[str, Value], p: Value, g: Value, m: Sequence[Value]
) -> list[Value]:
    """Return a parameter after a step, and what the optimizer remembers of it."""
    write = Writer(code, {**numbers, "p": p, "g": g} | {f"m{i}": value for i, value in enumerate(m)})
    return [write(term) for term in terms_of(kind, on)]


def step(kind: str, on: tuple[str, ...]) -> Callable[[Frame], None]:
    """Return what writes a step.

    Arguments: parameters, gradients, moments; bytes of each; bytes from one moment to the next; then the settings.
    """

    def body(frame: Frame) -> None:
        code, count = frame.code, n_moments(kind, on)
        p, g, moments, size, between = *(frame.place(i) for i in range(3)), frame.size(3), frame.size(4)
        numbers = numbers_of(code, kind, on, settings_of(frame, kind, 5), frame.state("rate"), frame.whole("step"))
        spread = {name: code.spread(code.resize(value, frame.real)) for name, value in numbers.items()}

        def vector(_: Value, p: Value, g: Value, *moments: Value) -> list[Value]:
            own, slope, *held = (code.load(pointer, frame.row) for pointer in (p, g, *moments))
            for place, value in zip((p, *moments), updated(code, kind, on, spread, own, slope, held), strict=True):
                code.store(value, place)
            return [code.at(pointer, frame.vector_bytes) for pointer in (p, g, *moments)]

        rows = [code.at(moments, between * i) for i in range(count)]
        code.loop(0, size, frame.vector_bytes, vector, p, g, *rows)

    return body


def clip_value(frame: Frame) -> None:
    """Clip to ``[-limit, limit]``; NaN stays. Arguments: gradients, their bytes, limit."""
    code, g, size, high = frame.code, frame.place(0), frame.size(1), frame.spread(2)

    def vector(i: Value) -> None:
        place = code.at(g, i)
        value = code.load(place, frame.row)
        value = code.select(code.compare(">", value, high), high, value)
        code.store(code.select(code.compare("<", value, -high), -high, value), place)

    code.loop(0, size, frame.vector_bytes, vector)


def clip_norm(frame: Frame) -> None:
    """Scale so that the 2-norm is at most a limit. Arguments: gradients, their bytes, limit.

    The norm is in float64; a second pass, scaled by the largest element, only where squares overflow or vanish.
    """
    code, g, size, limit = frame.code, frame.place(0), frame.size(1), frame.double(2)
    wide = with_element(frame.row, DOUBLE)

    def squares(unit: Value | None = None) -> Value:
        divisor = None if unit is None else code.spread(unit)

        def vector(i: Value, total: Value) -> list[Value]:
            value = code.resize(code.load(code.at(g, i), frame.row), DOUBLE)
            value = value if divisor is None else value / divisor
            return [code.fma(value, value, total)]

        return code.total(code.loop(0, size, frame.vector_bytes, vector, code.constant(wide, 0.0))[0])

    norm = code.op("ptr", "alloca double, align 8")
    total = squares()
    code.store(sqrt(total), norm)

    def scaled() -> None:
        def larger(i: Value, peak: Value) -> list[Value]:
            one = absolute(code.load(code.at(g, i), frame.row))
            return [code.select(code.compare("<=", one, peak), peak, one)]

        peaks = code.loop(0, size, frame.vector_bytes, larger, code.constant(frame.row, 0.0))[0]
        peak = code.resize(code.halves(peaks, lambda a, b: code.select(code.compare("<=", a, b), b, a)), DOUBLE)
        usable = code.op("i1", f"and {code.compare('>', peak, 0.0)}, {code.compare('<', peak, math.inf).name}")
        code.store(peak, norm)
        code.when(usable, lambda: code.store(peak * sqrt(squares(peak)), norm))

    # Neither for what is usual nor for NaN, which makes everything NaN.
    unusual = code.op("i1", f"or {code.compare('<=', total, 1e-280)}, {code.compare('==', total, math.inf).name}")
    code.when(unusual, scaled)
    coefficient = limit / (code.load(norm, DOUBLE) + 1e-6)

    def shrink() -> None:
        factor = code.spread(code.resize(coefficient, frame.real))
        code.loop(
            0,
            size,
            frame.vector_bytes,
            lambda i: code.store(code.load(code.at(g, i), frame.row) * factor, code.at(g, i)),
        )

    code.when(code.op("i1", f"xor {code.compare('>=', coefficient, 1.0)}, true"), shrink)


def l2(frame: Frame) -> None:
    """Add an L2 penalty to the gradient of a weight and to the loss.

    Arguments: weights, gradients (their first rows behind the bias); bytes between panels; panels; inputs; the
    strength; whether a batch's mean is meant.
    """
    code = frame.code
    w, g, step, count, n_in = frame.place(0), frame.place(1), *(frame.size(i) for i in (2, 3, 4))
    mean, wide = code.compare("!=", frame.size(6), 0), with_element(frame.row, DOUBLE)
    strength = frame.double(5) / code.select(mean, frame.state("mass"), 1.0)
    factor = code.spread(code.resize(strength, frame.real))

    def panel(_: Value, w: Value, g: Value, total: Value) -> list[Value]:
        def row(_: Value, w: Value, g: Value, total: Value) -> list[Value]:
            for v in range(VECTORS):
                weight = code.load(code.at(w, v * frame.vector_bytes), frame.row)
                place = code.at(g, v * frame.vector_bytes)
                code.store(code.fma(factor, weight, code.load(place, frame.row)), place)
                square = code.resize(weight, DOUBLE)
                total = code.fma(square, square, total)
            return [code.at(w, frame.row_bytes), code.at(g, frame.row_bytes), total]

        after = code.loop(0, n_in, 1, row, w, g, total)
        return [code.at(w, step), code.at(g, step), after[2]]

    total = code.loop(0, count, 1, panel, w, g, code.constant(wide, 0.0))[2]
    rows = code.convert("sitofp", frame.whole("batch_rows"), DOUBLE)
    counted = strength * 0.5 * code.select(mean, rows, 1.0)
    frame.put("total", code.fma(counted, code.total(total), frame.state("total")))


def _own_decay(frame: Frame, change: Callable[[Value, Value], None]) -> None:
    """Let ``change`` work on each vector of a parameter and its gradient, by their places.

    Arguments: weights, gradients (their first rows); bytes between panels; panels; rows; the decay.
    """
    code = frame.code
    w, g, step, count, rows = frame.place(0), frame.place(1), *(frame.size(i) for i in (2, 3, 4))

    def panel(_: Value, w: Value, g: Value) -> list[Value]:
        def row(_: Value, w: Value, g: Value) -> list[Value]:
            for v in range(VECTORS):
                change(*(code.at(place, v * frame.vector_bytes) for place in (w, g)))
            return [code.at(w, frame.row_bytes), code.at(g, frame.row_bytes)]

        code.loop(0, rows, 1, row, w, g)
        return [code.at(w, step), code.at(g, step)]

    code.loop(0, count, 1, panel, w, g)


def decay(frame: Frame) -> None:
    """Add the weight decay of a parameter to its gradient; see ``_own_decay``."""
    code, factor = frame.code, frame.spread(5)

    def change(w: Value, g: Value) -> None:
        code.store(code.fma(factor, code.load(w, frame.row), code.load(g, frame.row)), g)

    _own_decay(frame, change)


def shrink(frame: Frame) -> None:
    """Multiply a parameter by 1 less the learning rate times its weight decay; see ``_own_decay``."""
    code = frame.code
    factor = code.spread(code.resize(1.0 - frame.state("rate") * frame.double(5), frame.real))
    _own_decay(frame, lambda w, g: code.store(code.load(w, frame.row) * factor, w))


def clean(frame: Frame) -> None:
    """Write zeros to the padding of a layer's panels, where a step without epsilon has made 0 / 0 of it.

    Arguments: panels; bytes between them; inputs; outputs; rows of a panel, the bias among them; first row in use.
    """
    code = frame.code
    panels, step, n_in, n_out, rows, first = frame.place(0), *(frame.size(i) for i in range(1, 6))

    def column(i: Value) -> None:
        # All of a panel's, also those without a lane in use.
        p, v = i / VECTORS, i - i / VECTORS * VECTORS
        mask = frame.mask(n_out - i * frame.lanes)
        start = code.at(code.at(panels, p * step), v * frame.vector_bytes)

        def row(r: Value) -> None:
            place = code.at(start, r * frame.row_bytes)
            inside = code.compare("<=", r, n_in)
            used = code.op("i1", f"and {inside}, {code.compare('>=', r, first).name}")
            value = code.select(used, code.load(place, frame.row), code.constant(frame.row, 0.0))
            code.store(frame.kept(mask, value), place)

        code.loop(0, rows, 1, row)

    code.loop(0, frame.panels(n_out) * VECTORS, 1, column)


def optimizer(kind: str, on: tuple[str, ...]) -> list[Kernel]:
    """Return the step of an optimizer."""
    return [Kernel("_".join(["step", kind, *on]), step(kind, on))]


KERNELS = [
    Kernel("clip_value", clip_value),
    Kernel("clip_norm", clip_norm),
    Kernel("l2", l2),
    Kernel("decay", decay),
    Kernel("shrink", shrink),
    Kernel("clean", clean),
]

__all__ = [
    "KERNELS",
    "SETTINGS",
    "flags",
    "formula_of",
    "n_moments",
    "numbers_of",
    "optimizer",
]
