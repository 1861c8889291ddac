"""Groups of models: what brings them into the lanes and back, and runs a table for one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER
from tinynet_kernels.cpu.generated.many.lanes import doubles, in_use, member


def each_group(frame: Frame) -> None:
    """Run a table for each group of some models: the second argument is the table itself, as for the driver."""
    code = frame.code
    drive = frame.pointer("drive")

    def group(first: Value) -> None:
        frame.put("model", first)
        # What the driver counts is added to what each model brings along.
        frame.put("step", 0)
        frame.put("draws", 0)
        code.call(drive, frame.context, frame.arguments)

    code.loop(frame.whole("first_model"), frame.whole("last_model"), frame.lanes, group)


def _vectors(*, inward: bool) -> Callable[[Frame], None]:
    """Return what copies a flat vector of each model.

    Arguments: where in the arena; numbers of a model; the word of the context that is the address of all models'
    vectors; which row of the moments.
    """

    def body(frame: Frame) -> None:
        code = frame.code
        place, n, row = frame.place(0), frame.size(1), frame.size(3)
        flat = code.at(code.load(code.at(frame.context, frame.size(2), I64), POINTER), row * frame.whole("moments_row"))

        def lane(i: Value) -> None:
            own = code.at(flat, member(frame, i) * n * frame.bytes)

            def number(_: Value, own: Value, held: Value) -> list[Value]:
                source, target = (own, held) if inward else (held, own)
                code.store(code.load(source, frame.real), target)
                return [code.at(own, frame.bytes), code.at(held, frame.vector_bytes)]

            code.loop(0, n, 1, number, own, code.at(place, i, frame.real))

        code.loop(0, code.whole(frame.lanes) if inward else in_use(frame), 1, lane)

    return body


def ones(frame: Frame) -> None:
    """Write ones. Arguments: where to, bytes from row to row, rows."""
    code, one = frame.code, frame.code.constant(frame.row, 1.0)
    place, step = frame.place(0), frame.size(1)
    code.loop(0, frame.size(2), 1, lambda i: code.store(one, code.at(place, i * step)))


def begin(frame: Frame) -> None:
    """Begin a batch: its mean is over its rows. With the first one of an epoch, begin the sums of losses.

    Arguments: the sum of each model, what its mean over the batch divides by.
    """
    code = frame.code
    zero = code.constant(doubles(frame), 0.0)
    code.when(code.compare("==", frame.whole("start"), 0), lambda: code.store(zero, frame.place(0)))
    code.store(code.spread(frame.state("mass")), frame.place(1))


def weigh(frame: Frame) -> None:
    """Let a mean over the batch be one over the weights of its samples. Arguments: these, where their sum goes."""
    code = frame.code

    def add(_: Value, total: Value, weights: Value) -> list[Value]:
        total = total + code.resize(code.load(weights, frame.row), DOUBLE)
        return [total, code.at(weights, frame.vector_bytes)]

    zero = code.constant(doubles(frame), 0.0)
    total, _ = code.loop(0, frame.whole("rows"), 1, add, zero, frame.place(0))
    # Where nothing counts, a mean over it is 0.
    code.store(code.select(code.compare("==", total, 0.0), math.inf, total), frame.place(1))


def put_losses(frame: Frame) -> None:
    """Write the losses of an epoch after its last batch. Arguments: the sum of each model, its factor."""
    code, slot = frame.code, frame.place(0)
    last = code.compare(">=", frame.whole("start") + frame.whole("batch_rows"), frame.whole("n_visits"))

    def write() -> None:
        write_losses(frame, frame.whole("epoch"), code.load(slot, doubles(frame)), frame.double(1), slot)

    code.when(last, write)


def write_losses(frame: Frame, epoch: Value, total: Value, factor: Value, slot: Value) -> None:
    """Write the losses of an epoch to the caller's array, by a slot in memory: sums times a factor."""
    code = frame.code
    code.store(total * code.spread(factor / frame.state("divisor")), slot)
    place = epoch * frame.whole("n_members") + frame.whole("model")
    out = code.at(frame.pointer("model_losses"), place, DOUBLE)

    def lane(i: Value) -> None:
        code.store(code.load(code.at(slot, i, DOUBLE), DOUBLE), code.at(out, i, DOUBLE))

    code.loop(0, in_use(frame), 1, lane)


def put_outputs(frame: Frame) -> None:
    """Write the rows in hand to the caller's ``out``. Arguments: where they are, bytes of a row, columns."""
    code = frame.code
    place, step, n = frame.place(0), frame.size(1), frame.size(2)
    row_bytes = n * frame.bytes
    first = (frame.whole("start") + frame.whole("first")) * row_bytes

    def lane(i: Value) -> None:
        out = code.at(frame.pointer("out"), (frame.whole("model") + i) * frame.whole("out_model") + first)

        def row(_: Value, held: Value, out: Value) -> list[Value]:
            def number(_: Value, held: Value, out: Value) -> list[Value]:
                code.store(code.load(held, frame.real), out)
                return [code.at(held, frame.vector_bytes), code.at(out, frame.bytes)]

            code.loop(0, n, 1, number, held, out)
            return [code.at(held, step), code.at(out, row_bytes)]

        code.loop(0, frame.whole("rows"), 1, row, code.at(place, i, frame.real), out)

    code.loop(0, in_use(frame), 1, lane)


KERNELS = [
    Kernel("each_group", each_group),
    Kernel("enter", _vectors(inward=True)),
    Kernel("leave", _vectors(inward=False)),
    Kernel("ones", ones),
    Kernel("begin", begin),
    Kernel("weigh", weigh),
    Kernel("put_losses", put_losses),
    Kernel("put_outputs", put_outputs),
]
