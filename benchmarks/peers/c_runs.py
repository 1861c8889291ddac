"""The network in C, compiled for its exact sizes by this machine's ``cc``: the yardstick for tiny nets."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.problem import Problem
from benchmarks.workloads import Workload

SOURCE = Path(__file__).with_name("train.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
REALS = {"float64": ("double", ctypes.c_double), "float32": ("float", ctypes.c_float)}


def compiled(workload: Workload) -> Any:
    """Return the function ``train`` for the sizes of a workload.

    Raises
    ------
    RuntimeError
        If the compiler refuses; the message has what it said.
    """
    names = ("N_IN", "N_OUT") if len(workload.sizes) == 2 else ("N_IN", "N_HIDDEN", "N_OUT")
    sizes = dict(zip(names, workload.sizes, strict=True))
    real, c_type = REALS[workload.dtype]
    macros = [f"-D{name}={value}" for name, value in {**sizes, "BATCH": workload.rows, "REAL": real}.items()]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "train.so")
        command = ["cc", *FLAGS, *macros, str(SOURCE), "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cc expects to compile {SOURCE.name}; it said:\n{done.stderr}")
        train = ctypes.CDLL(str(library)).train
    train.restype = c_type
    train.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 2 + [c_type]
    return train


class Train:
    """One call of C for all epochs."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        self.train = compiled(problem.workload)

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
