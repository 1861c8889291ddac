"""The address of an array's numbers, quickly."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any

from numpy.typing import NDArray

_held: Callable[[Any], c_char] = c_char.from_buffer


def address(array: NDArray[Any]) -> int:
    """Return where the numbers of an array are; whoever passes it on must keep the array.

    ``array.ctypes.data`` takes five times as long, which is as much as an update of a tiny network.
    """
    try:
        return addressof(_held(array))
    except (TypeError, ValueError):  # It may not be written to, or has gaps, or no numbers.
        return int(array.ctypes.data)
