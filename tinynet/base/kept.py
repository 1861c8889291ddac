"""Kept: what was made for a key, for the next time that it is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import TypeVar

from tinynet.base.turns import free_after_fork, is_owned

Thing = TypeVar("Thing")


class Kept(OrderedDict[Hashable, Thing]):
    """Things by key, made when they are first asked for. Threads that ask for the same key get the same thing.

    Parameters
    ----------
    most : int
        How many are kept: those that were asked for last.

    Examples
    --------
    >>> kept = Kept(most=2)
    >>> kept.made("a", list) is kept.made("a", list)
    True
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.renew()
        free_after_fork(self)

    def renew(self) -> None:
        """Be nobody's."""
        # A lock of the interpreter's own, which Ctrl-C cannot leave behind: it comes before or after its steps.
        self._lock = RLock()

    @property
    def mine(self) -> bool:
        """Whether this thread is making something, or looks for it."""
        return is_owned(self._lock)

    __hash__ = object.__hash__  # type: ignore[assignment]  # What is freed after a fork is in a set.

    def __eq__(self, other: object) -> bool:
        return self is other

    def made(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """Return what there is for a key, or what ``make`` makes for it."""
        with self._lock:
            if key not in self:
                self[key] = make()
                if len(self) > self._most:
                    self.popitem(last=False)
            self.move_to_end(key)
            return self[key]
