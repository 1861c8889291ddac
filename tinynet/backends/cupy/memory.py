"""Host arrays as a GPU takes them, and how much that is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def storable_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that the device holds for one of the host's: of native byte order, at most 64 bits.

    Examples
    --------
    >>> storable_dtype(np.dtype(">i4")).isnative
    True
    """
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


def storable(host: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous array of such a dtype; a copy only where one is needed."""
    return np.asarray(host, dtype=storable_dtype(host.dtype), order="C")


def pinned(cuda: Any, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a host array of one dimension in memory that the device copies by itself while the host goes on.

    Raises
    ------
    MemoryError
        If the host has no such memory left.
    """
    n_bytes = count * dtype.itemsize
    try:
        return np.frombuffer(cuda.alloc_pinned_memory(n_bytes), dtype, count)
    except cuda.runtime.CUDARuntimeError as error:
        raise MemoryError(
            f"data that stay in host memory need {in_units(n_bytes)} of it pinned, which the system refuses: {error}. "
            "Free memory, raise the limit on locked memory (ulimit -l), or use a smaller batch_size."
        ) from error


def in_units(n_bytes: int) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> in_units(3 * 10**9)
    '3 GB'
    """
    size, units = float(n_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
