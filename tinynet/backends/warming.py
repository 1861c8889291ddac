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
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, FloatArray, Members, Plan, State
from tinynet.backends.fused import FusedForward
from tinynet.backends.loop import LoopPlan
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
            [sys.executable, "-c", "from tinynet.backends.warming import rehearse; rehearse()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
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
        with self._process.stderr as pipe:
            said = b"" if pipe.closed else pipe.read()
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


def rehearse() -> None:
    """Read what to do from standard input, and do it: this is all that the other process runs."""
    program, method, arguments, writeable = pickle.load(sys.stdin.buffer)
    for argument, may_write in zip(arguments, writeable, strict=True):
        if isinstance(argument, np.ndarray):
            argument.flags.writeable = may_write
    from tinynet.backends import get_backend

    backend = get_backend("numba")
    state = backend.new_state(program, np.zeros(program.n_parameters))
    getattr(backend.plan(program), method)(state, *arguments)


class WarmingPlan(Plan):
    """Kernel by kernel with the reference kernels until a fused plan is compiled, then that.

    Parameters
    ----------
    fused : FusedForward
    loop : LoopPlan
        Of the same program, on kernels that need no compiling.
    """

    def __init__(self, fused: FusedForward, loop: LoopPlan) -> None:
        self.program, self.fused, self.loop = fused.program, fused, loop
        self.description = f"{fused.description} (kernel by kernel until that is compiled in the background)"
        self._rehearsals: dict[str, Rehearsal | None] = {}

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
            ready = self._rehearsals.get("predict", self.loop) is None
            return quick(x) if ready else None

        return predict

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        return self.loop.gradient(state, x, y, sample_weight)

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        weight = None if sample_weight is None else sample_weight[:REHEARSAL_ROWS]
        few = (x[:REHEARSAL_ROWS], y[:REHEARSAL_ROWS], weight)
        return float(self._chosen("evaluate", few).evaluate(state, x, y, sample_weight))

    def wait(self) -> None:
        """Wait until everything that is being compiled is."""
        for rehearsal in self._rehearsals.values():
            if rehearsal is not None:
                rehearsal.wait()

    def _chosen(self, method: str, few: tuple[Any, ...]) -> Plan:
        """Return the plan to call now; the first call of a method has it compiled."""
        if method not in self._rehearsals:
            ready = self.fused.on_disk(method, few)
            self._rehearsals[method] = None if ready else Rehearsal(self.program, method, few)
        rehearsal = self._rehearsals[method]
        if rehearsal is not None and rehearsal.over():
            rehearsal = self._rehearsals[method] = None
        return self.fused if rehearsal is None else self.loop
