"""Calls of generated code for the models of an ensemble, prepared once as those of one model are: see ``calls``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.many import programs
from tinynet_kernels.cpu.generated.task import Data, Task
from tinynet_kernels.helpers import Helpers

from tinynet.backends.base import Array, Members, State
from tinynet.backends.numba.calls import Call, addresses_of, check_sizes, vectors_of
from tinynet.program import Program


class Many:
    """What trains, evaluates or predicts, with the settings of the models.

    Attributes
    ----------
    task : Task
    lanes : int
        Models side by side.
    trains : bool
    """

    def __init__(self, made: programs.Made, *, trains: bool) -> None:
        self.task, self.lanes, self.trains = Task(made.table), made.lanes, trains
        self._settings = made.settings
        self._last: tuple[bytes, Members, NDArray[np.float64]] = (b"", np.empty(0, np.int64), np.empty(0))

    def whole_groups(self, n: int) -> NDArray[np.int64]:
        """Return the places of ``n`` models, with the last one again until groups are full."""
        return np.minimum(np.arange(-(-n // self.lanes) * self.lanes), n - 1)

    def groups_of(self, chosen: Members) -> tuple[Members, NDArray[np.float64]]:
        """Return some models in whole groups, and their settings, (n_settings, n_members); most often the last ones."""
        key, last = chosen.tobytes(), self._last
        if last[0] != key:
            members = chosen[self.whole_groups(len(chosen))]
            table = np.zeros((len(self._settings), len(members)))
            for row, value in zip(table, self._settings, strict=True):
                row[:] = np.array(value)[members] if isinstance(value, tuple) else value
            self._last = last = key, members, table
        return last[1:]


class LanesCall(Call):
    """A task with the context of some models, and of data that lie in memory in one way.

    Parameters
    ----------
    made : Many
    program : Program
    state : State
    data : dict of str to Data
    chosen : int array
        The models, at least one.
    n_visits, batch : int
    divisor : float
    """

    def __init__(
        self,
        made: Many,
        program: Program,
        state: State,
        data: dict[str, Data],
        chosen: Members,
        n_visits: int,
        batch: int,
        divisor: float,
    ) -> None:
        self.made, self._program, self._divisor, self._names = made, program, divisor, tuple(data)
        vectors = vectors_of(state)
        check_sizes(vectors, program, trains=made.trains)
        self._n, (self._members, self._numbers) = len(chosen), made.groups_of(chosen)
        # What is stored of each model beside its parameters, a row for each kind.
        self._counters = np.empty((4, len(self._members)), np.int64)
        self._counters[0] = self._members
        place, row = address(self._counters), self._counters.strides[0]
        context = addresses_of(vectors)
        context |= {name: place + i * row for i, name in enumerate(("members", "counts", "drawn", "seeds"))}
        context |= {"numbers": address(self._numbers), "moments_row": state.moments[:1].nbytes, "batch": batch}
        context |= {"laps": 1, "rates_step": 1, "n_members": self._n, "n_padded": len(self._members)}
        context |= {"drive": made.task.driver, "first_model": 0, "last_model": self._n}
        if "weight" in data and data["weight"].array.ndim == 2:
            strides = data["weight"].array.strides
            context |= {"weight_model": strides[0], "weight_row": strides[1]}
        super().__init__(made.task, data, vectors, n_visits, context, divisor, 1)
        self._context = context | {"n_visits": n_visits, "n_rates": 1, "n_epochs": 1}
        for name, source in data.items():
            self._context = source.words(name) | self._context

    def run_models(
        self, state: State, arrays: tuple[Array, ...], order: Array | None, words: dict[str, int], n_threads: int
    ) -> None:
        """Run the task over the data, with these words in the context, in an order of rows, or as they lie."""
        for row, values in zip(self._counters[1:], (state.step, state.draws, state.dropout_seed), strict=True):
            values.take(self._members, out=row, mode="clip")  # Raising would take a copy.
        # What layers between others store, in the dtype in which the lanes hold it.
        stored = np.ascontiguousarray(state.buffers[:, self._program.own_buffers], self._program.dtype)
        places = self._as_they_lie() if order is None else np.ascontiguousarray(order, np.int64)
        own = {"buffers": address(stored), "order": address(places), **words}
        own["order_step"] = 0 if order is None else places[:1].nbytes
        own["order_model"] = 8 * self._n_visits if places.ndim == 3 else 0
        # The driver writes a sum of its own for each epoch.
        n_epochs = words.get("laps", 1)
        if n_threads > 1:
            own |= {name: address(array) for name, array in zip(self._names, arrays, strict=True)}
            self._run_together(own, n_epochs, n_threads)
            return
        sums = np.empty(n_epochs)
        self.space.put(own)
        self.space.put({"losses": address(sums)})
        self.task.run(self.space)

    def _run_together(self, own: dict[str, int], n_epochs: int, n_threads: int) -> None:
        """Let threads, of which this one is the first, share the groups of models."""
        context = self._context | own

        def run(shares: Iterable[tuple[int, int]]) -> None:
            sums = np.empty(n_epochs)
            for first, last in shares:
                part = {"losses": address(sums), "first_model": first, "last_model": last}
                self.task(context | part, self._divisor)

        lanes = self.made.lanes
        # All threads take from one iterator; to advance one of a list is atomic.
        parts = shares_of(-(-self._n // lanes), n_threads)
        shares = iter([(low * lanes, min(self._n, high * lanes)) for low, high in parts])
        with Helpers() as helpers:
            while n_threads > 1 and helpers.start(run, shares):
                n_threads -= 1
            run(shares)


def shares_of(n_blocks: int, n_threads: int) -> Iterator[tuple[int, int]]:
    """Cut blocks of models into shares that get smaller towards the end, (first, last) of each.

    A thread takes the next share when it is done with one (guided self-scheduling, Polychronopoulos and Kuck 1987, with
    shares of half the size): the few large ones cost next to nothing to hand out, and the last are single blocks, so
    that no thread waits longer than for one block, however unevenly the cores run.

    Examples
    --------
    >>> list(shares_of(10, 2))
    [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10)]
    """
    first = 0
    while first < n_blocks:
        last = first + max(1, (n_blocks - first) // (2 * n_threads))
        yield first, last
        first = last
