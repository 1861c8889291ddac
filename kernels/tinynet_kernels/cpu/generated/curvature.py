"""Losses with their second derivatives, samples side by side, as factors that a Gauss-Newton matrix is made of.

``tinynet_kernels.reference.curvature`` has the formulas. For each output there is a height, the root of a curvature,
and a ratio, the slope over the height. A height is never 0, and a slope is always the product of the two: so the
gradient is a product of the rows of the Jacobian with the ratios, also where there is no curvature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.abreast import each_register, over_columns, softmax_values
from tinynet_kernels.cpu.generated.elementary import log, sqrt
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE

LEAST = 1e-200
"""The smallest curvature. Its square root divides a slope without overflow."""


class _Samples:
    """What the losses read of one register of samples: targets, and the mass of each sample, 0 beyond the last."""

    def __init__(self, frame: Frame) -> None:
        self.frame, code = frame, frame.code
        first = frame.whole("first")
        self.targets = code.at(frame.pointer("y"), first, frame.real)
        self.weights = code.at(frame.pointer("weight"), first, frame.real)
        self.total = code.op("ptr", f"alloca {frame.row}, align 64")
        code.store(code.constant(frame.row, 0.0), self.total)

    def mass(self, s: Value) -> Value:
        return self.frame.code.load(self.frame.code.at(self.weights, s), self.frame.row)

    def add(self, value: Value) -> None:
        code = self.frame.code
        code.store(code.load(self.total, self.frame.row) + value, self.total)

    def finish(self) -> None:
        code, frame = self.frame.code, self.frame
        value = code.resize(code.total(code.load(self.total, frame.row)), DOUBLE)
        frame.put("total", frame.state("total") + value)


def _height(frame: Frame, curvature: Value) -> Value:
    code = frame.code
    return sqrt(code.select(code.compare("<", curvature, LEAST), LEAST, curvature))


def elementwise(kind: str) -> Callable[[Frame], None]:
    """Return what writes an elementwise loss. Arguments: predictions, heights, ratios, columns, parameter, stride.

    Samples without mass count for nothing, whatever is predicted of them.
    """

    def body(frame: Frame) -> None:
        code, own = frame.code, _Samples(frame)
        value, derivative = formulas.LOSSES[kind].terms
        n, parameter, stride, step = frame.size(3), frame.spread(4), frame.size(5), frame.whole("y_column")
        places = [frame.place(i) for i in range(3)]
        names = [formulas.symbol(name) for name in ("p", "t", "parameter")]
        zero = code.constant(frame.row, 0.0)

        def column(_: Value, targets: Value, *ways: Value) -> list[Value]:
            def register(s: Value) -> None:
                mass = own.mass(s)
                there = code.compare("!=", mass, 0.0)
                known = {"p": code.load(code.at(ways[0], s), frame.row), "parameter": parameter}
                write = Writer(code, known | {"t": code.load(code.at(targets, s), frame.row)})
                own.add(code.select(there, mass * write(value), zero))
                curvature = code.select(there, mass * write(formulas.CURVATURES[kind](*names)), zero)
                height = _height(frame, curvature)
                slope = code.select(there, mass * write(derivative), zero)
                code.store(height, code.at(ways[1], s))
                code.store(slope / height, code.at(ways[2], s))

            each_register(frame, register)
            return [code.at(targets, step), *(code.at(way, stride) for way in ways)]

        code.loop(0, n, 1, column, own.targets, *places)
        own.finish()

    return body


def cross_entropy(*, index: bool) -> Callable[[Frame], None]:
    """``-sum_j t_j log softmax(z)_j``. Arguments: z, which becomes softmax(z), heights, ratios, columns, 0, stride."""

    def body(frame: Frame) -> None:
        code, own = frame.code, _Samples(frame)
        n, stride, step = frame.size(3), frame.size(5), frame.whole("y_column")
        places = [frame.place(i) for i in range(3)]
        zero, one = code.constant(frame.row, 0.0), code.constant(frame.row, 1.0)

        def register(s: Value) -> None:
            z, heights, ratios = (code.at(place, s) for place in places)
            targets, mass = code.at(own.targets, s), own.mass(s)
            there = code.compare("!=", mass, 0.0)

            def target(j: Value) -> Value:
                if not index:
                    return code.load(code.at(targets, step * j), frame.row)
                number = code.spread(code.convert("sitofp", j, frame.real))
                return code.select(code.compare("==", code.load(targets, frame.row), number), one, zero)

            def count(j: Value, ways: Sequence[Value], whole: Value, dot: Value) -> list[Value]:
                t = target(j)
                return [whole + t, code.fma(t, code.load(ways[0], frame.row), dot)]

            whole, dot = over_columns(frame, [z], n, stride, count, zero, zero)
            total, peak = softmax_values(frame, z, n, stride, z)
            own.add(code.select(there, mass * ((log(total) + peak) * whole - dot), zero))

            def write(j: Value, ways: Sequence[Value]) -> list[Value]:
                p = code.load(ways[0], frame.row) / total
                code.store(p, ways[0])
                height = _height(frame, code.select(there, mass * (whole * p), zero))
                slope = code.select(there, mass * (p * whole - target(j)), zero)
                code.store(height, ways[1])
                code.store(slope / height, ways[2])
                return []

            over_columns(frame, [z, heights, ratios], n, stride, write)

        each_register(frame, register)
        own.finish()

    return body


def seed(frame: Frame) -> None:
    """Write what is led back for one output: its height in its own column, and 0 in the others.

    Arguments: heights, out, columns, which one, softmax(z) or nothing, whether there is, stride. With softmax(z) it is
    ``height (e_r - p)``.
    """
    code, stride = frame.code, frame.size(6)
    heights, out, n, chosen, p = frame.place(0), frame.place(1), frame.size(2), frame.size(3), frame.place(4)
    rowwise = code.compare("!=", frame.size(5), 0)
    own, zero = code.at(heights, chosen * stride), code.constant(frame.row, 0.0)

    def column(j: Value, p: Value, out: Value) -> list[Value]:
        here = code.spread(code.select(code.compare("==", j, chosen), code.constant(frame.real, 1.0), 0.0))

        def register(s: Value) -> None:
            away = code.select(rowwise, code.load(code.at(p, s), frame.row), zero)
            code.store(code.load(code.at(own, s), frame.row) * (here - away), code.at(out, s))

        each_register(frame, register)
        return [code.at(p, stride), code.at(out, stride)]

    code.loop(0, n, 1, column, p, out)


_ROWWISE = {"cross_entropy": cross_entropy(index=False), "cross_entropy_index": cross_entropy(index=True)}


def curvature(kind: str) -> list[Kernel]:
    """Return the kernel of a loss."""
    return [Kernel(f"curvature_{kind}", _ROWWISE.get(kind) or elementwise(kind))]


KERNELS = [Kernel("seed", seed)]
