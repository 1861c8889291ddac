"""What the kernels for many models find in the context: what each model of the group in hand has of its own."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, vector, with_element


def doubles(frame: Frame) -> str:
    """Return the type of a float64 number of each model."""
    return with_element(frame.row, DOUBLE)


def wholes(frame: Frame) -> str:
    """Return the type of a whole number of each model."""
    return vector(I64, frame.lanes)


def own(frame: Frame, name: str, kind: str, row: Value | int = 0) -> Value:
    """Return what each model of the group has in an array of the context; it has a number for every lane."""
    code = frame.code
    place = code.at(frame.pointer(name), frame.whole("model") + row, I64)
    return code.load(place, kind)


def setting(frame: Frame, number: Value | int) -> Value:
    """Return a setting of each model, in float64, by its number among those of the program."""
    return own(frame, "numbers", doubles(frame), frame.whole("n_padded") * number)


def rate(frame: Frame) -> Value:
    """Return the learning rates of the update in hand, in float64: they are shared, or each model has its own."""
    return rate_of(frame, frame.whole("epoch"), frame.whole("update"))


def rate_of(frame: Frame, epoch: Value, update: Value) -> Value:
    """Return the learning rates of an update of an epoch. Behind shared rates there is memory for all lanes to read."""
    code, step = frame.code, frame.whole("rates_step")
    separate = code.compare(">", step, 1)
    place = epoch * frame.whole("n_rates") + code.smaller(update, frame.whole("n_rates") - 1)
    first = place * step + code.select(separate, frame.whole("model"), 0)
    found = code.load(code.at(frame.pointer("rates"), first, DOUBLE), doubles(frame))
    return code.select(separate, found, code.shuffle(found, found, [0] * frame.lanes))


def in_use(frame: Frame) -> Value:
    """Return how many lanes hold a model of their own; the others repeat the last one."""
    return frame.code.smaller(frame.whole("n_members") - frame.whole("model"), frame.lanes)


def member(frame: Frame, lane: Value | int) -> Value:
    """Return the number of the model in a lane."""
    code = frame.code
    return code.load(code.at(frame.pointer("members"), frame.whole("model") + lane, I64), I64)


def counted(frame: Frame, i: int) -> Value:
    """Return an argument that is a number of rows: 0 stands for those in hand."""
    code, size = frame.code, frame.size(i)
    return code.select(code.compare("==", size, 0), frame.whole("rows"), size)


def each(frame: Frame, n: Value, body: Callable[..., None], *arrays: tuple[Value, Value]) -> None:
    """Run ``body(*places)`` for each of ``n`` numbers of each row in hand; an array has a place and bytes of a row."""
    code = frame.code

    def row(_: Value, *starts: Value) -> list[Value]:
        def column(_: Value, *places: Value) -> list[Value]:
            body(*places)
            return [code.at(place, frame.vector_bytes) for place in places]

        code.loop(0, n, 1, column, *starts)
        return [code.at(start, step) for start, (_, step) in zip(starts, arrays, strict=True)]

    code.loop(0, frame.whole("rows"), 1, row, *(place for place, _ in arrays))
