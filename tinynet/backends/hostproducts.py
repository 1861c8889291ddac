"""How many threads the matrix products in host memory take."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from tinynet.base import config

ALONE = 9216
"""Multiplications up to which OpenBLAS takes one thread by itself."""

REPAID = 1 << 25
"""Multiplications of a product above which threads are left to the BLAS library. Its threads wait for one another
in a loop that keeps their cores busy, so that small products take longer in wall time, and far longer in CPU time."""


def for_products(size: int) -> AbstractContextManager[None]:
    """Return a context for products of up to ``size`` multiplications; see ``Backend.for_products``."""
    return nullcontext() if size <= ALONE else at_most(1 if size <= REPAID else config.chosen_threads())


def at_most(n: int | None) -> AbstractContextManager[None]:
    """Return a context in which products use ``n`` threads; None leaves what is in force."""
    from tinynet_kernels import blas_threads

    return blas_threads.at_most(n)
