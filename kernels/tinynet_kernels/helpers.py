"""Helpers: threads that work beside this one as long as a ``with`` block lasts, as many as there are to be had."""

from __future__ import annotations

from _thread import start_new_thread
from collections.abc import Callable
from threading import Lock
from typing import Any

OVER = object()
"""What the end of a block says to helpers."""


class Helpers:
    """Threads that help until the end of a block, which waits for them and raises the first of their errors.

    Whoever asks for help must do with none: a system may have no more threads to give (a limit on processes, an
    interpreter that is ending), which is no reason to fail.

    Examples
    --------
    >>> found = []
    >>> with Helpers() as helpers:
    ...     started = helpers.start(found.append, 1)
    >>> found == [1] * started
    True
    """

    def __init__(self) -> None:
        self._helpers: list[tuple[list[object], Any]] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Let another thread call ``work(*arguments)``; tell whether there is one."""
        # Ctrl-C may end this between any two steps, and nobody knows then whether the thread is there. So the first
        # who comes, it or the end of the block, decides whether it works: to add to a list is atomic.
        first: list[object] = []
        working = Lock()
        working.acquire()

        def run() -> None:
            first.append(work)
            if first[0] is OVER:
                return
            try:
                work(*arguments)
            except BaseException as error:
                self._errors.append(error)
            finally:
                working.release()

        self._helpers.append((first, working))
        try:
            # A ``Thread`` is waited for until it has begun, and Ctrl-C then may leave it waiting for ever.
            start_new_thread(run, ())
        except RuntimeError:
            self._helpers.pop()
            return False
        return True

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        interrupted: BaseException | None = None
        while True:
            try:
                self._wait(revoke=kind is not None)
                break
            except BaseException as error:  # Ctrl-C: what they work on must not be left to them.
                interrupted = error
        if interrupted is not None:
            raise interrupted
        if kind is None and self._errors:
            raise self._errors[0]

    def _wait(self, *, revoke: bool) -> None:
        """Wait for all that work; those that have not begun need not, where the block has failed."""
        for first, working in self._helpers:
            if revoke:
                first.append(OVER)
                if first[0] is OVER:
                    continue
            with working:  # Again, if this was interrupted: it may be had any number of times.
                pass
