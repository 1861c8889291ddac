"""Waiting for the compiler: whoever wants to know is told before it begins, and how long it took.

Where nobody has said whether to be told, people who sit before a terminal or a notebook are, once. What is told
depends on what the caches hold, never on a clock: machine code that is there already is no news.
"""

from __future__ import annotations

import sys
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

    def hear(self, what: str) -> None:
        """Tell what there is to wait for, if it is news."""
        if what in self.told:
            return
        self.told.add(what)
        if what == LOADING:
            self.told.discard(COMPILING)  # Another compiler, and a slower one: what it makes is news again.
        self.tell(what)


def _print(what: str) -> None:
    """Tell those who read standard error as it is written: in a terminal, or below a cell of a notebook."""
    stream = sys.stderr
    # The stream of a Jupyter kernel says that it is no terminal; some programs have none at all.
    if stream is not None and (stream.isatty() or type(stream).__module__.startswith("ipykernel")):
        print(what, file=stream, flush=True)


_UNASKED = Watch(_print)
"""Where nobody watches: it stays as long as the process, so that everything is told once."""

tell_people = _UNASKED.hear
"""Tells people as is done where nobody watches: for calls that train within, and cannot be asked to tell."""

_watches: ContextVar[tuple[Watch, ...]] = ContextVar("tinynet_watches", default=(_UNASKED,))


@contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[Watch]:
    """Have what this thread compiles in a ``with`` block told to those who ask, and to nobody else.

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
    token = _watches.set((*(other for other in _watches.get() if other is not _UNASKED), watch))
    try:
        yield watch
    finally:
        _watches.reset(token)


@contextmanager
def compiling(*, long: bool, what: str = COMPILING, ours: bool = True) -> Iterator[None]:
    """Stand around a compilation; ``long`` tells whether people would wonder.

    Those who have not asked are told of what is ``ours`` alone: a process compiles other things, too.
    """
    watches = [watch for watch in _watches.get() if ours or watch is not _UNASKED]
    if long:
        for watch in watches:
            watch.hear(what)
    # What is compiled within takes part of the same seconds.
    token, started = _watches.set(()), time.perf_counter()
    try:
        yield
    finally:
        _watches.reset(token)
        for watch in watches:
            watch.seconds += time.perf_counter() - started
