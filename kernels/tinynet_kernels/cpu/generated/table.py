"""Tables: the steps of a network, for the driver to walk."""

from __future__ import annotations

import struct
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels.cpu.generated.driver import PARTS
from tinynet_kernels.cpu.generated.frame import ROW
from tinynet_kernels.cpu.generated.layout import Arena, Own, Scratch
from tinynet_kernels.cpu.generated.target import Target


class Step(NamedTuple):
    """A call of a kernel: the unit that it is in, its name, its arguments.

    Attributes
    ----------
    piece : int or None
        Its number among those that threads share; None: what the first one does alone, where they go together.
    stage : int
        Pieces of a stage need nothing of one another but what has the same number.
    """

    unit: str
    kernel: str
    arguments: tuple[int | float, ...]
    piece: int | None = None
    stage: int = 0


class Sources(NamedTuple):
    """The dtypes of the data, as NumPy writes them: ``<f4``."""

    x: str
    y: str = ""
    weight: str = ""


class Table:
    """The steps of a network, and the arena they work in.

    Attributes
    ----------
    parts : dict of str to list of Step
    arena : Arena
    ranges : int
        That a batch is cut into.
    gradient, range_step : int
        Where the gradient of the first one is, and the bytes to that of the next.
    entry : tuple of str
        Unit and name of what is called with the table.
    """

    def __init__(self, dtype: str, target: Target, rows: int) -> None:
        self.dtype, self.target, self.block = dtype, target, rows
        self.arena = Arena(dtype, target, rows)
        self.parts: dict[str, list[Step]] = {part: [] for part in PARTS}
        self.ranges, self.gradient, self.range_step = 1, 0, 0
        self.entry = ("core", "drive")
        self.stages = 0

    def take_gradients(self, size: int, ranges: int) -> int:
        """Return the place of the gradients: those of all ranges of a batch."""
        self.ranges = ranges
        self.gradient, self.range_step = self.arena.take(size * self.ranges), size
        if self.ranges > 1:
            self.add("update", "core", "sum_ranges", self.gradient, size)
        return self.gradient

    def add(self, part: str, unit: str, kernel: str, *arguments: int | float) -> None:
        """Append a step."""
        assert len(arguments) < ROW, "a row of the table has no more words"
        self.parts[part].append(Step(unit, kernel, arguments))

    def new_stage(self) -> None:
        """Begin a stage: the pieces that follow need what has been done before."""
        self.stages += 1

    def share(self, part: str, piece: int, unit: str, kernel: str, *arguments: int | float) -> None:
        """Append a piece of the stage."""
        self.add(part, unit, kernel, *arguments)
        self.parts[part][-1] = self.parts[part][-1]._replace(piece=piece, stage=self.stages)

    @property
    def units(self) -> set[str]:
        """The units that the steps are in."""
        units = {step.unit for steps in self.parts.values() for step in steps}
        return units | {_MEET.unit} if self.stages else units

    def size(self, n_threads: int = 1) -> int:
        """Return the bytes of the arena."""
        return self.arena.size + n_threads * self.arena.own

    def words(self, addresses: dict[tuple[str, str], int], thread: int = 0, *, sharing: int = 1) -> NDArray[np.int64]:
        """Return the table as the driver reads it in a thread.

        Parameters
        ----------
        addresses : dict of tuple of str to int
            Of the kernels, by unit and name.
        thread : int
        sharing : int
            Threads that go through the network together; 1: each leads rows of its own.
        """
        if sharing > 1:
            parts = {part: self._shared(self.parts[part], thread, sharing) for part in PARTS}
        else:
            # What is done once to what is shared is the first thread's business.
            parts = {
                part: [s for s in self.parts[part] if thread == 0 or part == "rows" or self._is_own(s)]
                for part in PARTS
            }
        steps = [step for part in PARTS for step in parts[part]]
        table = np.zeros((1 + len(steps), ROW), np.int64)
        table[0, : len(PARTS)] = [len(parts[part]) for part in PARTS]
        for row, step in zip(table[1:], steps, strict=True):
            row[0] = addresses[step.unit, step.kernel]
            row[1 : 1 + len(step.arguments)] = [self._word(one, thread, sharing) for one in step.arguments]
        return table

    @staticmethod
    def _shared(steps: list[Step], thread: int, sharing: int) -> list[Step]:
        """Return the steps of a thread, with meetings before a stage and behind it."""
        found: list[Step] = []
        for alone, group in groupby(steps, lambda step: step.piece is None):
            if alone:
                found += group if thread == 0 else ()
                continue
            found.append(_MEET)
            for _, stage in groupby(group, lambda step: step.stage):
                found += (step for step in stage if step.piece is not None and step.piece % sharing == thread)
                found.append(_MEET)
        return found

    @staticmethod
    def _is_own(step: Step) -> bool:
        """Whether a step writes to what each thread has for itself: the place comes first."""
        return isinstance(step.arguments[0], Own)

    def _word(self, argument: int | float, thread: int, sharing: int) -> int:
        if isinstance(argument, float):
            return int(struct.unpack("<q", struct.pack("<d", argument))[0])
        if not isinstance(argument, Own):
            return argument
        owner = 0 if sharing > 1 and not isinstance(argument, Scratch) else thread
        return argument + self.arena.size + owner * self.arena.own


_MEET = Step("team", "meet", ())
