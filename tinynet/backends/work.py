"""Work: what one call of a plan works with, so that any number of threads can use one plan at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from tinynet.backends.base import Array, Backend
from tinynet.backends.chain import Chain
from tinynet.backends.stages import Scratch
from tinynet.program import Program

KEPT = 8
"""Most that lie ready for the calls to come; each holds scratch for the rows of a call."""

Thing = TypeVar("Thing")


class Pool(Generic[Thing]):
    """Things that calls borrow: one call at a time has each, and the next one that comes takes it again.

    Parameters
    ----------
    make : callable
        Makes another one, where all are in use.

    Examples
    --------
    >>> pool = Pool(list)
    >>> with pool.one() as first, pool.one() as second:
    ...     first is second
    False
    """

    def __init__(self, make: Callable[[], Thing]) -> None:
        self._make = make
        self._ready: list[Thing] = []

    @contextmanager
    def one(self) -> Iterator[Thing]:
        """Return a context with something that nobody else has."""
        try:
            thing = self._ready.pop()  # Atomic, as `append` is: no lock is needed.
        except IndexError:
            thing = self._make()
        try:
            yield thing
        finally:
            if len(self._ready) < KEPT:
                self._ready.append(thing)


class Work:
    """The stages of a network, with scratch, and what else a call fills in.

    Attributes
    ----------
    chain : Chain
        From samples to predictions.
    training : Chain
        From samples to what the loss reads: without the last activation where it reads its input, and with the
        derivatives by the inputs where it reads them.
    scratch : Scratch
        For rows of a batch, and the gradient of the loss.
    norm : (1,) float64 array
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        on_logits = program.loss is not None and program.loss.on_logits
        self.chain = Chain(program, len(program.ops), backend)
        self.training = Chain(program, len(program.ops) - 1, backend) if on_logits else self.chain
        if program.reads_slopes:
            self.training = Chain(program, len(program.ops), backend, slopes=True)
        self.scratch = Scratch(backend.empty)
        self.norm: Array = backend.empty((1,), "float64")
