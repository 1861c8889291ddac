"""Vectors for levels: the rows of a table, which are learned."""

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import compiled, inlined


def embedding_forward(column: FloatArray, table: FloatArray, y: FloatArray) -> None:
    """Pick the vector of each level. See ``tinynet_kernels.reference.embedding_forward``."""
    _pick(column, table, y)


def embedding_backward(column: FloatArray, dy: FloatArray, dtable: FloatArray) -> None:
    """Gradient of ``embedding_forward``. See ``tinynet_kernels.reference.embedding_backward``."""
    dtable[...] = 0
    _add(column, dy, dtable)


@inlined
def _level(value: float, n: int) -> int:
    # Before it becomes a whole number, which 1e30 does not; and NaN is not above 0.
    return int(min(value + 0.5, n - 1.0)) if value > 0 else 0


@compiled
def _pick(column: FloatArray, table: FloatArray, y: FloatArray) -> None:
    for i in range(y.shape[0]):
        level = _level(column[i], table.shape[0])
        for j in range(y.shape[1]):
            y[i, j] = table[level, j]


@compiled
def _add(column: FloatArray, dy: FloatArray, dtable: FloatArray) -> None:
    for i in range(dy.shape[0]):
        level = _level(column[i], dtable.shape[0])
        for j in range(dy.shape[1]):
            dtable[level, j] += dy[i, j]
