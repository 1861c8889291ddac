"""Sums over samples that lie side by side: gradients, and how the predictions bend along a step.

``difference`` and ``curvatures_times`` are for the second-order part of a step (Transtrum and Sethna 2012, section II):
the second derivative of the predictions along a direction, weighed by the second derivatives of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels.cpu.generated.abreast import each_register, over_columns
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value

TILE = (2, 4)
"""Columns of the inputs, and of what is led back, whose products are summed at a time."""


def fold(frame: Frame) -> None:
    """Add ``sum_s x_k d_o`` to the sums in hand, and ``sum_s d_o`` behind them if there is a bias.

    Arguments: x, d, where these sums begin, columns of x, columns of d, whether there is a bias, stride.
    """
    code, stride = frame.code, frame.size(6)
    x, d, n_in, n_out = frame.place(0), frame.place(1), frame.size(3), frame.size(4)
    out = code.at(frame.pointer("gradients"), frame.size(2))
    stop, zero = frame.whole("rows") * frame.bytes, code.constant(frame.row, 0.0)

    def add(value: Value, k: int, o: int, out: Value) -> None:
        place = code.at(code.at(out, n_out * k, frame.real), o, frame.real)
        code.store(code.load(place, frame.real) + code.total(value), place)

    def tile(high: int, wide: int, x: Value | None) -> Callable[[Value, Value, Value], list[Value]]:
        def body(_: Value, d: Value, out: Value) -> list[Value]:
            ways = [code.at(d, stride * o) for o in range(wide)]
            lefts = [] if x is None else [code.at(x, stride * k) for k in range(high)]

            def register(s: Value, *sums: Value) -> list[Value]:
                rights = [code.load(code.at(way, s), frame.row) for way in ways]
                if x is None:
                    return [total + right for total, right in zip(sums, rights, strict=True)]
                found = []
                for k, left in enumerate(lefts):
                    one = code.load(code.at(left, s), frame.row)
                    found += [code.fma(one, right, sums[k * wide + o]) for o, right in enumerate(rights)]
                return found

            sums = code.loop(0, stop, frame.vector_bytes, register, *([zero] * (high * wide)))
            for i, value in enumerate(sums):
                add(value, *divmod(i, wide), out)
            return [code.at(d, stride * wide), code.at(out, wide, frame.real)]

        return body

    def lines(high: int, x: Value | None, out: Value) -> None:
        whole = n_out / TILE[1] * TILE[1]
        after = code.loop(0, whole, TILE[1], tile(high, TILE[1], x), d, out)
        code.loop(whole, n_out, 1, tile(high, 1, x), *after)

    def inputs(high: int) -> Callable[[Value, Value, Value], list[Value]]:
        def body(_: Value, x: Value, out: Value) -> list[Value]:
            lines(high, x, out)
            return [code.at(x, stride * high), code.at(out, n_out * high, frame.real)]

        return body

    whole = n_in / TILE[0] * TILE[0]
    after = code.loop(0, whole, TILE[0], inputs(TILE[0]), x, out)
    _, bias = code.loop(whole, n_in, 1, inputs(1), *after)
    code.when(code.compare("!=", frame.size(5), 0), lambda: lines(1, None, bias))


def bind(frame: Frame) -> None:
    """Let the network have other parameters from here on. Argument: where they are."""
    frame.put("parameters", frame.place(0))


def difference(frame: Frame) -> None:
    """``a = (a - 2 y + b) factor``. Arguments: a, y, b, columns, factor, stride."""
    code, stride, factor = frame.code, frame.size(5), frame.spread(4)

    def column(_: Value, *ways: Value) -> list[Value]:
        def register(s: Value) -> None:
            a, y, b = (code.load(code.at(way, s), frame.row) for way in ways)
            code.store(((a - y) - (y - b)) * factor, code.at(ways[0], s))

        each_register(frame, register)
        return [code.at(way, stride) for way in ways]

    code.loop(0, frame.size(3), 1, column, *(frame.place(i) for i in range(3)))


def curvatures_times(frame: Frame) -> None:
    """Weigh ``q`` by the second derivatives of the loss: ``q = height**2 (q - <p, q>)``, or ``height**2 q``.

    Arguments: heights, q, columns, p, whether the loss is one of rows, whose softmax is p, stride.
    """
    code, stride = frame.code, frame.size(5)
    heights, q, n, p = frame.place(0), frame.place(1), frame.size(2), frame.place(3)
    rowwise, zero = code.compare("!=", frame.size(4), 0), code.constant(frame.row, 0.0)

    def register(s: Value) -> None:
        ways = [code.at(place, s) for place in (heights, q, p)]

        def add(_: Value, ways: Sequence[Value], dot: Value) -> list[Value]:
            return [code.fma(code.load(ways[1], frame.row), code.load(ways[2], frame.row), dot)]

        (dot,) = over_columns(frame, ways, n, stride, add, zero)
        away = code.select(rowwise, dot, zero)

        def write(_: Value, ways: Sequence[Value]) -> list[Value]:
            height = code.load(ways[0], frame.row)
            code.store(height * height * (code.load(ways[1], frame.row) - away), ways[1])
            return []

        over_columns(frame, ways, n, stride, write)

    each_register(frame, register)


KERNELS = [Kernel(body.__name__, body) for body in (fold, bind, difference, curvatures_times)]
