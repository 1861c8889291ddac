"""Grids: the numbers of some samples between two layers, and products of them that are written out.

A number is a register of models. Grids are in memory, where they are larger than the registers, or hold a single sample
in registers; a product reads and writes both alike.
"""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value

MAX_ROWS = 5
"""Most samples that go through at a time."""

SUMS = {16: 10, 32: 24}
"""Most sums of a product that are made at a time, by the number of registers."""


class Grid:
    """Numbers of some rows: in memory, row after row."""

    def __init__(self, frame: Frame, place: Value, n: int) -> None:
        self.frame, self.place, self.n = frame, place, n

    def at(self, row: int, column: int) -> Value:
        """Return where a number is."""
        return self.frame.code.at(self.place, (row * self.n + column) * self.frame.vector_bytes)

    def get(self, row: int, column: int) -> Value:
        """Load a number."""
        return self.frame.code.load(self.at(row, column), self.frame.row)

    def put(self, row: int, column: int, value: Value) -> None:
        """Store a number."""
        self.frame.code.store(value, self.at(row, column))


class Held(Grid):
    """Numbers of one row, in registers."""

    def __init__(self, frame: Frame, place: Value, n: int) -> None:
        super().__init__(frame, place, n)
        self.values: dict[int, Value] = {}

    def get(self, row: int, column: int) -> Value:
        """Return a number."""
        return self.values[column]

    def put(self, row: int, column: int, value: Value) -> None:
        """Keep a number."""
        self.values[column] = value

    def spill(self) -> None:
        """Write them to memory, for what reads them there."""
        for column, value in self.values.items():
            super().put(0, column, value)

    def fill(self) -> None:
        """Read them from memory."""
        self.values = {column: super(Held, self).get(0, column) for column in range(self.n)}


def product(
    frame: Frame,
    rows: int,
    columns: int,
    inner: int,
    left: Callable[[int, int], Value | None],
    right: Callable[[int, int], Value],
    start: Callable[[int, int], Value | None],
    put: Callable[[int, int, Value], None],
) -> None:
    """Write ``start + left right`` in tiles of sums; what is None is 1 in ``left`` and 0 in ``start``."""
    most = SUMS[frame.module.target.registers]
    high = min(rows, MAX_ROWS)
    wide = max(1, most // high)
    for top in range(0, rows, high):
        for first in range(0, columns, wide):
            some = range(top, min(top + high, rows))
            chosen = range(first, min(first + wide, columns))
            sums = {(i, j): start(i, j) for i in some for j in chosen}
            for k in range(inner):
                factors = [right(k, j) for j in chosen]
                for i in some:
                    factor = left(i, k)
                    for j, other in zip(chosen, factors, strict=True):
                        sums[i, j] = _added(factor, other, sums[i, j])
            for (i, j), value in sums.items():
                assert value is not None
                put(i, j, value)


def _added(factor: Value | None, other: Value, total: Value | None) -> Value:
    """Return ``factor other + total``, where a factor of None is 1 and a total of None is 0."""
    if factor is None:
        return other if total is None else total + other
    return factor * other if total is None else other.code.fma(factor, other, total)
