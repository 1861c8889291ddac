"""ByHand: passes forward and backward that a user calls one by one."""

from __future__ import annotations

import threading
from typing import Any

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.chain import backward, forward
from tinynet.backends.work import Work
from tinynet.base.turns import Turns
from tinynet.program import Program


class ByHand:
    """Passes through a network, kernel by kernel; each thread goes back through what it has gone through itself.

    Parameters
    ----------
    program : Program
    backend : Backend
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        self.program, self.backend = program, backend
        self._users = Turns(program.user_code)
        self._own = threading.local()

    @property
    def input(self) -> Array | None:
        """What this thread has gone forward with last; None if it has not."""
        return getattr(self._own, "input", None)

    def forward(self, state: State, x: Array, training: bool, beside: Any) -> Array:
        """Return a copy of the output for ``x`` that lives where ``beside`` does; remember what ``backward`` needs."""
        with self.backend.active(), self._users:
            y = forward(self._work.chain.bind(state), x, state if training else None)
            self._own.input = x
            return self.backend.beside(y, beside)

    def backward(self, state: State, dy: Array, beside: Any) -> Array:
        """Overwrite ``state.gradients``; return that with respect to ``input``, where ``beside`` lives."""
        with self.backend.active(), self._users:
            dx = backward(self._work.chain.bind(state), dy, need_dx=True)
            return self.backend.beside(dx, beside)

    @property
    def _work(self) -> Work:
        work: Work | None = getattr(self._own, "work", None)
        if work is None:
            work = self._own.work = Work(self.program, self.backend)
        return work
