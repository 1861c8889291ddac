"""Small arrays on their way to the device: all that a call needs, in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from tinynet_kernels._typing import DeviceArray

ALIGNMENT = 256
"""What the places of arrays are multiples of, so that kernels can read any of them in the widest loads."""

LEAST_BYTES = 4096


class Uploads:
    """Copies arrays to the device together, by way of pinned memory; both ends are kept from call to call.

    A copy by CuPy's own ``asarray`` takes a pinned buffer and an event each time. For one caller at a time: the arrays
    that a call returns are overwritten by the next one, and lie in the same places if theirs have the same sizes.
    """

    def __init__(self) -> None:
        self._sent = cupy.cuda.Event(disable_timing=True)
        self._reserve(LEAST_BYTES)

    def __call__(self, arrays: Sequence[NDArray[Any]]) -> list[DeviceArray]:
        """Return copies of host arrays on the device, put on the current stream."""
        places, size = list[slice](), 0
        for array in arrays:
            places.append(slice(size, size + array.nbytes))
            size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self._sent.synchronize()  # The copy before may not have been done yet.
        if size > self._pinned.size:
            self._reserve(1 << (size - 1).bit_length())
        for place, array in zip(places, arrays, strict=True):
            self._pinned[place].view(array.dtype).reshape(array.shape)[...] = array
        self._device[:size].set(self._pinned[:size])
        self._sent.record()
        return [
            self._device[place].view(array.dtype).reshape(array.shape)
            for place, array in zip(places, arrays, strict=True)
        ]

    def _reserve(self, n_bytes: int) -> None:
        self._pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(n_bytes), np.uint8, n_bytes)
        self._device = cupy.empty(n_bytes, np.uint8)
