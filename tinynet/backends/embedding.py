"""The stage of an embedding: columns of levels become vectors, the others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinynet.backends.stages import Own, Stage
from tinynet.program import EmbeddingOp

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend, State


class EmbeddingStage(Stage):
    """Each column of levels is replaced, in its place, by the rows of a table."""

    def __init__(self, op: EmbeddingOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op
        self._pieces = op.pieces

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
