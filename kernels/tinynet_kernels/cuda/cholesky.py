"""Solving many symmetric, positive definite systems: factors by cuSOLVER, both substitutions in one kernel."""

from collections.abc import Iterator

import cupy
import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.loading import REAL, Instance, kernel

_FILE, _NAME = "cholesky.cu", "cholesky_solve"
_THREADS = 64

RESIDUAL = 1e-6
"""Largest residual of a solution, in the largest element of the right side."""


def solve_positive(matrices: DeviceArray, vectors: DeviceArray) -> DeviceArray:
    """Return the solutions ``x`` of ``A x = b``; NaN where ``A`` is not positive definite.

    Parameters
    ----------
    matrices : (n_systems, n, n) array
        Symmetric.
    vectors : (n_systems, n) array

    Returns
    -------
    solutions : (n_systems, n) array

    Notes
    -----
    cuSOLVER gives invalid factors, and no error, where there are none. What is solved with them is seen by its
    residual.
    """
    n_systems, n = vectors.shape
    factors = cupy.ascontiguousarray(cupy.linalg.cholesky(matrices))
    solutions = vectors.copy()
    launch = kernel(_FILE, _NAME, REAL[solutions.dtype])
    launch((n_systems,), (_THREADS,), (factors, solutions, np.int64(n)))
    residuals = cupy.abs(cupy.matmul(matrices, solutions[:, :, None])[:, :, 0] - vectors).max(axis=1)
    pivots = factors.reshape(n_systems, n * n)[:, :: n + 1].min(axis=1)
    good = (residuals <= RESIDUAL * cupy.abs(vectors).max(axis=1)) & (pivots > 0)
    return cupy.where(good[:, None], solutions, cupy.full_like(solutions, np.nan))


def instances() -> Iterator[Instance]:
    """Yield every kernel that the functions of this module can launch."""
    for real in REAL.values():
        yield Instance(_FILE, _NAME, (real,))
