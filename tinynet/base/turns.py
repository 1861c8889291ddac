"""Turns: locks for what one thread at a time may do, handed on in the order in which threads ask for them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any, Protocol


class Turn:
    """A lock that knows whose it is: its owner may take it again, and who waits is not passed by.

    A plain lock is often taken again by the thread that has just given it back: a training, which does so thousands of
    times a second, would leave others waiting for its end.

    Examples
    --------
    >>> turn = Turn()
    >>> with turn:
    ...     turn.mine, turn.taken
    (True, True)
    """

    def __init__(self) -> None:
        self.renew()
        free_after_fork(self)

    def renew(self) -> None:
        """Be nobody's."""
        self._door, self._room = threading.Lock(), threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    @property
    def mine(self) -> bool:
        """Whether this thread has the turn."""
        return self._owner == threading.get_ident()

    @property
    def taken(self) -> bool:
        """Whether any thread has the turn."""
        return self._owner is not None

    def __enter__(self) -> None:
        if self.mine:
            self._depth += 1
            return
        try:
            with self._door:  # Who waits for the room stands in the door, and keeps the last owner from passing.
                self._room.acquire()
            self._owner = threading.get_ident()
        except BaseException:
            # Ctrl-C may have come just after the room was had: it knows whose it is.
            if is_owned(self._room):
                self._owner = None
                self._room.release()
            raise
        self._depth = 1

    def settle(self) -> None:
        """Be had once by this thread: Ctrl-C may have come where it was giving back what it had taken again."""
        self._depth = 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._room.release()


def is_owned(lock: Any) -> bool:
    """Whether an RLock is this thread's, as ``threading.Condition`` asks for it."""
    owned: bool = lock._is_owned()
    return owned


class Turns:
    """The turns of several objects, taken together; in one order everywhere, so that no two threads wait in a circle.

    Parameters
    ----------
    owners : iterable of object
        What one thread at a time may work with.
    """

    def __init__(self, owners: Iterable[object]) -> None:
        self._turns = sorted({id(turn): turn for turn in map(turn_of, owners)}.items())

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __enter__(self) -> None:
        for _, turn in self._turns:
            turn.__enter__()

    def __exit__(self, *error: object) -> None:
        for _, turn in reversed(self._turns):
            turn.__exit__(*error)


_OF: weakref.WeakKeyDictionary[Any, Turn] = weakref.WeakKeyDictionary()


def turn_of(owner: object) -> Turn:
    """Return the turn of an object. It is kept beside it, so that the object can be copied and pickled."""
    return _OF.get(owner) or _OF.setdefault(owner, Turn())


class _Owned(Protocol):
    """Something that threads have, one at a time."""

    @property
    def mine(self) -> bool: ...

    def renew(self) -> None: ...


_OWNED: weakref.WeakSet[_Owned] = weakref.WeakSet()


def free_after_fork(owned: _Owned) -> None:
    """Let something be free in a child process where another thread has it in this one: there is no such thread."""
    _OWNED.add(owned)


def _after_fork() -> None:
    for owned in list(_OWNED):
        if not owned.mine:
            owned.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
