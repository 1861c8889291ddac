"""Team: what processes that train one model say to each other.

No rank may wait for one that has stopped. So whatever a rank does between two messages, it either does within
``round``, which takes what went wrong along with the sums; or a roll call comes next (``agree``). A rank that fails
answers the next roll call of the others with its failure, and all of them end there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.backends.ranks.devices import Devices, nccl_of, obstacle, place_of
from tinynet.backends.ranks.divided import Divided
from tinynet.backends.ranks.parts import Cut, added, equal_parts, shares
from tinynet.base.arrays import numpy_namespace
from tinynet.base.errors import RankError, requires

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend

Result = TypeVar("Result")

NOWHERE = 2**62
"""The epoch of ranks that are where the others are."""

INSTALL = "pip install mpi4py mpich"


class Team(Divided):
    """The ranks of a communicator of MPI, for one training.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    n_parts : int
        Into how many parts samples are cut, which are added in order, whichever rank has them. With 0 each rank is a
        part, and MPI adds them in the order that it finds quickest, which may differ from one network, or library, to
        another.

    Attributes
    ----------
    rank, size : int
    first : int
        Which of all samples is the first one of this rank.
    begun : bool
        Whether training has begun, and changes the model.
    epoch : int
        In which it then was that a rank failed, if it was not where the others are.
    """

    many = True

    def __init__(self, comm: Any, n_parts: int) -> None:
        from mpi4py import MPI

        super().__init__(n_parts)
        self._mpi = MPI
        self.comm = comm.Dup()  # So that messages of the caller's are never taken for ours.
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.begun, self.epoch = False, NOWHERE
        self._interrupted = self._local = False
        self._flags = np.zeros(3, np.int64)
        self._devices: Devices | None = None

    @property
    def description(self) -> str:
        """How many they are, and how they add up."""
        how = f"over {self.n_parts} parts in their order" if self.n_parts else "by MPI"
        return f"{self.size} rank{'s' * (self.size > 1)}, sums {how}"

    @contextmanager
    def session(self) -> Iterator[Team]:
        """Return a context from the first message to the last; an error in it reaches all ranks.

        Ctrl-C ends all ranks at the same place; pressed twice, it ends this one at once.
        """
        with self._interrupts_kept():
            try:
                yield self
                self.agree()
            except BaseException as error:
                self.ended(error, NOWHERE)
                raise
            finally:
                if self._devices is not None:
                    self._devices.close(failed=self.told)
                self.comm.Free()

    @contextmanager
    def _interrupts_kept(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def keep(number: int, frame: Any) -> None:
            if self._interrupted or self._local:
                raise KeyboardInterrupt
            self._interrupted = True

        before = signal.signal(signal.SIGINT, keep)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def local(self) -> Iterator[None]:
        """Return a context for long work without messages, which Ctrl-C ends at once."""
        self._local = True
        try:
            if self._interrupted:
                raise KeyboardInterrupt
            yield
        finally:
            self._local = False

    # -- agreeing ----------------------------------------------------------------------------------------------------

    def agree(self, yes: bool = False, trouble: BaseException | None = None, epoch: int = NOWHERE) -> bool:
        """Call the roll; return whether any rank says yes.

        A rank that comes here from elsewhere, since it has failed, tells in which epoch that was.

        Raises
        ------
        RankError, KeyboardInterrupt
            If another rank has failed; or the trouble of this one.
        """
        trouble = self._any_trouble(trouble)
        self._flags[:] = trouble is not None, yes, -epoch
        self.comm.Allreduce(self._mpi.IN_PLACE, self._flags, op=self._mpi.MAX)
        failed, found, lowest = self._flags.tolist()
        if failed:
            self._end(trouble, -lowest)
        return bool(found)

    def _any_trouble(self, trouble: BaseException | None) -> BaseException | None:
        return KeyboardInterrupt() if trouble is None and self._interrupted else trouble

    def _end(self, trouble: BaseException | None, epoch: int = NOWHERE) -> NoReturn:
        """Raise on all ranks, for the reason that some of them have."""
        own = None
        if trouble is not None:
            own = isinstance(trouble, KeyboardInterrupt), f"{type(trouble).__name__}: {trouble}"
        reports = self.comm.allgather(own)
        self.told, self.epoch = True, epoch
        if trouble is not None:
            raise trouble
        rank = next(i for i, report in enumerate(reports) if report is not None)
        interrupted, text = reports[rank]
        if interrupted:
            raise KeyboardInterrupt
        raise RankError(
            f"comm= expects all ranks to go on; rank {rank} of {self.size} ended by {text!r}, so all "
            "have ended. Mend what that says.",
            rank,
        )

    def ended(self, error: BaseException, epoch: int) -> int:
        """Tell the others, unless they know, why this rank ends; return the epoch in which all do."""
        if not self.told:
            try:
                self.agree(trouble=error, epoch=epoch)
            except self._mpi.Exception:
                self.comm.Abort(1)  # The others cannot be told: they would wait for ever.
            except BaseException as told:
                if told is not error:
                    raise
        return min(epoch, self.epoch)

    def stopping(self, stop: bool, reason: str | None) -> tuple[bool, str | None]:
        """Return whether any rank wants to stop, and why."""
        if not self.agree(stop):
            return False, reason
        reasons = self.comm.allgather(reason if stop else None)
        return True, reason or next((r for r in reasons if r), None)

    def every(self, yes: bool) -> bool:
        """Return whether it is so on every rank."""
        return not self.agree(not yes)

    def any(self, yes: bool) -> bool:
        """Return whether it is so on any rank."""
        return self.agree(yes)

    def check_same(self, settings: dict[str, Any]) -> None:
        """Raise ValueError on all ranks if what they were given differs; ``settings`` are data by their names."""
        self.agree()
        every = self.comm.allgather(settings)
        names = dict.fromkeys(name for one in every for name in one)
        for name in names:
            values = [one.get(name) for one in every]
            other = next((i for i, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                self.told = True
                raise ValueError(
                    f"comm= expects the same arguments on every rank; got {name} {values[0]!r} on rank 0 and "
                    f"{values[other]!r} on rank {other}. Only data may differ."
                )

    def collected(self, found: dict[int, Result]) -> dict[int, Result]:
        """Return what all ranks have found, each something else, by its number."""
        self.agree()
        return {number: result for every in self.comm.allgather(found) for number, result in every.items()}

    # -- samples -----------------------------------------------------------------------------------------------------

    @property
    def cut(self) -> Cut:
        """What cuts samples into parts."""
        return equal_parts(self.n_parts or self.size)

    def count(self, n: int) -> int:
        """Return how many samples all ranks have together, and note where those of this one lie."""
        self.first, self.total = self.place(n)
        self.cuts = self.cuts_of(n)
        return self.total

    def cuts_of(self, n: int) -> list[int]:
        """Return where the parts of this rank begin among ``n`` samples of its own, and where the last one ends."""
        if not self.n_parts:
            return [0, n]
        first, total = self.place(n)
        cuts = self.cut(total)
        low, high = shares(cuts, self.size)[self.rank : self.rank + 2]
        return [cut - first for cut in cuts[low : high + 1]]

    def place(self, n: int) -> tuple[int, int]:
        """Return which of all samples is the first one of this rank, that has ``n``, and how many all are."""
        self.agree()
        counts = self.comm.allgather(n)
        return sum(counts[: self.rank]), sum(counts)

    def dealt(self, rows: Any, cut: Cut) -> Any:
        """Return the rows of the parts of this rank, of those that all ranks have together; see ``parts``.

        Only those at the borders of ranks travel.
        """
        first, total = self.place(len(rows))
        cuts = cut(total)
        starts = [min(max(cuts[part] - first, 0), len(rows)) for part in shares(cuts, self.size)]
        pieces = [rows[low:high] for low, high in pairwise(starts)]
        kept, pieces[self.rank] = pieces[self.rank], rows[:0]
        if not self.any(any(map(len, pieces))):
            return rows
        host = [np.ascontiguousarray(piece.get() if hasattr(piece, "get") else piece) for piece in pieces]
        namespace = numpy_namespace(rows)
        received = [namespace.asarray(piece) for piece in self.comm.alltoall(host)]
        received[self.rank] = kept
        return namespace.concatenate(received)

    def of_all(self, found: list[Any]) -> list[Any]:
        """Return on all ranks what was found for each part."""
        self.agree()
        return [one for every in self.comm.allgather(found) for one in every]

    def stacked(self, rows: Any) -> Any:
        """Return on all ranks the rows of all, one below the other."""
        self.agree()
        every = self.comm.allgather(rows.get() if hasattr(rows, "get") else rows)
        return numpy_namespace(rows).asarray(np.concatenate(every))

    def gathered(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return the rows of all ranks, in their order, on the first rank."""
        self.agree()
        rows = np.ascontiguousarray(rows)
        counts = self.comm.gather(rows.size)
        if counts is None:
            self.comm.Gatherv(rows, None)
            return None
        whole = np.empty(sum(counts), rows.dtype)
        self.comm.Gatherv(rows, (whole, counts))
        return whole.reshape(-1, *rows.shape[1:])

    def summed(self, counts: Sequence[int]) -> list[int]:
        """Return the sums of counts over all ranks."""
        self.agree()
        return [sum(each) for each in zip(*self.comm.allgather(list(counts)), strict=True)]

    def counted(self, labels: NDArray[np.int64]) -> dict[int, int]:
        """Return how often each label occurs among the samples of all ranks, lowest first."""
        own = super().counted(labels)
        self.agree()
        every = self.comm.allgather(own)
        return {label: sum(one.get(label, 0) for one in every) for label in sorted(set().union(*every))}

    # -- computing ---------------------------------------------------------------------------------------------------

    def meet(self, backend: Backend) -> str:
        """Let NCCL join the GPUs of all ranks, if it can; return what hinders it, or nothing: then they are joined."""
        if self.n_parts:
            return super().meet(backend)  # NCCL has an order of its own.
        own = place_of(backend, self._mpi.Get_processor_name())
        self.agree()
        hindered = obstacle(self.comm.allgather(own))
        if not hindered and self._devices is None:
            key = self.on_first(lambda: nccl_of(backend).get_unique_id())
            self._devices = Devices(backend, self.size, self.rank, key)
        return hindered

    def round(self, rows: Array, work: Callable[[], None]) -> Array:
        """Let each rank work, and return the sum of the rows of all: one for each part.

        In host memory, where each rank has one, its last element is how ranks tell each other that they have failed:
        then all raise. A device may be what has failed, and could not tell, nor can a rank without rows: then the roll
        is called before anything is added.
        """
        trouble = None
        try:
            work()
        except BaseException as error:
            trouble = error
        if self.n_parts:
            self.agree(trouble=trouble)
            return self._added(rows)
        if not isinstance(rows, np.ndarray):
            assert self._devices is not None, "ranks meet before they sum what lies on their GPUs"
            self.agree(trouble=trouble)
            self._devices.add(rows)
            return rows
        trouble = self._any_trouble(trouble)
        total = rows[0]
        total[-1] = trouble is not None
        self.comm.Allreduce(self._mpi.IN_PLACE, total, op=self._mpi.SUM)
        if total[-1] != 0:
            self._end(trouble)
        return total

    def _added(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of the rows of all ranks, in their order; each rank adds up some columns."""
        columns = np.linspace(0, rows.shape[1], self.size + 1).astype(int)
        every = self.comm.alltoall([np.ascontiguousarray(rows[:, a:b]) for a, b in pairwise(columns)])
        return np.concatenate(self.comm.allgather(added(np.concatenate(every))))

    def on_first(self, work: Callable[[], Result]) -> Result:
        """Return on all ranks what the first one finds."""
        result: Any = None
        trouble = None
        if self.rank == 0:
            try:
                result = work()
            except BaseException as error:
                trouble = error
        failed, result = self.comm.bcast((trouble is not None, result))
        if failed:
            self._end(trouble)
        return result  # type: ignore[no-any-return]

    def share(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Let arrays in host memory be those of the first rank, of the same shapes."""
        for array in arrays:
            self.comm.Bcast(array)

    def shared(self, value: Any) -> Any:
        """Return what the first rank has for a value."""
        return self.comm.bcast(value)


def session_of(comm: Any) -> AbstractContextManager[Alone]:
    """Return a context with the team of a communicator; of a process alone, if there is none."""
    return nullcontext(ALONE) if comm is None else team_of(comm, 0).session()


def team_of(comm: Any, n_parts: int) -> Team:
    """Return the team of a communicator; see ``Team``.

    Raises
    ------
    DependencyError
        If mpi4py is not installed.
    TypeError
        If it is no communicator of mpi4py's.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise requires("mpi4py", "fit(comm=...)", INSTALL) from error
    if not isinstance(comm, MPI.Intracomm):
        raise TypeError(f"comm must be a communicator of mpi4py's, such as MPI.COMM_WORLD; got {comm!r}.")
    return Team(comm, n_parts)
