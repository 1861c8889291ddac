"""Scratch memory of kernels that work in two stages.

It comes from CuPy's pool at each call. The pool keeps what is freed for the stream that used it, so two streams never
share scratch, and a call costs no allocation of the driver's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import cupy
from numpy.typing import DTypeLike

from tinynet_kernels._typing import DeviceArray

_HELD: ContextVar[list[DeviceArray] | None] = ContextVar("held", default=None)


def scratch(shape: int | tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
    """Return an array with arbitrary contents, for the length of a call."""
    array = cupy.empty(shape, dtype)
    held = _HELD.get()
    if held is not None:
        held.append(array)
    return array


@contextmanager
def held_scratch() -> Iterator[list[DeviceArray]]:
    """Collect the scratch of all calls in the ``with`` block, so that it outlives them.

    A CUDA graph uses the addresses that were captured whenever it is launched: keep the list for as long as the graph.
    """
    held: list[DeviceArray] = []
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)
