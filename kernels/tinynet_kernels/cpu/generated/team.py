"""A team: threads that take the same steps and wait for one another inside the generated code.

Handing a batch to another Python thread and back costs 30 to 60 us, as much as the batch itself may take; waiting for a
number in memory to change costs less than one. What they share is one array of 64-bit words: ``RANGES`` sums of losses,
then for each thread how often it has come to a meeting, a cache line apart.

There are two ways to share work. A large batch is cut into ranges of rows, and each thread leads its own through the
network. Else all go through the network together: large steps are cut into pieces, which the threads take in turn. The
table of a thread then has its own pieces only, and meetings where one stage follows another.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated.frame import Frame, Kernel
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
        self.leads = code.compare("==", self.thread, 0)

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

    def meet(self) -> None:
        """Wait until all threads have come."""
        self.come()
        self.go()

    def come(self) -> None:
        """Let the first thread wait until all others have come, which wait for it where they ``go``."""
        count = self._next_meeting()
        everyone = self.frame.code.select(self.leads, self.n_threads, 0)
        self.frame.code.when(self.leads, lambda: None, lambda: self._report(count))
        self.frame.code.loop(1, everyone, 1, lambda other: self._wait(other, count))

    def go(self) -> None:
        """Let all go on where the first thread does."""
        count = self._next_meeting()
        self.frame.code.when(self.leads, lambda: self._report(count), lambda: self._wait(0, count))

    def _counter(self, thread: Value | int) -> Value:
        return self.frame.code.at(self.counters, thread * LINE, I64)

    def _next_meeting(self) -> Value:
        following = self.frame.whole("meetings") + 1
        self.frame.put("meetings", following)
        return following

    def _report(self, count: Value) -> None:
        """Tell the others how often this thread has come."""
        self.frame.code.emit(f"store atomic {count}, {self._counter(self.thread)} release, align 8")

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


def meet(frame: Frame) -> None:
    """Wait for all threads of a team that go through a network together."""
    Team(frame).meet()


KERNELS = [Kernel("meet", meet)]
