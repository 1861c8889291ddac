"""Settings of the process: how many threads to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tinynet.base.checks import whole

MODEST = 4
"""Most threads that are taken without being asked: other processes want to compute, too."""

_threads: ContextVar[int | None] = ContextVar("tinynet_threads", default=None)


def threads() -> int:
    """Return how many threads training may use: what ``use_threads`` says, else ``TINYNET_THREADS``, else up to 4.

    Examples
    --------
    >>> with use_threads(2):
    ...     threads()
    2
    """
    return chosen_threads() or min(MODEST, usable_cores())


def chosen_threads() -> int | None:
    """Return what ``use_threads`` or ``TINYNET_THREADS`` says; None if neither does."""
    chosen = _threads.get()
    if chosen is not None:
        return chosen
    text = os.environ.get("TINYNET_THREADS")
    if text:
        return whole("TINYNET_THREADS", int(text) if text.strip().isdigit() else text)
    return None


@contextmanager
def use_threads(n: int | None) -> Iterator[None]:
    """Use ``n`` threads in a ``with`` block of this Python thread; None leaves what is in force."""
    token = _threads.set(_threads.get() if n is None else whole("threads", n))
    try:
        yield
    finally:
        _threads.reset(token)


def usable_cores() -> int:
    """Return how many cores this process may use, which containers and batch systems limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
