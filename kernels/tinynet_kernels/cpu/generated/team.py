"""A team: threads that take the same steps and wait for one another inside the generated code.

Handing a batch to another Python thread and back costs 30 to 60 us, as much as the batch itself may take; waiting for a
number in memory to change costs less than one. What they share is one array of 64-bit words: ``RANGES`` sums of losses,
then for each thread how often it has come to a meeting, a cache line apart.
"""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64

RANGES = 8
"""Ranges that a large batch is cut into: the most threads that can help."""

LINE = 8
"""Words in a cache line: what different threads write lies so far apart."""

POLLS = 500
"""Looks at a counter before the core is offered to others: a few microseconds. Where threads outnumber cores, the one
that is waited for needs it."""


def shared_words(n_threads: int) -> int:
    """Return how many words a team shares."""
    return RANGES + LINE * (n_threads + 1)


class Team:
    """The meetings of a team; a thread that is alone never meets."""

    def __init__(self, frame: Frame) -> None:
        self.frame, code = frame, frame.code
        self.thread, self.n_threads = frame.whole("thread"), frame.whole("n_threads")
        self.ranges, self.shared = frame.whole("ranges"), frame.pointer("team")
        self.several = code.compare(">", self.ranges, 1)
        self.counters = code.at(self.shared, RANGES * 8)
        self.meetings = code.op("ptr", "alloca i64, align 8")
        code.store(code.constant(I64, 0), self.meetings)

    def keep(self, number: Value, total: Value, before: Value) -> Value:
        """Keep the total of a range for ``add_up``, and return that of the epoch before it; alone, keep nothing."""
        code = self.frame.code
        code.when(self.several, lambda: code.store(total, code.at(self.shared, number, DOUBLE)))
        return code.select(self.several, before, total)

    def add_up(self) -> None:
        """Add what all ranges have kept to the total, in order."""
        code, frame = self.frame.code, self.frame

        def add(i: Value, total: Value) -> list[Value]:
            return [total + code.load(code.at(self.shared, i, DOUBLE), DOUBLE)]

        count = code.select(self.several, self.ranges, 0)
        frame.put("total", code.loop(0, count, 1, add, frame.state("total"))[0])

    def together(self, first_one: Value, body: Callable[[], None]) -> None:
        """Let the first thread do something when all have come, and the others wait until it is done."""
        code = self.frame.code

        def lead() -> None:
            self._wait_for_others()
            body()
            self._report()

        code.when(first_one, lead, self._follow)

    def wait_for_all(self) -> None:
        """Wait until all threads have come."""
        self.together(self.frame.code.compare("==", self.thread, 0), lambda: None)

    def _counter(self, thread: Value | int) -> Value:
        return self.frame.code.at(self.counters, thread * LINE, I64)

    def _next_meeting(self) -> Value:
        code = self.frame.code
        following = code.load(self.meetings, I64) + 1
        code.store(following, self.meetings)
        return following

    def _report(self) -> None:
        """Tell the others how often this thread has come."""
        code = self.frame.code
        count = code.load(self.meetings, I64)
        code.emit(f"store atomic {count}, {self._counter(self.thread)} release, align 8")

    def _follow(self) -> None:
        count = self._next_meeting()
        self._report()
        self._wait(0, count)

    def _wait_for_others(self) -> None:
        count = self._next_meeting()
        self.frame.code.loop(1, self.n_threads, 1, lambda other: self._wait(other, count))

    def _wait(self, thread: Value | int, count: Value) -> None:
        """Wait until a thread has come so often."""
        code, place = self.frame.code, self._counter(thread)

        def look(polls: Value) -> Value:
            seen = code.op(I64, f"load atomic i64, {place} acquire, align 8")
            tired = code.compare(">=", polls, POLLS)
            there = code.compare(">=", seen, count)
            offers = code.op("i1", f"and {tired}, {code.op('i1', f'xor {there}, true').name}")
            code.when(offers, lambda: code.call(self.frame.pointer("yield")))
            return there

        code.until(look)
