"""The driver: walks the table, epoch after epoch and batch after batch, and calls the kernel of each row.

The table begins with a row that has the number of steps in each part; the parts follow one another:

* ``prologue``, once: the parameters, and what the optimizer remembers, into panels
* ``begin``, for each batch: what must be known of all of it
* ``rows``, for each block of its rows: forward, loss, backward
* ``update``, for each batch
* ``epilogue``, once: the parameters out of the panels

Training, evaluation, prediction and a gradient differ in their tables only.
"""

from __future__ import annotations

import math

from tinynet_kernels.cpu.generated.data import write_zeros
from tinynet_kernels.cpu.generated.frame import ROW, Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, POINTER
from tinynet_kernels.cpu.generated.team import Team

PARTS = ("prologue", "begin", "rows", "update", "epilogue")
"""Parts of a table."""


def drive(frame: Frame) -> None:
    """Run a table: the second argument is the table itself.

    Several threads may do so together, each with a context and a table of its own, on one arena. A batch is cut into
    the same ranges of rows however many they are, each with its own sum of losses and its own gradient; the first
    thread adds them up, in order, and makes the update. So the result is the same to the last bit. Where there is but
    one range all threads have it, and share the steps: see ``team``.
    """
    code, context, table = frame.code, frame.context, frame.arguments
    counts = [frame.size(i) for i in range(len(PARTS))]
    starts = [code.constant(I64, 1)]
    for count in counts[:-1]:
        starts.append(starts[-1] + count)

    def execute(part: str) -> None:
        i = PARTS.index(part)

        def step(_: Value, row: Value) -> list[Value]:
            code.call(code.load(row, POINTER), context, code.at(row, 1, I64))
            return [code.at(row, ROW, I64)]

        code.loop(0, counts[i], 1, step, code.at(table, starts[i] * ROW, I64))

    n_visits, batch, block, n_rates = (frame.whole(name) for name in ("n_visits", "batch", "block", "n_rates"))
    n_threads, ranges, shift = (frame.whole(name) for name in ("n_threads", "ranges", "range_shift"))
    team = Team(frame)
    losses, rates = frame.pointer("losses"), frame.pointer("rates")
    divisor = frame.state("divisor")

    def run_range(number: Value, rows: Value) -> None:
        # Multiples of four rows: four elements of a dropout mask are drawn together.
        low, high = (
            code.op(I64, f"and {code.op(I64, f'ashr {rows * end}, {shift.name}')}, -4") for end in (number, number + 1)
        )
        high = code.select(code.compare("==", number, ranges - 1), rows, high)
        frame.put("low", low)
        frame.put("range_gradient", number * frame.whole("range_step"))
        before = frame.state("total")
        # Each range adds up from 0, so that its sum does not depend on which thread has what before.
        frame.put("total", code.select(team.several, 0.0, before))

        def run_block(first: Value) -> None:
            frame.put("first", first)
            frame.put("rows", code.smaller(high - first, block))
            execute("rows")

        code.loop(low, high, block, run_block)
        # A small last batch may leave ranges without rows, whose gradients are zeros.
        empty = code.op("i1", f"and {code.compare('>=', low, high)}, {team.several.name}")
        gradient = code.at(code.at(frame.pointer("arena"), frame.whole("gradient")), frame.whole("range_gradient"))
        code.when(empty, lambda: write_zeros(frame, gradient, frame.whole("range_step")))
        # In a team, the sums wait for the first thread.
        frame.put("total", team.keep(number, frame.state("total"), before))

    def run_batch(e: Value, start: Value, update: Value) -> list[Value]:
        rows = code.smaller(n_visits - start, batch)
        words = (("start", start), ("update", update), ("batch_rows", rows), ("rows", rows), ("first", 0), ("low", 0))
        for name, value in words:
            frame.put(name, value)
        frame.put("mass", code.convert("sitofp", rows, DOUBLE))
        place = e * n_rates + code.smaller(update, n_rates - 1)
        frame.put("rate", code.load(code.at(rates, place, DOUBLE), DOUBLE))
        execute("begin")
        code.loop(frame.whole("first_range"), ranges, n_threads, lambda number: run_range(number, rows))
        frame.put("range_gradient", 0)
        frame.put("step", frame.whole("step") + 1)

        team.come()
        code.when(team.leads, team.add_up)
        execute("update")
        team.go()
        frame.put("draws", frame.whole("draws") + 1)
        return [update + 1]

    def run_epoch(e: Value) -> None:
        frame.put("epoch", e)
        frame.put("total", code.constant(DOUBLE, 0.0))
        code.loop(0, n_visits, batch, lambda start, update: run_batch(e, start, update), code.constant(I64, 0))
        code.when(team.leads, lambda: code.store(frame.state("total") / divisor, code.at(losses, e, DOUBLE)))

    execute("prologue")
    team.meet()
    code.loop(0, frame.whole("n_epochs"), 1, run_epoch)
    execute("epilogue")


def weigh(frame: Frame) -> None:
    """Let a mean over the batch be one over the weights of its samples. Argument: where they are."""
    code, weights = frame.code, frame.place(0)

    def add(r: Value, total: Value) -> list[Value]:
        return [total + code.resize(code.load(code.at(weights, r, frame.real), frame.real), DOUBLE)]

    (total,) = code.loop(0, frame.whole("rows"), 1, add, code.constant(DOUBLE, 0.0))
    # Where nothing counts, a mean over it is 0.
    frame.put("mass", code.select(code.compare("==", total, 0.0), math.inf, total))


def sum_ranges(frame: Frame) -> None:
    """Add the gradients of all ranges to that of the first one, in order. Arguments: that one, and its bytes."""
    code, g, size = frame.code, frame.place(0), frame.size(1)
    ranges, step = frame.whole("ranges"), frame.whole("range_step")

    def vector(i: Value) -> None:
        first = code.at(g, i)

        def add(_: Value, place: Value, total: Value) -> list[Value]:
            return [code.at(place, step), total + code.load(place, frame.row)]

        _, total = code.loop(1, ranges, 1, add, code.at(first, step), code.load(first, frame.row))
        code.store(total, first)

    code.loop(0, size, frame.vector_bytes, vector)


def fill_ones(frame: Frame) -> None:
    """Write ones. Arguments: where to, how many bytes, a multiple of a register's."""
    code, place, count = frame.code, frame.place(0), frame.size(1)
    one = code.constant(frame.row, 1.0)
    code.loop(0, count, frame.vector_bytes, lambda i: code.store(one, code.at(place, i)))


KERNELS = [
    Kernel("drive", drive),
    Kernel("weigh", weigh),
    Kernel("fill_ones", fill_ones),
    Kernel("sum_ranges", sum_ranges),
]
