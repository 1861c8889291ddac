"""The stage of an embedding: columns of levels become vectors, the others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinynet.backends.stages import Own, Stage
from tinynet.program import EmbeddingOp

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend, State

Piece = tuple[slice, slice, int]
"""Where something comes from and goes to, in columns, and the number of its table; -1 where it only moves."""


class EmbeddingStage(Stage):
    """Each column of levels is replaced, in its place, by the rows of a table."""

    def __init__(self, op: EmbeddingOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op
        self._pieces = pieces_of(op)

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        self._x, y = x, self.scratch("y", len(x), self.op.n_out)
        for source, place, table in self._pieces:
            if table < 0:
                y[:, place] = x[:, source]
            else:
                self.kernels.embedding_forward(x[:, source.start], own.parameters[table], y[:, place])
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        dx = self.scratch("dx", len(dy), self.op.n_in) if need_dx else None
        for source, place, table in self._pieces:
            if table >= 0 and own.gradients is not None:
                self.kernels.embedding_backward(self._x[:, source.start], dy[:, place], own.gradients[table])
            if dx is not None:
                # A level has no neighbour that it could move to.
                dx[:, source] = dy[:, place] if table < 0 else 0
        return dx


def pieces_of(op: EmbeddingOp) -> list[Piece]:
    """Return what moves where, from left to right.

    Examples
    --------
    >>> pieces_of(EmbeddingOp(4, (2,), (12,), (3,)))
    [(slice(0, 2, None), slice(0, 2, None), -1), (slice(2, 3, None), slice(2, 5, None), 0), \
(slice(3, 4, None), slice(5, 6, None), -1)]
    """
    pieces: list[Piece] = []
    start = out = 0
    for column, table in sorted((column, table) for table, column in enumerate(op.columns)):
        if column > start:
            pieces.append((slice(start, column), slice(out, out + column - start), -1))
            out += column - start
        pieces.append((slice(column, column + 1), slice(out, out + op.sizes[table]), table))
        start, out = column + 1, out + op.sizes[table]
    if start < op.n_in:
        pieces.append((slice(start, op.n_in), slice(out, op.n_out), -1))
    return pieces
