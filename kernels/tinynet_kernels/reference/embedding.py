"""Vectors for levels: the rows of a table, which are learned."""

from typing import Any

import numpy as np

from tinynet_kernels._typing import FloatArray


@np.errstate(all="ignore")
def embedding_forward(column: FloatArray, table: FloatArray, y: FloatArray) -> None:
    """Pick the vector of each level: ``y[i] = table[column[i]]``.

    Bengio, Ducharme, Vincent and Jauvin (2003), section 2, for words.

    Parameters
    ----------
    column : (n_samples,) array
        Levels, as whole numbers in [0, n_levels) of a float dtype; what lies between counts as the nearest, what is
        below or above as the first or the last, and nothing outside of the table is ever read.
    table : (n_levels, size) array
    y : (n_samples, size) array
        Overwritten.
    """
    y[...] = table[levels_of(column, len(table))]


@np.errstate(all="ignore")
def embedding_backward(column: FloatArray, dy: FloatArray, dtable: FloatArray) -> None:
    """Gradient of ``embedding_forward`` with respect to the table: the sum over the samples of each level.

    Parameters
    ----------
    column : (n_samples,) array
        Levels, as on the way forward.
    dy : (n_samples, size) array
    dtable : (n_levels, size) array
        Overwritten.
    """
    dtable[...] = 0
    np.add.at(dtable, levels_of(column, len(dtable)), dy)


def levels_of(column: Any, n: int) -> Any:
    """Return levels as row numbers of a table; of CuPy's arrays, too."""
    # Once more for NaN, which becomes some whole number.
    return (column + 0.5).clip(0, n - 1).astype(np.int64).clip(0, n - 1)
