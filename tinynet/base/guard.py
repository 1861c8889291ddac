"""Guard: a model is changed by one thread at a time, and is read by any number, each of which sees one moment of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tinynet.base.errors import ModelInTrainingError
from tinynet.base.turns import Turn, free_after_fork

COPY = "Call it when the training is over, or with a copy of the model: copy.deepcopy(model)."
"""What to do where a model is in training."""

Result = TypeVar("Result")


class Guard:
    """Who may change a model now, and what those see meanwhile who read it.

    A change is an update, or all that one call of a plan trains, or ``set_weights``. Who reads between two changes
    takes no lock: a number tells whether one has begun meanwhile, and then it is read again (a sequence lock). Who
    comes within a change reads a copy of what was before it: whoever begins a change leaves one, once somebody has
    asked, and the first to ask waits for the end.

    Parameters
    ----------
    now : method
        Returns the state as it is.
    copy : method
        Returns a copy of it.

    Attributes
    ----------
    version : int
        Grows at the beginning of each change and at its end: within one it is odd.
    turn : Turn
        To change the model.
    """

    def __init__(self, now: Callable[[], Any], copy: Callable[[], Any]) -> None:
        # Methods of the model, which has the guard: it must not be kept alive by it.
        self._now, self._copied = weakref.WeakMethod(now), weakref.WeakMethod(copy)
        self.version = 0
        self.turn = Turn()
        self._trains = False
        self._asked = False
        self.renew()
        free_after_fork(self)

    def renew(self) -> None:
        """Be as between two changes."""
        self.version += self.version % 2
        self._changes = threading.Condition()
        self._n_waiting = 0
        self._left: Any = None

    @property
    def mine(self) -> bool:
        """Whether this thread is the one that may change the model now."""
        return self.turn.mine

    # -- who changes -------------------------------------------------------------------------------------------------

    @contextmanager
    def alone(self, call: str, instead: str = COPY) -> Iterator[None]:
        """Return a context for what cannot be done while the model is trained; see ``alone``."""
        with alone(self.turn, call, instead):
            self._asked = False
            try:
                yield
            finally:
                if self.version % 2:
                    self._end_change()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Return a context, within ``alone``, in which not even this thread may replace what is trained."""
        self._trains = True
        try:
            yield
        finally:
            self._trains = False

    def check(self, call: str, instead: str = COPY) -> None:
        """Raise ModelInTrainingError if the call would replace what this thread trains just now."""
        if self.turn.mine and self._trains:
            raise _busy(call, instead)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Return a context for a change; another thread waits until the model may be changed by it."""
        with self.turn:
            if self.version % 2:  # A part of a change of this thread's.
                yield
                return
            try:
                with self._changes:
                    self._changes.wait_for(lambda: self._n_waiting == 0)
                    self._left = self._copy() if self._asked else None
                    self.version += 1
                yield
            finally:
                self._end_change()

    def _end_change(self) -> None:
        """Let others read again; also where Ctrl-C came before a change had begun, or had ended."""
        with self._changes:
            self.version += self.version % 2
            self._left = None
            self._changes.notify_all()

    # -- who reads ---------------------------------------------------------------------------------------------------

    def read(self, use: Callable[[Any], Result]) -> Result:
        """Return ``use(state)`` for the state of one moment; ``use`` may be called twice."""
        if self.turn.mine:
            return use(self._state())
        version = self.version
        if version % 2 == 0 and not self.turn.taken:
            try:
                result = use(self._state())
            except Exception:
                if version == self.version:
                    raise
            else:
                if version == self.version:
                    return result
        with self._changes:
            self._asked, left = True, self._left
        return use(self.between(self._copy) if left is None else left)

    def between(self, use: Callable[[], Result]) -> Result:
        """Return ``use()``, called between two changes; the next one waits for it."""
        if self.turn.mine:
            return use()
        with self._changes:
            self._n_waiting += 1
            try:
                self._changes.wait_for(lambda: self.version % 2 == 0)
                return use()
            finally:
                self._n_waiting -= 1
                self._changes.notify_all()

    def _state(self) -> Any:
        return _called(self._now)

    def _copy(self) -> Any:
        return _called(self._copied)


def _called(method: weakref.WeakMethod[Callable[[], Any]]) -> Any:
    found = method()
    assert found is not None, "a guard is asked by the model that has it"
    return found()


class _Training(Protocol):
    """Something that trains a model, which has a guard."""

    model: Any


Trainer = TypeVar("Trainer", bound=_Training)
Arguments = ParamSpec("Arguments")


def as_one_change(
    method: Callable[Concatenate[Trainer, Arguments], Result],
) -> Callable[Concatenate[Trainer, Arguments], Result]:
    """Let a method of who trains a model be one change of the model to those who read."""

    @wraps(method)
    def changing(self: Trainer, /, *args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        with self.model.guard.changing():
            return method(self, *args, **keywords)

    return changing


@contextmanager
def alone(turn: Turn, call: str, instead: str = COPY) -> Iterator[None]:
    """Return a context for what cannot be done while a model is trained: another thread waits for the end.

    Parameters
    ----------
    turn : Turn
        Of the model.
    call : str
        What was called, for the message.
    instead : str
        What to do.

    Raises
    ------
    ModelInTrainingError
        If it is this thread that trains the model: it would wait for itself.
    """
    if turn.mine:
        raise _busy(call, instead)
    with turn:
        try:
            yield
        finally:
            turn.settle()


def _busy(call: str, instead: str) -> ModelInTrainingError:
    return ModelInTrainingError(
        f"{call} expects a model that is not in training; got one that this thread is training just now (was it called "
        f"by a callback?). {instead}"
    )
