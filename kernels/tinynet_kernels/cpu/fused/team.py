"""Threads that take the same steps and wait for one another inside compiled code.

Handing a batch to another Python thread and back costs 30 to 60 us, as much as the batch itself may take; waiting for a
number in memory to change costs less than one.
"""

import sys
from typing import Any

from llvmlite import ir
from numba import types

from tinynet_kernels._typing import IndexArray
from tinynet_kernels.cpu.compiling import compiled
from tinynet_kernels.cpu.generic import instruction

LINE = 8
"""Numbers of 8 bytes in a cache line: what different threads write lies so far apart."""

POLLS = 500
"""Looks at a counter before the core is offered to others: a few microseconds. Where threads outnumber cores, the one
that is waited for needs it."""

_pause = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


@instruction
def _load(typing_context: Any, counters: Any, index: Any) -> Any:
    """Read a counter; what its writer had written before ``_store`` is then seen, too."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args, arguments)
        return builder.load_atomic(place, ordering="acquire", align=8)

    return types.int64(counters, index), generate


@instruction
def _store(typing_context: Any, counters: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args, arguments)
        number = context.cast(builder, arguments[2], signature.args[2], types.int64)
        builder.store_atomic(number, place, ordering="release", align=8)
        return context.get_dummy_value()

    return types.none(counters, index, value), generate


def _place(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    data = context.make_array(kinds[0])(context, builder, arguments[0]).data
    index = context.cast(builder, arguments[1], kinds[1], types.intp)
    return builder.gep(builder.bitcast(data, ir.IntType(64).as_pointer()), [index])


@compiled
def _wait(counters: IndexArray, thread: int, count: int) -> None:
    polls = 0
    while _load(counters, thread * LINE) < count:
        polls += 1
        if polls > POLLS:
            _pause()


@compiled
def gather(counters: IndexArray, thread: int, n_threads: int, count: int) -> None:
    """Report for the ``count``-th time; thread 0 waits until all have.

    Parameters
    ----------
    counters : (n_threads * LINE,) int64 array
        Zeros at first.
    thread, n_threads : int
    count : int
        1 the first time, then one more each time.
    """
    if thread > 0:
        _store(counters, thread * LINE, count)
    else:
        for other in range(1, n_threads):
            _wait(counters, other, count)


@compiled
def release(counters: IndexArray, thread: int, count: int) -> None:
    """Let the others go on after the ``count``-th ``gather``, which they wait for; thread 0 lets go."""
    if thread > 0:
        _wait(counters, 0, count)
    else:
        _store(counters, 0, count)
