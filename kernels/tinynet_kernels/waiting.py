"""Waiting for the compiler: whoever wants to know is told before it begins, and how long it took.

What is told depends on what the caches hold, never on a clock: machine code that is there already is no news.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Watch:
    """What was compiled in a ``with`` block.

    Attributes
    ----------
    seconds : float
        How long it took.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell
        self.seconds = 0.0
        self.told = False


_watches: ContextVar[tuple[Watch, ...]] = ContextVar("tinynet_watches", default=())


@contextmanager
def watched(tell: Callable[[], None]) -> Iterator[Watch]:
    """Have what this thread compiles in a ``with`` block told.

    Parameters
    ----------
    tell : callable
        Called once, before the first compilation that takes so long that somebody might wonder.

    Examples
    --------
    >>> with watched(lambda: print("compiling ...")) as watch:
    ...     with compiling(long=True):
    ...         pass
    compiling ...
    >>> watch.seconds > 0
    True
    """
    watch = Watch(tell)
    token = _watches.set((*_watches.get(), watch))
    try:
        yield watch
    finally:
        _watches.reset(token)


@contextmanager
def compiling(*, long: bool) -> Iterator[None]:
    """Stand around a compilation; ``long`` tells whether people would wonder."""
    watches = _watches.get()
    for watch in watches:
        if long and not watch.told:
            watch.told = True
            watch.tell()
    # What is compiled within takes part of the same seconds.
    token, started = _watches.set(()), time.perf_counter()
    try:
        yield
    finally:
        _watches.reset(token)
        for watch in watches:
            watch.seconds += time.perf_counter() - started
