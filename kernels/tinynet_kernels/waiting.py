"""Waiting for the compiler: whoever wants to know is told before it begins, and how long it took.

What is told depends on what the caches hold, never on a clock: machine code that is there already is no news.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

COMPILING = "compiling for this processor ..."
LOADING = "loading the compiler ..."
FOR_GPU = "compiling for this GPU, if CuPy has not kept it ..."
"""Whether it has, is CuPy's secret; to load what it has kept takes some tenths of a second, too."""


class Watch:
    """What was compiled in a ``with`` block.

    Attributes
    ----------
    seconds : float
        How long it took.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.seconds = 0.0
        self.told: set[str] = set()


_watches: ContextVar[tuple[Watch, ...]] = ContextVar("tinynet_watches", default=())


@contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[Watch]:
    """Have what this thread compiles in a ``with`` block told.

    Parameters
    ----------
    tell : callable
        Called with what there is to wait for, before it first takes so long that somebody might wonder.

    Examples
    --------
    >>> with watched(print) as watch:
    ...     with compiling(long=True):
    ...         pass
    compiling for this processor ...
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
def compiling(*, long: bool, what: str = COMPILING) -> Iterator[None]:
    """Stand around a compilation; ``long`` tells whether people would wonder."""
    watches = _watches.get()
    for watch in watches:
        if long and what not in watch.told:
            watch.told.add(what)
            watch.tell(what)
    # What is compiled within takes part of the same seconds.
    token, started = _watches.set(()), time.perf_counter()
    try:
        yield
    finally:
        _watches.reset(token)
        for watch in watches:
            watch.seconds += time.perf_counter() - started
