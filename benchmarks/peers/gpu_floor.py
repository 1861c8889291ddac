"""What no implementation gets below on a GPU: the matrix products of a training step at cuBLAS's rate."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cuda.products import product

from benchmarks.problem import Problem


class Products:
    """Exactly the matrix products of an epoch in the workload's precision, and nothing else."""

    def __init__(self, problem: Problem, threads: int, device: str = "gpu") -> None:
        self.problem = problem
        workload = problem.workload
        rng = np.random.default_rng(0)

        def array(*shape: int) -> Any:
            return cupy.asarray(rng.normal(size=shape).astype(workload.dtype))

        self.products: list[tuple[Any, Any, Any]] = []
        for place, (n_in, n_out) in enumerate(pairwise(workload.sizes)):
            x, w, dz = array(workload.rows, n_in), array(n_in, n_out), array(workload.rows, n_out)
            self.products += [(x, w, cupy.empty_like(dz)), (x.T, dz, cupy.empty_like(w))]
            if place > 0:
                self.products.append((dz, w.T, cupy.empty_like(x)))

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Compute the products of ``n`` epochs."""
        precision = self.problem.workload.precision
        for _ in range(n * self.problem.workload.n_updates):
            for a, b, out in self.products:
                product(a, b, out, precision)
        cupy.cuda.get_current_stream().synchronize()

    def result(self) -> NDArray[Any]:
        """Return nothing to compare: this trains no network."""
        return np.empty(0)

    def about(self) -> str:
        """Tell how many operations an update takes."""
        flops = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in self.products)
        return f"{flops} floating-point operations in the {len(self.products)} matrix products of an update"


def copy_bandwidth(n_bytes: int = 1 << 30, repeats: int = 5) -> list[float]:
    """Return the bytes that a large copy in a GPU's memory reads and writes in a second, once for each repeat."""
    source = cupy.zeros(n_bytes // 8, dtype="float64")
    target = cupy.empty_like(source)
    rates = []
    for _ in range(1 + repeats):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        target[...] = source
        end.record()
        end.synchronize()
        rates.append(2 * n_bytes / (cupy.cuda.get_elapsed_time(begin, end) / 1e3))
    return rates[1:]
