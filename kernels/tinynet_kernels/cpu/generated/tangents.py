"""Kernels for derivatives along directions, and for second derivatives, with the samples of a block side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.abreast import each_register, over_columns
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value


def curved(kind: str) -> Callable[[Frame], None]:
    """``y = f(z)`` with ``f'(z)`` and ``f''(z)``. Arguments: z and y, the place of each, columns, alpha, stride."""

    def body(frame: Frame) -> None:
        code, activation = frame.code, formulas.ACTIVATIONS[kind]
        value, derivative = activation.terms
        alpha, stride = frame.spread(4), frame.size(5)

        def column(_: Value, z: Value, slope: Value, curve: Value) -> list[Value]:
            def register(s: Value) -> None:
                known = {"z": code.load(code.at(z, s), frame.row), "alpha": alpha}
                y = Writer(code, known)(value)
                write = Writer(code, known | {"y": y})
                code.store(write(derivative), code.at(slope, s))
                code.store(write(activation.curvature), code.at(curve, s))
                code.store(y, code.at(z, s))

            each_register(frame, register)
            return [code.at(way, stride) for way in (z, slope, curve)]

        code.loop(0, frame.size(3), 1, column, *(frame.place(i) for i in range(3)))

    return body


def bend(frame: Frame) -> None:
    """``d = f'(z) d + f''(z) t g``: how ``f'(z) g`` changes where ``z`` moves along ``t``, and ``g`` by ``d``.

    Arguments: d, f'(z), f''(z), t, g, columns, stride.
    """
    code, stride = frame.code, frame.size(6)

    def column(_: Value, *ways: Value) -> list[Value]:
        def register(s: Value) -> None:
            d, slope, curve, t, g = (code.load(code.at(way, s), frame.row) for way in ways)
            code.store(code.fma(slope, d, curve * (t * g)), code.at(ways[0], s))

        each_register(frame, register)
        return [code.at(way, stride) for way in ways]

    code.loop(0, frame.size(5), 1, column, *(frame.place(i) for i in range(5)))


def softmax_bend(frame: Frame) -> None:
    """``d = s (g - <g, y>) + y (d - <d, y> - <g, s>)``: how ``y (g - <g, y>)`` changes where ``y`` moves along ``s``.

    Arguments: d, y, s, g, columns, stride.
    """
    code, n, stride = frame.code, frame.size(4), frame.size(5)
    places = [frame.place(i) for i in range(4)]
    zero = code.constant(frame.row, 0.0)

    def register(at: Value) -> None:
        here = [code.at(place, at) for place in places]

        def add(_: Value, ways: Sequence[Value], own: Value, moved: Value) -> list[Value]:
            d, y, s, g = (code.load(way, frame.row) for way in ways)
            return [code.fma(g, y, own), code.fma(g, s, code.fma(d, y, moved))]

        own, moved = over_columns(frame, here, n, stride, add, zero, zero)

        def write(_: Value, ways: Sequence[Value]) -> list[Value]:
            d, y, s, g = (code.load(way, frame.row) for way in ways)
            code.store(code.fma(s, g - own, y * (d - moved)), ways[0])
            return []

        over_columns(frame, here, n, stride, write)

    each_register(frame, register)


KERNELS = [Kernel(body.__name__, body) for body in (bend, softmax_bend)]
"""Those that serve all networks."""
