"""Worker: one library in a process of its own, so that neither threads, settings nor memory of two libraries mix.

The parent says how many epochs to run and gets back how long they took; between its runs a worker waits on a pipe and
takes no processor time.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from benchmarks.peers import PEERS
from benchmarks.workloads import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREAD_VARIABLES = (
    "TINYNET_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)


class PeerFailed(RuntimeError):
    """A library raised an error in its process; the message has its traceback."""


def settings(threads: int, device: str = "cpu") -> dict[str, str]:
    """Return the environment that holds every library to a number of threads, or to the memory of a GPU it needs."""
    if device == "gpu":
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    settings = dict.fromkeys(THREAD_VARIABLES, str(threads))
    if threads == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return settings


class Worker:
    """A process that runs one workload with one library.

    Parameters
    ----------
    name : str
        Of the peer.
    workload : Workload
    threads : int
    environment : dict, optional
        More variables for the process.
    device : {"cpu", "gpu"}
        Where the library computes. With a GPU it has all cores of the processor for what it does there.
    **options
        For the runner: tinynet's takes ``backend``.

    Attributes
    ----------
    import_seconds, prepare_seconds : float
        What the import of the library took, and what making the network did.
    source : str
        Where the data come from.

    Raises
    ------
    PeerFailed
        If the library cannot be imported or refuses the workload.
    """

    def __init__(
        self,
        name: str,
        workload: Workload,
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self.name = name
        if device == "gpu" and name != "tinynet":
            options["device"] = device
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(far_end, name, workload, threads, device, options),
            name=f"{name}: {workload.id}",
            daemon=True,
        )
        with _environment({**settings(threads, device), **(environment or {})}):
            self._process.start()
        far_end.close()
        try:
            self.import_seconds, self.prepare_seconds, self.source = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, n: int) -> float:
        """Start again from the initial weights, run ``n`` epochs, and return the seconds that they took."""
        seconds: float = self._ask("run", n)
        return seconds

    def result(self) -> NDArray[Any]:
        """Return what the last run led to."""
        found: NDArray[Any] = self._ask("result")
        return found

    def about(self) -> str:
        """Return the version and settings of the library."""
        text: str = self._ask("about")
        return text

    def peak_bytes(self) -> int | None:
        """Return the most memory that the process has held, or None where the system does not tell."""
        found: int | None = self._ask("peak")
        return found

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, what: str, *arguments: Any) -> Any:
        self._pipe.send((what, *arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            good, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise PeerFailed(f"{self.name} ended with exit code {self._process.exitcode}") from None
        if not good:
            raise PeerFailed(value)
        return value

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Change the environment for a while; processes that are started meanwhile inherit it."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(
    pipe: Connection, name: str, workload: Workload, threads: int, device: str, options: Mapping[str, Any]
) -> None:
    """Answer the parent until it hangs up. Errors go to the parent, which decides what they mean."""
    try:
        if device == "cpu":
            _pin(threads)
        runner, opening = _opened(name, workload, threads, device, options)
        pipe.send((True, opening))
        answers = {"run": partial(_timed, runner), "result": runner.result, "about": runner.about, "peak": _peak_bytes}
        while True:
            what, *arguments = pipe.recv()
            pipe.send((True, answers[what](*arguments)))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception:
        pipe.send((False, traceback.format_exc()))


def _opened(name: str, workload: Workload, threads: int, device: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Import the library, make the data and the runner; return the runner, and what is told about the opening."""
    peer = PEERS[name]
    started = time.perf_counter()
    for package in peer.needs(device):
        importlib.import_module(package)
    # Some packages import most of what they have when it is first used, which is what a runner names.
    make = peer.load(workload, device)
    imported = time.perf_counter() - started
    from benchmarks.problem import problem_of

    problem = problem_of(workload)
    started = time.perf_counter()
    runner = make(problem, threads, **options)
    return runner, (imported, time.perf_counter() - started, problem.source)


def _timed(runner: Any, n: int) -> float:
    runner.reset()
    gc.collect()
    started = time.perf_counter()
    runner.run(n)
    return time.perf_counter() - started


def _pin(threads: int) -> None:
    """Stay on as many cores as there are threads: some libraries count cores and read no variable.

    Workers of one parent share their cores, so that a pair meets the same conditions; those of another parent get
    others, where there are any.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        first = os.getppid() % len(cores)
        os.sched_setaffinity(0, [*cores[first:], *cores[:first]][:threads])


def _peak_bytes() -> int | None:
    # On Linux, getrusage would count what the parent held before it became this process.
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) * 1024 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
