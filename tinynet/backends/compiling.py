"""Compiling, as those who train see it: they are told before it begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinynet_kernels.waiting import Watch


def watched(tell: Callable[[], None]) -> AbstractContextManager[Watch]:
    """Return a context in which ``tell`` is called before machine code is made that takes some tenths of a second.

    What it gives has ``seconds``: how long all compiling took.
    """
    # `import tinynet` needs no kernels.
    from tinynet_kernels.waiting import watched

    return watched(tell)
