"""What takes the numbers between the layers one by one: activations, softmax, normalisation, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.elementary import exp_nonpositive
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.many.lanes import each, own, setting, wholes
from tinynet_kernels.cpu.generated.random import LOW, philox


def _arrays(frame: Frame, count: int) -> list[tuple[Value, Value]]:
    """Return the arrays that the arguments begin with: of each the place and the bytes of a row."""
    return [(frame.place(2 * i), frame.size(2 * i + 1)) for i in range(count)]


def forward(kind: str) -> Callable[[Frame], None]:
    """``y = f(z)``. Arguments: z and y, each with the bytes of a row; columns; alpha."""

    def body(frame: Frame) -> None:
        code, formula = frame.code, formulas.ACTIVATIONS[kind]
        arrays, n, alpha = _arrays(frame, 2), frame.size(4), frame.spread(5)

        def number(z: Value, y: Value) -> None:
            write = Writer(code, {"z": code.load(z, frame.row), "alpha": alpha})
            code.store(write(formula.value(formulas.symbol("z"), formulas.symbol("alpha"))), y)

        each(frame, n, number, *arrays)

    return body


def backward(kind: str) -> Callable[[Frame], None]:
    """``dz = dy f'(z)`` in place. Arguments: z, y and dy, each with the bytes of a row; columns; alpha."""

    def body(frame: Frame) -> None:
        code, formula = frame.code, formulas.ACTIVATIONS[kind]
        arrays, n, alpha = _arrays(frame, 3), frame.size(6), frame.spread(7)
        symbols = [formulas.symbol(name) for name in ("z", "y", "alpha")]

        def number(z: Value, y: Value, d: Value) -> None:
            values = {"z": code.load(z, frame.row), "y": code.load(y, frame.row), "alpha": alpha}
            code.store(code.load(d, frame.row) * Writer(code, values)(formula.derivative(*symbols)), d)

        each(frame, n, number, *arrays)

    return body


def rowwise(frame: Frame, body: Callable[..., None], *arrays: tuple[Value, Value]) -> None:
    """Run ``body(*places)`` for each row in hand."""
    code = frame.code

    def row(_: Value, *places: Value) -> list[Value]:
        body(*places)
        return [code.at(place, step) for place, (_, step) in zip(places, arrays, strict=True)]

    code.loop(0, frame.whole("rows"), 1, row, *(place for place, _ in arrays))


def folded(frame: Frame, n: Value, start: Value, body: Callable[..., Value], *places: Value) -> Value:
    """Return what ``body(value, *places)`` makes of a value, from one number of a row to the next."""
    code = frame.code

    def column(_: Value, value: Value, *places: Value) -> list[Value]:
        return [body(value, *places), *(code.at(place, frame.vector_bytes) for place in places)]

    return code.loop(0, n, 1, column, start, *places)[0]


def peak_of(frame: Frame, n: Value, row: Value) -> Value:
    """Return the largest number of a row."""
    code = frame.code

    def larger(peak: Value, place: Value) -> Value:
        value = code.load(place, frame.row)
        return code.select(code.compare(">", value, peak), value, peak)

    return folded(frame, n, code.constant(frame.row, -math.inf), larger, row)


def softmax_forward(frame: Frame) -> None:
    """``y = softmax(z)`` by rows. Arguments: z and y, each with the bytes of a row; columns; one that is not used."""
    code, n = frame.code, frame.size(4)

    def row(z: Value, y: Value) -> None:
        peak = peak_of(frame, n, z)

        def exponential(total: Value, z: Value, y: Value) -> Value:
            value = exp_nonpositive(code.load(z, frame.row) - peak)
            code.store(value, y)
            return total + value

        total = folded(frame, n, code.constant(frame.row, 0.0), exponential, z, y)

        def divide(total: Value, y: Value) -> Value:
            code.store(code.load(y, frame.row) / total, y)
            return total

        folded(frame, n, total, divide, y)

    rowwise(frame, row, *_arrays(frame, 2))


def softmax_backward(frame: Frame) -> None:
    """``dz = y (dy - <dy, y>)`` in place. Arguments: z, y and dy, each with the bytes of a row; columns; none."""
    code, n = frame.code, frame.size(6)

    def row(_: Value, y: Value, d: Value) -> None:
        def product(total: Value, y: Value, d: Value) -> Value:
            return code.fma(code.load(d, frame.row), code.load(y, frame.row), total)

        dot = folded(frame, n, code.constant(frame.row, 0.0), product, y, d)

        def slope(dot: Value, y: Value, d: Value) -> Value:
            code.store(code.load(y, frame.row) * (code.load(d, frame.row) - dot), d)
            return dot

        folded(frame, n, dot, slope, y, d)

    rowwise(frame, row, *_arrays(frame, 3))


def _normalize(*, shift: bool) -> Callable[[Frame], None]:
    """Standardise columns; without a shift divide their gradients.

    Arguments: x and y, each with the bytes of a row; columns; where the means are, and the scales.
    """

    def body(frame: Frame) -> None:
        code, n, means, scales = frame.code, frame.size(4), frame.place(5), frame.place(6)

        def row(x: Value, y: Value) -> None:
            def column(_: Value, x: Value, y: Value, mean: Value, scale: Value) -> list[Value]:
                value = code.load(x, frame.row)
                value = value - code.load(mean, frame.row) if shift else value
                code.store(value / code.load(scale, frame.row), y)
                return [code.at(place, frame.vector_bytes) for place in (x, y, mean, scale)]

            code.loop(0, n, 1, column, x, y, means, scales)

        rowwise(frame, row, *_arrays(frame, 2))

    return body


def copy(frame: Frame) -> None:
    """Copy rows. Arguments: from and to, each with the bytes of a row; columns."""
    code = frame.code
    each(frame, frame.size(4), lambda x, y: code.store(code.load(x, frame.row), y), *_arrays(frame, 2))


def multiply(frame: Frame) -> None:
    """``y = x * mask``. Arguments: x, y and the mask, each with the bytes of a row; columns."""
    code = frame.code

    def number(x: Value, y: Value, factor: Value) -> None:
        code.store(code.load(x, frame.row) * code.load(factor, frame.row), y)

    each(frame, frame.size(6), number, *_arrays(frame, 3))


def draw_mask(frame: Frame) -> None:
    """Draw the masks of the rows in hand, each model by its own key, counter and rate.

    Arguments: masks, whose rows follow one another; columns; the number of the layer; the setting that is the rate.
    """
    code, kind = frame.code, wholes(frame)
    mask, n, layer = frame.place(0), frame.size(1), frame.size(2)
    rate = setting(frame, frame.size(3))
    least = code.convert("fptosi", rate * 2.0**32, kind)
    keep = code.resize(1.0 / (1.0 - rate), frame.real)

    def word(value: Value, shift: int) -> Value:
        shifted = code.op(kind, f"lshr {value}, {code.constant(kind, shift).name}") if shift else value
        return code.op(kind, f"and {shifted}, {code.constant(kind, LOW).name}")

    draws = own(frame, "drawn", kind) + code.spread(frame.whole("draws"))
    seed = own(frame, "seeds", kind)
    fixed = [word(draws, 0), word(draws, 32), code.spread(layer)]
    key = [word(seed, 0), word(seed, 32)]
    # A block of rows begins with a multiple of four, so that of numbers does, too.
    first = frame.whole("first") * n / 4
    zero = code.constant(frame.row, 0.0)

    def four(i: Value) -> None:
        words = philox([code.spread(first + i), *fixed], key)
        for k, drawn in enumerate(words):
            value = code.select(code.compare(">=", drawn, least), keep, zero)
            code.store(value, code.at(mask, (i * 4 + k) * frame.vector_bytes))

    code.loop(0, (frame.whole("rows") * n + 3) / 4, 1, four)


def activations(kind: str) -> list[Kernel]:
    """Return the kernels of an activation."""
    if kind == "softmax":
        return [Kernel("forward", softmax_forward), Kernel("backward", softmax_backward)]
    return [Kernel("forward", forward(kind)), Kernel("backward", backward(kind))]


NORMALIZE = [Kernel("forward", _normalize(shift=True)), Kernel("backward", _normalize(shift=False))]
DROPOUT = [Kernel("draw_mask", draw_mask), Kernel("multiply", multiply)]
