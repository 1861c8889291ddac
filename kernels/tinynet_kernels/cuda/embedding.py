"""Vectors for levels: the rows of a table, which are learned."""

import cupy

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.reference.embedding import levels_of


def embedding_backward(column: DeviceArray, dy: DeviceArray, dtable: DeviceArray) -> None:
    """Gradient of ``embedding_forward``. See ``tinynet_kernels.reference.embedding_backward``.

    A product with ones and zeros, whose sums have an order: atomic additions would give other bits in each run.
    """
    of_level = cupy.arange(len(dtable))[:, None] == levels_of(column, len(dtable))
    dtable[...] = of_level.astype(dy.dtype) @ dy
