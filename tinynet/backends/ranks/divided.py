"""Divided: the team of one process that trains as ranks do, by parts of its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend
from tinynet.backends.ranks.alone import Alone
from tinynet.backends.ranks.parts import Cut, added, equal_parts


class Divided(Alone):
    """What plans ask a team for whose sums are over parts of the samples, and the answers of one process.

    Parameters
    ----------
    n_parts : int
        Into how many parts samples are cut, which are added in order.

    Attributes
    ----------
    total : int
        How many samples all ranks have.
    cuts : list of int
        Where the parts of this rank begin among its own samples, and where the last one ends.
    told : bool
        Whether all ranks know that the training has failed.
    """

    def __init__(self, n_parts: int) -> None:
        self.n_parts = n_parts
        self.total, self.cuts, self.told = 0, [0], False

    @property
    def cut(self) -> Cut:
        """What cuts samples into parts."""
        return equal_parts(self.n_parts)

    @property
    def description(self) -> str:
        """How many they are, and how they add up."""
        return f"1 process, sums over {self.n_parts} parts in their order"

    def count(self, n: int) -> int:
        """Return how many samples all ranks have together, of which this one has ``n``, and note where they lie."""
        self.total, self.cuts = n, self.cuts_of(n)
        return n

    def cuts_of(self, n: int) -> list[int]:
        """Return where the parts of this rank begin among ``n`` samples of its own, and where the last one ends."""
        return self.cut(n)

    def gathered(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return the rows of all ranks, in their order, on the first rank."""
        return rows

    def of_all(self, found: list[Any]) -> list[Any]:
        """Return on all ranks what was found for each part."""
        return found

    def in_order(self, n_epochs: int, n_visits: int) -> NDArray[np.int64] | None:
        """Return the order of samples that are not shuffled: that of the ranks, and of their samples as they lie."""
        return np.broadcast_to(np.arange(n_visits), (n_epochs, n_visits))

    def agree(self, yes: bool = False, trouble: BaseException | None = None) -> bool:
        """Return whether any rank says yes; raise what is the trouble with one."""
        if trouble is not None:
            raise trouble
        return yes

    def meet(self, backend: Backend) -> str:
        """Return what hinders GPUs from adding up what lies on them."""
        return "deterministic"

    def round(self, rows: Array, work: Callable[[], None]) -> Array:
        """Let each rank work, and return the sum of the rows of all: one for each part, the last element unused."""
        work()
        return added(rows)

    def share(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Let arrays in host memory be those of the first rank, of the same shapes."""

    def shared(self, value: Any) -> Any:
        """Return what the first rank has for a value."""
        return value
