"""What no implementation gets below: the matrix products of a training step; one call of a compiled function."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem


class Products:
    """Exactly the matrix products of an epoch, at the rate at which NumPy's BLAS does them here, and nothing else."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        workload = problem.workload
        rng = np.random.default_rng(0)

        def array(*shape: int) -> NDArray[Any]:
            return rng.normal(size=shape).astype(workload.dtype)

        self.products: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        for place, (n_in, n_out) in enumerate(pairwise(workload.sizes)):
            x, w, dz = array(workload.rows, n_in), array(n_in, n_out), array(workload.rows, n_out)
            self.products += [(x, w, np.empty_like(dz)), (x.T, dz, np.empty_like(w))]
            if place > 0:
                self.products.append((dz, w.T, np.empty_like(x)))

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Compute the products of ``n`` epochs."""
        for _ in range(n * self.problem.workload.n_updates):
            for a, b, out in self.products:
                np.matmul(a, b, out=out)

    def result(self) -> NDArray[Any]:
        """Return nothing to compare: this trains no network."""
        return np.empty(0)

    def about(self) -> str:
        """Tell how many operations an update takes."""
        flops = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in self.products)
        return f"{flops} floating-point operations in the {len(self.products)} matrix products of an update"


@numba.njit
def _touch(x: NDArray[Any], parameters: NDArray[Any], out: NDArray[Any]) -> None:
    """Do next to nothing with three arrays: what is left is the cost of the call."""
    out[0, 0] = x[0, 0] + parameters[0]


class BareCall:
    """One call from Python of a compiled function that takes three arrays."""

    def __init__(self, problem: Problem, threads: int) -> None:
        workload = problem.workload
        self.x, self.parameters = problem.x[:1], problem.parameters
        self.out = np.zeros((1, workload.sizes[-1]), workload.dtype)

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Call ``n`` times."""
        x, parameters, out = self.x, self.parameters, self.out
        for _ in range(n):
            _touch(x, parameters, out)

    def result(self) -> NDArray[Any]:
        """Return nothing to compare: this computes no network."""
        return np.empty(0)

    def about(self) -> str:
        """Tell what this is."""
        return "one call of a Numba function with three arrays"
