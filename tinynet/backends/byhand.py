"""ByHand: passes forward and backward that a user calls one by one."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.chain import backward, forward, zero_frozen
from tinynet.backends.work import Work
from tinynet.base.kept import Kept
from tinynet.base.turns import Turns
from tinynet.program import Program

KEPT_PROGRAMS = 4
"""Programs for which a thread keeps scratch: networks of which others layers are frozen, layers of other widths."""


class Pass(NamedTuple):
    """A pass forward, as the way back needs it."""

    program: Program
    work: Work
    users: Turns
    n_rows: int


class ByHand:
    """Passes through networks, kernel by kernel; each thread goes back through what it has gone through itself.

    Parameters
    ----------
    backend : Backend
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._own = threading.local()

    @property
    def shape(self) -> tuple[int, int] | None:
        """Shape of what the last pass of this thread has returned; None if there was none."""
        last: Pass | None = getattr(self._own, "last", None)
        return None if last is None else (last.n_rows, last.program.n_out)

    def forward(self, program: Program, state: State, x: Array, training: bool, beside: Any) -> Array:
        """Return a copy of the output for ``x`` that lives where ``beside`` does; remember what ``backward`` needs."""
        kept = self._own.__dict__.setdefault("works", Kept(KEPT_PROGRAMS))
        work, users = kept.made(program, lambda: (Work(program, self.backend), Turns(program.user_code)))
        with self.backend.active(), users:
            y = forward(work.chain.bind(state), x, state if training else None)
            self._own.last = Pass(program, work, users, len(x))
            return self.backend.beside(y, beside)

    def backward(self, state: State, dy: Array, beside: Any) -> Array:
        """Overwrite ``state.gradients``; return that with respect to what went forward, where ``beside`` lives."""
        last: Pass = self._own.last
        with self.backend.active(), last.users:
            dx = backward(last.work.chain.bind(state), dy, need_dx=True)
            zero_frozen(last.program, state.gradients)
            return self.backend.beside(dx, beside)
