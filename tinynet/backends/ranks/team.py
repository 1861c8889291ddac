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
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.backends.ranks.devices import Devices, nccl_of, obstacle, place_of
from tinynet.base.arrays import numpy_namespace
from tinynet.base.errors import RankError, requires
from tinynet.base.statistics import moments_of_parts

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend

Result = TypeVar("Result")

NOWHERE = 2**62
"""The epoch of ranks that are where the others are."""

INSTALL = "pip install mpi4py mpich"


class Team(Alone):
    """The ranks of a communicator of MPI, for one training.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    deterministic : bool
        Whether sums are taken in the order of the ranks, by all of them in the same way. Otherwise in the order that
        the MPI library finds quickest, which may differ from one network, or library, to another.

    Attributes
    ----------
    rank, size : int
    first, total : int
        Which of all samples is the first one of this rank, and how many there are.
    told : bool
        Whether all ranks know that the training has failed.
    epoch : int
        In which it then was that a rank failed, if it was not where the others are.
    """

    many = True

    def __init__(self, comm: Any, deterministic: bool) -> None:
        from mpi4py import MPI

        self._mpi, self._deterministic = MPI, deterministic
        self.comm = comm.Dup()  # So that messages of the caller's are never taken for ours.
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.told, self.epoch = False, NOWHERE
        self._interrupted = self._local = False
        self.total = 0
        self._flags = np.zeros(3, np.int64)
        self._devices: Devices | None = None

    @property
    def description(self) -> str:
        """How many they are, and how they add up."""
        how = "in their order" if self._deterministic else "by MPI"
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

    def count(self, n: int) -> int:
        """Return how many samples all ranks have together, and note where those of this one begin."""
        self.agree()
        counts = self.comm.allgather(n)
        self.first, self.total = sum(counts[: self.rank]), sum(counts)
        return self.total

    def in_order(self, n_epochs: int, n_visits: int) -> NDArray[np.int64] | None:
        """Return the order of samples that are not shuffled: that of the ranks, and of their samples as they lie."""
        return np.broadcast_to(np.arange(n_visits), (n_epochs, n_visits))

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

    def moments(self, mean: Any, deviation: Any, counts: Any) -> tuple[Any, Any]:
        """Return the mean and the standard deviation of columns of the samples of all ranks, from those of each.

        ``counts`` tells of how many numbers they are, (1,) or (n_columns,).
        """
        namespace = numpy_namespace(mean)
        own = [np.asarray(part.get() if hasattr(part, "get") else part) for part in (mean, deviation, counts)]
        self.agree()
        every = self.comm.allgather(own)
        means, deviations, counts = (np.array(part, np.float64) for part in zip(*every, strict=True))
        return tuple(map(namespace.asarray, moments_of_parts(means, deviations, counts)))

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
        if self._deterministic:
            return "deterministic"  # NCCL has an order of its own.
        own = place_of(backend, self._mpi.Get_processor_name())
        self.agree()
        hindered = obstacle(self.comm.allgather(own))
        if not hindered and self._devices is None:
            key = self.on_first(lambda: nccl_of(backend).get_unique_id())
            self._devices = Devices(backend, self.size, self.rank, key)
        return hindered

    def round(self, buffer: Array, work: Callable[[], None]) -> None:
        """Let each rank work, and then replace ``buffer`` by the sum of those of all ranks.

        In host memory its last element is how ranks tell each other that they have failed: then all raise. A device
        may be what has failed, and could not tell: of what lies there, the roll is called before it is summed.
        """
        trouble = None
        try:
            work()
        except BaseException as error:
            trouble = error
        if not isinstance(buffer, np.ndarray):
            assert self._devices is not None, "ranks meet before they sum what lies on their GPUs"
            self.agree(trouble=trouble)
            self._devices.add(buffer)
            return
        trouble = self._any_trouble(trouble)
        buffer[-1] = trouble is not None
        self._sum(buffer)
        if buffer[-1] != 0:
            self._end(trouble)

    def _sum(self, buffer: NDArray[Any]) -> None:
        if not self._deterministic:
            self.comm.Allreduce(self._mpi.IN_PLACE, buffer, op=self._mpi.SUM)
            return
        parts = np.empty((self.size, buffer.size), buffer.dtype) if self.rank == 0 else None
        self.comm.Gather(buffer, parts)
        if parts is not None:
            buffer[...] = np.add.reduce(parts, axis=0, dtype=np.float64)  # Row after row.
        self.comm.Bcast(buffer)

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


def session_of(comm: Any, deterministic: bool = True) -> AbstractContextManager[Alone]:
    """Return a context with the team of a communicator; of a process alone, if there is none."""
    return nullcontext(ALONE) if comm is None else team_of(comm, deterministic).session()


def team_of(comm: Any, deterministic: bool) -> Team:
    """Return the team of a communicator.

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
    return Team(comm, deterministic)
