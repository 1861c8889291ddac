"""Training and predicting at once while a specialised function compiles in another process.

For a new kind of network Numba compiles for some seconds. With ``TINYNET_COMPILE=background`` another process does it,
into the cache on disk, and until then the reference kernels compute, which need no compiling. Both agree to rounding
only, so a run then depends on when the change happened: the default is to wait.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.compiling import Kernel, on_disk

from tinynet.backends.base import Array, FloatArray, Members, Plan, State
from tinynet.backends.loop import LoopPlan
from tinynet.backends.numba.fused import FusedForward
from tinynet.base.arrays import is_plain
from tinynet.program import Program

REHEARSAL_ROWS = 1
"""Rows of the data that the other process gets: it needs their types, not their values."""


class Rehearsal:
    """A process that calls one method of a fused plan once, so that its machine code is on disk.

    Parameters
    ----------
    program : Program
    method : {"run", "predict", "evaluate"}
    arguments : tuple
        What the method takes after the state, with as many rows as suffice.
    """

    def __init__(self, program: Program, method: str, arguments: tuple[Any, ...]) -> None:
        from tinynet_kernels.cpu.fused import cache_folder

        writeable = [getattr(getattr(argument, "flags", None), "writeable", True) for argument in arguments]
        environment = {**os.environ, "TINYNET_CACHE_DIR": str(cache_folder().parent), "TINYNET_COMPILE": "wait"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tinynet.backends.numba.warming import rehearse; rehearse()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._told = False
        assert self._process.stdin is not None
        # Pickle is for this process and the one that it started; nothing is read from a file.
        # If the other one died at once, `over` tells why.
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pickle.dump((program, method, arguments, writeable), pipe)

    def over(self) -> bool:
        """Whether the process has ended. If it failed, a warning tells why; this process then compiles by itself."""
        if self._process.poll() is None:
            return False
        assert self._process.stderr is not None
        with _LOCK:
            told, self._told = self._told, True
        if told:
            return True
        with self._process.stderr as pipe:
            said = pipe.read()
        if self._process.returncode != 0:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
            warnings.warn(
                f"Compiling in the background failed (exit status {self._process.returncode}: {last[0]}), so this "
                "process compiles now. Set TINYNET_COMPILE=wait to compile here from the start.",
                stacklevel=2,
            )
        return True

    def wait(self) -> None:
        """Wait until the process has ended."""
        self._process.wait()


_LOCK = threading.Lock()
_STARTED: dict[Kernel, Rehearsal] = {}


def rehearsal_of(function: Kernel, program: Program, method: str, arguments: tuple[Any, ...]) -> Rehearsal:
    """Return the process that compiles a function; one is enough for all the plans, and threads, that wait for it."""
    with _LOCK:
        if function not in _STARTED:
            _STARTED[function] = Rehearsal(program, method, arguments)
        return _STARTED[function]


def rehearse() -> None:
    """Read what to do from standard input, and do it: this is all that the other process runs."""
    program, method, arguments, writeable = pickle.load(sys.stdin.buffer)
    # Copies, for what lies in the bytes of the pickle itself can never be written to.
    arguments = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]
    for argument, may_write in zip(arguments, writeable, strict=True):
        if isinstance(argument, np.ndarray):
            argument.flags.writeable = may_write
    from tinynet.backends import get_backend

    backend = get_backend("numba")
    state = backend.new_state(program, np.zeros(program.n_parameters))
    getattr(backend.plan(program), method)(state, *arguments)


class WarmingPlan(Plan):
    """Runs one plan until the functions of another are compiled, then that; each method by itself.

    Parameters
    ----------
    fused : FusedForward
    meanwhile : LoopPlan
        Of the same program, on kernels that need no compiling.
    """

    def __init__(self, fused: FusedForward, meanwhile: LoopPlan) -> None:
        self.program, self.fused, self.meanwhile = fused.program, fused, meanwhile
        self.description = f"{fused.description} (kernel by kernel until that is compiled in the background)"
        self._rehearsals: dict[str, Rehearsal | None] = {}

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        return self.meanwhile.gradient(state, x, y, sample_weight)

    def wait(self) -> None:
        """Wait until everything that is being compiled is."""
        for rehearsal in self._rehearsals.values():
            if rehearsal is not None:
                rehearsal.wait()

    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
        members: Members | None = None,
    ) -> NDArray[np.float64]:
        """Train; see ``Plan.run``."""
        weight = None if sample_weight is None else sample_weight[:REHEARSAL_ROWS]
        places = None if order is None else order[:0]
        # No epoch is run: the call alone compiles.
        few = (x[:REHEARSAL_ROWS], y[:REHEARSAL_ROWS], places, learning_rates[:0], weight)
        return self._chosen("run", few).run(state, x, y, order, learning_rates, sample_weight)

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output; see ``Plan.predict``."""
        few = (x[:REHEARSAL_ROWS], out[:REHEARSAL_ROWS])
        return self._chosen("predict", few).predict(state, x, out)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        quick = self.fused.predictor(state)

        def predict(x: Any) -> Array | None:
            ready = "predict" in self._rehearsals and self._rehearsals["predict"] is None
            return quick(x) if ready else None

        return predict

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        weight = None if sample_weight is None else sample_weight[:REHEARSAL_ROWS]
        few = (x[:REHEARSAL_ROWS], y[:REHEARSAL_ROWS], weight)
        return float(self._chosen("evaluate", few).evaluate(state, x, y, sample_weight))

    def _chosen(self, method: str, few: tuple[Any, ...]) -> Plan:
        """Return the plan to call now; the first call of a method has it compiled.

        Data that the function would not read (samples, and targets after them) wait for nothing.
        """
        if not all(map(is_plain, few[: 1 if method == "predict" else 2])):
            return self.meanwhile
        if method not in self._rehearsals:
            function = self.fused.function_for(method, few)
            ready = on_disk(function)
            self._rehearsals[method] = None if ready else rehearsal_of(function, self.program, method, few)
        rehearsal = self._rehearsals[method]
        if rehearsal is not None and rehearsal.over():
            rehearsal = self._rehearsals[method] = None
        return self.fused if rehearsal is None else self.meanwhile
