"""Networks with the samples of a block side by side: every array is (columns, samples), and a register holds samples.

Weights are spread over the lanes. That suits what is wanted of each sample by itself, such as the rows of a Jacobian:
however few columns a layer has, all lanes are used. A block has a whole number of ``UNIT`` registers of samples.

All kernels end with ``stride``: the bytes from a column to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.elementary import exp
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value

UNIT = 2
"""Registers of samples that a product takes at a time."""

OUTPUTS = 4
"""Columns that a product makes at a time."""


def unit_of(frame: Frame) -> int:
    """Return the bytes of a unit of samples."""
    return UNIT * frame.vector_bytes


def each_register(frame: Frame, body: Callable[[Value], None]) -> None:
    """Run ``body(offset)`` for each register of samples of the block in hand."""
    frame.code.loop(0, frame.whole("rows") * frame.bytes, frame.vector_bytes, body)


def take(frame: Frame) -> None:
    """Copy a block of the inputs, or of what is behind them. Arguments: where to, columns, the first one, stride."""
    code = frame.code
    out, n, stride, step = frame.place(0), frame.size(1), frame.size(3), frame.whole("x_column")
    source = code.at(code.at(frame.pointer("x"), frame.size(2) * step), frame.whole("first"), frame.real)

    def column(_: Value, source: Value, out: Value) -> list[Value]:
        each_register(frame, lambda s: code.store(code.load(code.at(source, s), frame.row), code.at(out, s)))
        return [code.at(source, step), code.at(out, stride)]

    code.loop(0, n, 1, column, source, out)


def affine(frame: Frame) -> None:
    """``y_o = b_o + sum_i w_io x_i``, for gradients on their way back without ``b`` and with ``w`` transposed.

    Arguments: x, y, inputs, outputs; of the weight where it lies in the parameters, the bytes from an input to the next
    and from an output to the next; the same two of the bias, zeros for none; stride.
    """
    code = frame.code
    x, y, n_in, n_out = frame.place(0), frame.place(1), frame.size(2), frame.size(3)
    w = code.at(frame.pointer("parameters"), frame.size(4))
    in_step, out_step, stride = frame.size(5), frame.size(6), frame.size(9)
    has_bias = code.compare("!=", frame.size(8), 0)
    zero = code.op("ptr", f"alloca {frame.real}, align 8")
    code.store(code.constant(frame.real, 0.0), zero)
    start = code.select(has_bias, code.at(frame.pointer("parameters"), frame.size(7)), zero)
    start_step = frame.size(8)
    bytes_in_hand = frame.whole("rows") * frame.bytes

    def columns(count: int) -> Callable[[Value, Value, Value, Value], list[Value]]:
        def outputs(_: Value, w: Value, start: Value, y: Value) -> list[Value]:
            first = [code.spread(code.load(code.at(start, start_step * o), frame.real)) for o in range(count)]
            ways = [code.at(y, stride * o) for o in range(count)]
            steps = [out_step * o for o in range(count)]

            def samples(s: Value) -> None:
                def add(_: Value, x: Value, w: Value, *sums: Value) -> list[Value]:
                    inputs = [code.load(code.at(x, u * frame.vector_bytes), frame.row) for u in range(UNIT)]
                    found = []
                    for o in range(count):
                        weight = code.spread(code.load(code.at(w, steps[o]), frame.real))
                        found += [code.fma(weight, one, sums[o * UNIT + u]) for u, one in enumerate(inputs)]
                    return [code.at(x, stride), code.at(w, in_step), *found]

                sums = [one for one in first for _ in range(UNIT)]
                _, _, *sums = code.loop(0, n_in, 1, add, code.at(x, s), w, *sums)
                for i, value in enumerate(sums):
                    code.store(value, code.at(code.at(ways[i // UNIT], s), i % UNIT * frame.vector_bytes))

            code.loop(0, bytes_in_hand, unit_of(frame), samples)
            return [code.at(w, out_step * count), code.at(start, start_step * count), code.at(y, stride * count)]

        return outputs

    whole = n_out / OUTPUTS * OUTPUTS
    after = code.loop(0, whole, OUTPUTS, columns(OUTPUTS), w, start, y)
    code.loop(whole, n_out, 1, columns(1), *after)


def activation(kind: str) -> Callable[[Frame], None]:
    """``y = f(z)``, and ``f'(z)`` beside it. Arguments: z and y, f'(z) or the place of z again, columns, alpha, stride.

    Where the slopes go to ``z`` itself, they are not wanted, and overwritten by the values.
    """

    def body(frame: Frame) -> None:
        code, (value, derivative) = frame.code, formulas.ACTIVATIONS[kind].terms
        alpha, stride = frame.spread(3), frame.size(4)

        def column(_: Value, z: Value, slope: Value) -> list[Value]:
            def register(s: Value) -> None:
                known = {"z": code.load(code.at(z, s), frame.row), "alpha": alpha}
                y = Writer(code, known)(value)
                code.store(Writer(code, known | {"y": y})(derivative), code.at(slope, s))
                code.store(y, code.at(z, s))

            each_register(frame, register)
            return [code.at(z, stride), code.at(slope, stride)]

        code.loop(0, frame.size(2), 1, column, frame.place(0), frame.place(1))

    return body


def multiply(frame: Frame) -> None:
    """``z = x * y``. Arguments: x, y, z, columns, stride."""
    code, stride = frame.code, frame.size(4)

    def column(_: Value, *ways: Value) -> list[Value]:
        def register(s: Value) -> None:
            x, y = (code.load(code.at(way, s), frame.row) for way in ways[:2])
            code.store(x * y, code.at(ways[2], s))

        each_register(frame, register)
        return [code.at(way, stride) for way in ways]

    code.loop(0, frame.size(3), 1, column, *(frame.place(i) for i in range(3)))


def normalize(frame: Frame) -> None:
    """``y = (x - mean) / scale``. Arguments: x, y, columns; mean and scale in the buffers; 0 to leave out ``- mean``.

    Without the mean it is the way back.
    """
    code, stride = frame.code, frame.size(6)
    mean, scale = (code.at(frame.pointer("buffers"), frame.size(i)) for i in (3, 4))
    forward = code.compare("!=", frame.size(5), 0)

    def column(_: Value, x: Value, y: Value, mean: Value, scale: Value) -> list[Value]:
        shift = code.spread(code.select(forward, code.load(mean, frame.real), 0.0))
        divisor = code.spread(code.load(scale, frame.real))

        def register(s: Value) -> None:
            code.store((code.load(code.at(x, s), frame.row) - shift) / divisor, code.at(y, s))

        each_register(frame, register)
        return [code.at(x, stride), code.at(y, stride), code.at(mean, 1, frame.real), code.at(scale, 1, frame.real)]

    code.loop(0, frame.size(2), 1, column, frame.place(0), frame.place(1), mean, scale)


def over_columns(
    frame: Frame, ways: Sequence[Value], n: Value, stride: Value, body: Callable[..., list[Value]], *carried: Value
) -> tuple[Value, ...]:
    """Run ``body(number, ways, *values)`` for each column of one register of samples; return the last values."""
    code = frame.code

    def column(i: Value, *now: Value) -> list[Value]:
        here, values = now[: len(ways)], now[len(ways) :]
        return [*(code.at(way, stride) for way in here), *body(i, here, *values)]

    return code.loop(0, n, 1, column, *ways, *carried)[len(ways) :]


def softmax_values(frame: Frame, z: Value, n: Value, stride: Value, out: Value) -> tuple[Value, Value]:
    """Write ``exp(z - max z)`` of one register of samples to ``out``; return its sum, and the maximum."""
    code = frame.code

    def larger(_: Value, ways: Sequence[Value], peak: Value) -> list[Value]:
        other = code.load(ways[0], frame.row)
        return [code.select(code.compare(">", peak, other), peak, other)]

    (peak,) = over_columns(frame, [z], n, stride, larger, code.load(z, frame.row))

    def exponential(_: Value, ways: Sequence[Value], total: Value) -> list[Value]:
        e = exp(code.load(ways[0], frame.row) - peak)
        code.store(e, ways[1])
        return [total + e]

    (total,) = over_columns(frame, [z, out], n, stride, exponential, code.constant(frame.row, 0.0))
    return total, peak


def softmax(frame: Frame) -> None:
    """``y = softmax(z)`` of each sample. Arguments: z and y, columns, stride."""
    code, n, stride = frame.code, frame.size(1), frame.size(2)
    z = frame.place(0)

    def register(s: Value) -> None:
        here = code.at(z, s)
        total, _ = softmax_values(frame, here, n, stride, here)

        def divide(_: Value, ways: Sequence[Value]) -> list[Value]:
            code.store(code.load(ways[0], frame.row) / total, ways[0])
            return []

        over_columns(frame, [here], n, stride, divide)

    each_register(frame, register)


def softmax_back(frame: Frame) -> None:
    """``dz = y (dy - <dy, y>)`` of each sample. Arguments: y, dy and dz, columns, stride."""
    code, n, stride = frame.code, frame.size(2), frame.size(3)
    y, d = frame.place(0), frame.place(1)

    def register(s: Value) -> None:
        here = [code.at(way, s) for way in (y, d)]

        def add(_: Value, ways: Sequence[Value], dot: Value) -> list[Value]:
            return [code.fma(code.load(ways[0], frame.row), code.load(ways[1], frame.row), dot)]

        (dot,) = over_columns(frame, here, n, stride, add, code.constant(frame.row, 0.0))

        def write(_: Value, ways: Sequence[Value]) -> list[Value]:
            code.store(code.load(ways[0], frame.row) * (code.load(ways[1], frame.row) - dot), ways[1])
            return []

        over_columns(frame, here, n, stride, write)

    each_register(frame, register)


def copy(frame: Frame) -> None:
    """Copy columns. Arguments: from, to, columns, stride."""
    code, stride = frame.code, frame.size(3)

    def column(_: Value, x: Value, y: Value) -> list[Value]:
        each_register(frame, lambda s: code.store(code.load(code.at(x, s), frame.row), code.at(y, s)))
        return [code.at(x, stride), code.at(y, stride)]

    code.loop(0, frame.size(2), 1, column, frame.place(0), frame.place(1))


def unit_vector(frame: Frame) -> None:
    """Write 1 to one column and 0 to the others. Arguments: where to, columns, which one, stride."""
    code, chosen, stride = frame.code, frame.size(2), frame.size(3)

    def column(j: Value, out: Value) -> list[Value]:
        here = code.spread(code.select(code.compare("==", j, chosen), code.constant(frame.real, 1.0), 0.0))
        each_register(frame, lambda s: code.store(here, code.at(out, s)))
        return [code.at(out, stride)]

    code.loop(0, frame.size(1), 1, column, frame.place(0))


def put(frame: Frame) -> None:
    """Write a block of columns to what the caller has. Arguments: from, columns, the first one there, stride."""
    code, stride, step = frame.code, frame.size(3), frame.whole("x_row")
    out = code.at(code.at(frame.pointer("out"), frame.size(2) * step), frame.whole("first"), frame.real)

    def column(_: Value, x: Value, out: Value) -> list[Value]:
        each_register(frame, lambda s: code.store(code.load(code.at(x, s), frame.row), code.at(out, s)))
        return [code.at(x, stride), code.at(out, step)]

    code.loop(0, frame.size(1), 1, column, frame.place(0), out)


KERNELS = [
    Kernel(body.__name__, body)
    for body in (take, affine, multiply, normalize, softmax, softmax_back, copy, unit_vector, put)
]
"""Those that serve all networks."""
