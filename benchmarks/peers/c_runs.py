"""The network in C, compiled for its exact sizes by this machine's ``cc``: the yardstick for tiny nets."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem
from benchmarks.workloads import Workload

SOURCE = Path(__file__).with_name("train.c")
MANY_SOURCE = Path(__file__).with_name("sweep.c")
LANES = 128
"""Models side by side in C: enough for its loops, few enough to stay in the cache; 16 take twice as long (measured)."""
FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
REALS = {"float64": ("double", ctypes.c_double), "float32": ("float", ctypes.c_float)}


def compiled(workload: Workload, source: Path = SOURCE, **macros: object) -> ctypes.CDLL:
    """Return the library made from a source for the sizes of a workload.

    Raises
    ------
    RuntimeError
        If the compiler refuses; the message has what it said.
    """
    names = ("N_IN", "N_OUT") if len(workload.sizes) == 2 else ("N_IN", "N_HIDDEN", "N_OUT")
    sizes = dict(zip(names, workload.sizes, strict=True))
    settings = {**sizes, "BATCH": workload.rows, "REAL": REALS[workload.dtype][0], **macros}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "train.so")
        defined = [f"-D{name}={value}" for name, value in settings.items()]
        command = ["cc", *FLAGS, *defined, str(source), "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cc expects to compile {source.name}; it said:\n{done.stderr}")
        return ctypes.CDLL(str(library))


class Train:
    """One call of C for all epochs."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        self.train = compiled(problem.workload).train
        c_type = REALS[problem.workload.dtype][1]
        self.train.restype = c_type
        self.train.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 2 + [c_type]

    def reset(self) -> None:
        """Take the initial weights."""
        self.parameters = self.problem.parameters.copy()

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        x, y = self.problem.x, self.problem.y
        places = x.ctypes.data, y.ctypes.data, self.parameters.ctypes.data
        self.loss = self.train(*places, len(x), n, self.problem.workload.learning_rate)

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        return self.parameters

    def about(self) -> str:
        """Tell the compiler and its options."""
        version = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout
        return f"{version.splitlines()[0]}; {' '.join(FLAGS[:3])}"


class TrainMany:
    """Blocks of ``LANES`` models, one call of C for each, on as many threads as are asked for."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem, self.threads = problem, threads
        self.train = compiled(problem.workload, MANY_SOURCE, LANES=LANES).train_block
        self.train.restype = None
        self.train.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 2

    def reset(self) -> None:
        """Take the initial weights, transposed in blocks; models that only fill the last block repeat the first."""
        n_models = self.problem.workload.n_models
        chosen = np.resize(np.arange(n_models), -(-n_models // LANES) * LANES).reshape(-1, LANES)
        self.blocks = np.ascontiguousarray(self.problem.parameters[chosen].transpose(0, 2, 1))
        self.rates = np.ascontiguousarray(self.problem.rates[chosen])

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        x, y = self.problem.x, self.problem.y

        def train(block: NDArray[Any], rates: NDArray[Any]) -> None:
            # ctypes releases the interpreter, so blocks run side by side.
            self.train(x.ctypes.data, y.ctypes.data, block.ctypes.data, rates.ctypes.data, len(x), n)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(train, self.blocks, self.rates))

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        n_models = self.problem.workload.n_models
        return self.blocks.transpose(0, 2, 1).reshape(-1, self.blocks.shape[1])[:n_models]

    about = Train.about
