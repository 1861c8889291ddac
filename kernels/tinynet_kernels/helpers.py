"""Helpers: threads that work beside this one as long as a ``with`` block lasts, as many as there are to be had."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any


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
        self._threads: list[Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Let another thread call ``work(*arguments)``; tell whether there is one."""

        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self._errors.append(error)

        thread = Thread(target=run)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads.append(thread)
        return True

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for thread in self._threads:
            thread.join()
        if kind is None and self._errors:
            raise self._errors[0]
