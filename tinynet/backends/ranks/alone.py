"""Alone: the team of a process that trains without others, and of those who need not know whether there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.parts import Cut

Result = TypeVar("Result")


class Alone:
    """The team of one process that was given no communicator: all that it is asked costs next to nothing."""

    rank, size, many = 0, 1, False
    first = 0

    def count(self, n: int) -> int:
        """Return how many samples all ranks have together, of which this one has ``n``."""
        return n

    def in_order(self, n_epochs: int, n_visits: int) -> NDArray[np.int64] | None:
        """Return the order of samples that are not shuffled; None: that in which they lie."""
        return None

    def dealt(self, rows: Any, cut: Cut) -> Any:
        """Return the rows of the parts of this rank, of those that all ranks have together; see ``parts``."""
        return rows

    def stacked(self, rows: Any) -> Any:
        """Return on all ranks the rows of all, one below the other."""
        return rows

    def summed(self, counts: Sequence[int]) -> list[int]:
        """Return the sums of counts over all ranks."""
        return list(counts)

    def counted(self, labels: NDArray[np.int64]) -> dict[int, int]:
        """Return how often each label occurs among the samples of all ranks, lowest first.

        Examples
        --------
        >>> ALONE.counted(np.array([3, 1, 3]))
        {1: 1, 3: 2}
        """
        values, counts = np.unique(labels, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def stopping(self, stop: bool, reason: str | None) -> tuple[bool, str | None]:
        """Return whether any rank wants to stop, and why."""
        return stop, reason

    def local(self) -> AbstractContextManager[None]:
        """Return a context for long work without messages, which Ctrl-C ends at once."""
        return nullcontext()

    def on_first(self, work: Callable[[], Result]) -> Result:
        """Return on all ranks what the first one finds."""
        return work()

    def check_same(self, settings: dict[str, Any]) -> None:
        """Raise ValueError on all ranks if what they were given differs; ``settings`` are data by their names."""

    def collected(self, found: dict[int, Result]) -> dict[int, Result]:
        """Return what all ranks have found, each something else, by its number."""
        return found

    def every(self, yes: bool) -> bool:
        """Return whether it is so on every rank."""
        return yes

    def any(self, yes: bool) -> bool:
        """Return whether it is so on any rank."""
        return yes

    def ended(self, error: BaseException, epoch: int) -> int:
        """Tell the others why this rank ends; return the epoch in which all do."""
        return epoch


ALONE = Alone()
