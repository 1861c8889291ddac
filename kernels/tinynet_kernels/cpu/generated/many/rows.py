"""Rows of the caller's arrays, brought into the lanes: one for all models, or for each model another."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.data import read, source_of
from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import I64, POINTER
from tinynet_kernels.cpu.generated.many.lanes import member


class Reader:
    """Reads rows of a source into lanes; what it needs of the context is loaded when it is made.

    Parameters
    ----------
    frame : Frame
    dtype : str
    words : Value
        Where the source begins in the context.
    labels : bool
        Whether it is class numbers, which become numbers of the arrays' type, too.
    separate : bool
        Whether each model visits other rows, or has other weights.
    aside : Value or int
        Bytes from what a model has of the source to that of the next.
    """

    def __init__(
        self, frame: Frame, dtype: str, words: Value, *, labels: bool, separate: bool, aside: Value | int = 0
    ) -> None:
        source, code = source_of(dtype), frame.code
        assert source is not None
        self.frame, self.code, self.source, self.size, self.labels = frame, code, source, int(dtype[2:]), labels
        self.origin = code.load(words, POINTER)
        self.row, self.column = (code.load(code.at(words, i, I64), I64) for i in (1, 2))
        self.lanes: list[tuple[Value, Value]] = []
        """Of each model, where its part of the source begins, and how far its order is from that of the first."""
        if separate:
            first, between = frame.whole("model"), frame.whole("order_model")
            last = frame.whole("n_members") - 1
            for lane in range(frame.lanes):
                own = code.at(self.origin, member(frame, lane) * aside)
                self.lanes.append((own, code.smaller(first + lane, last) * between))

    def number(self, place: Value) -> Value:
        """Return a number."""
        code, size = self.code, self.size
        if not self.labels:
            return read(self.frame, place, self.source, size, 1)
        value = code.op(f"i{8 * size}", f"load i{8 * size}, {place}, align 1")
        if self.source.swapped:
            value = code.call_intrinsic("bswap", value)
        return code.convert("sitofp" if self.source.signed else "uitofp", value, self.frame.real)

    def bring(self, visits: Value, rows: Value | int, place: Value, step: Value | int, n: Value | int) -> None:
        """Bring ``n`` columns of rows into the lanes, of those whose numbers begin at ``visits``."""
        code = self.code

        def row(_: Value, visit: Value, place: Value) -> list[Value]:
            numbers = self._numbers_of(visit)

            def column(_: Value, offset: Value, place: Value) -> list[Value]:
                code.store(numbers(offset), place)
                return [offset + self.column, code.at(place, self.frame.vector_bytes)]

            code.loop(0, n, 1, column, code.whole(0), place)
            return [code.at(visit, 1, I64), code.at(place, step)]

        code.loop(0, rows, 1, row, visits, place)

    def take(self, visit: Value, n: int) -> list[Value]:
        """Return ``n`` columns of one row."""
        numbers = self._numbers_of(visit)
        return [numbers(self.column * k) for k in range(n)]

    def _numbers_of(self, visit: Value) -> Callable[[Value], Value]:
        """Return what reads the numbers of a row that are so many bytes behind its beginning."""
        code, frame = self.code, self.frame
        if not self.lanes:
            start = code.at(self.origin, code.load(visit, I64) * self.row)
            return lambda offset: code.spread(self.number(code.at(start, offset)))
        sources = [code.at(own, code.load(code.at(visit, offset), I64) * self.row) for own, offset in self.lanes]

        def numbers(offset: Value) -> Value:
            value = code.constant(frame.row, 0.0)
            for lane, source in enumerate(sources):
                number = self.number(code.at(source, offset))
                value = code.op(frame.row, f"insertelement {value}, {number}, i64 {lane}")
            return value

        return numbers


def gather(dtype: str, *, labels: bool, separate: bool) -> Callable[[Frame], None]:
    """Bring the rows in hand of a source into the lanes.

    Arguments: where to, bytes from row to row there; columns; the word of the context in which the source begins;
    whether it is the weights of the samples, of which each model may have its own.
    """

    def body(frame: Frame) -> None:
        code = frame.code
        order = code.at(frame.pointer("order"), frame.whole("epoch") * frame.whole("order_step"))
        visits = code.at(order, frame.whole("start") + frame.whole("first"), I64)
        words, aside = code.at(frame.context, frame.size(3), I64), frame.whole("weight_model") * frame.size(4)
        reader = Reader(frame, dtype, words, labels=labels, separate=separate, aside=aside)
        reader.bring(visits, frame.whole("rows"), frame.place(0), frame.size(1), frame.size(2))

    return body
