"""What a core can do at most: multiply-adds in a loop with nothing else, and the products of BLAS beside it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from tinynet_kernels.cpu.generated import compiler
from tinynet_kernels.cpu.generated.ir import Code, Module, Value
from tinynet_kernels.cpu.generated.ir_types import I64, POINTER
from tinynet_kernels.cpu.generated.target import Target

from benchmarks.workloads import Workload
from tinynet.backends import get_backend

CHAINS = 12
"""Sums under way: two units that take four or five cycles for a multiply-add want eight to ten."""

SECONDS, REPEATS = 0.05, 7
BLAS_SIZE = 512
MULTIPLY_ADDS, BLAS = "multiply-adds", "BLAS"


def rates(seconds: float = SECONDS) -> dict[str, dict[str, list[float]]]:
    """Return operations in a second of one core, by dtype and by what does them, in turn.

    Examples
    --------
    >>> {name: sorted(kinds) for name, kinds in rates(0.001).items()}
    {'float32': ['BLAS', 'multiply-adds'], 'float64': ['BLAS', 'multiply-adds']}
    """
    found: dict[str, dict[str, list[float]]] = {}
    with get_backend("numpy").using_threads(1):
        for dtype in ("float32", "float64"):
            contenders = {MULTIPLY_ADDS: _multiply_adds(dtype), BLAS: _blas(dtype)}
            found[dtype] = {name: [] for name in contenders}
            for run in contenders.values():
                run(seconds)
            for _ in range(REPEATS):
                for name, run in contenders.items():
                    found[dtype][name].append(run(seconds))
    return found


def operations(workload: Workload) -> int:
    """Return the multiplications and additions in the matrix products of an update.

    Examples
    --------
    >>> from benchmarks.workloads import WORKLOADS
    >>> operations(WORKLOADS["fashion"]) == 2 * 128 * (2 * 784 * 256 + 3 * 256 * 10)
    True
    """
    layers = enumerate(pairwise(workload.sizes))
    return sum(2 * workload.rows * n_in * n_out * (2 + (place > 0)) for place, (n_in, n_out) in layers)


def instructions(target: Target) -> str:
    """Return a word for the widest registers of a processor.

    Examples
    --------
    >>> instructions(Target.of("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx,+avx2,+fma"))
    'avx2'
    """
    if not target.triple.startswith("x86_64"):
        return "neon" if target.triple.startswith(("aarch64", "arm64")) else "plain"
    return {64: "avx512", 32: "avx2" if "+avx2" in target.features else "avx"}.get(target.vector_bytes, "sse")


def _multiply_adds(dtype: str) -> Callable[[float], float]:
    """Return what runs the loop for about so long, and returns its rate."""
    target = compiler.host()
    module = Module(target, dtype)

    def body(code: Code, numbers: Value, count: Value) -> None:
        x, y = (code.load(code.at(numbers, row * target.vector_bytes), module.row) for row in (0, 1))
        turns = code.load(code.at(count, 0, I64), I64)
        sums = code.loop(0, turns, 1, lambda _, *sums: [code.fma(x, y, each) for each in sums], *[x] * CHAINS)
        for row, each in enumerate(sums):
            code.store(each, code.at(numbers, row * target.vector_bytes))

    name = f"tinynet_peak_{dtype}"
    module.function(name, [POINTER, POINTER], body)
    (address,) = compiler.load([compiler.to_object(module.text(), target)], [name])
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)
    numbers, turns = np.zeros(CHAINS * target.vector_bytes // np.dtype(dtype).itemsize, dtype), np.array([1 << 16])

    def run(seconds: float) -> float:
        n = turns[0] * CHAINS * module.lanes * 2
        return _rate(lambda: function(numbers.ctypes.data, turns.ctypes.data), float(n), seconds)

    return run


def _blas(dtype: str) -> Callable[[float], float]:
    a, b = np.random.default_rng(0).normal(size=(2, BLAS_SIZE, BLAS_SIZE)).astype(dtype)
    out = np.empty_like(a)
    return lambda seconds: _rate(lambda: np.matmul(a, b, out=out), 2.0 * BLAS_SIZE**3, seconds)


def _rate(call: Callable[[], object], n: float, seconds: float) -> float:
    """Return operations in a second, over as many calls as fit."""
    calls, started = 0, time.perf_counter()
    while not calls or time.perf_counter() - started < seconds:
        call()
        calls += 1
    return calls * n / (time.perf_counter() - started)
