"""How many threads a fit may take: few where joblib already keeps the cores busy."""

from __future__ import annotations

import os
import threading

from joblib.parallel import get_active_backend

from tinynet.base.config import chosen_threads

WORTH_THREADS = 5_000_000
"""Fewest multiplications of a forward pass through a batch that threads help with. Below, they wait for one another for
longer than they compute: a batch of 200 through 64-100-10 trains 1.2 times as fast on two threads, and four times as
slowly when a validation set is looked at between the epochs."""


def modest_threads(n_products: int) -> int | None:
    """Return how many threads to use: one for small networks, in a joblib worker no more than its share of the cores.

    None leaves it to tinynet: outside of workers, or where the user has chosen a number. joblib tells its worker
    processes their share by the environment, which it sets for Numba among others. Workers that are threads of one
    process get one thread each.

    Parameters
    ----------
    n_products : int
        Multiplications of a forward pass.

    Examples
    --------
    >>> modest_threads(1000), modest_threads(10**9)
    (1, None)
    """
    if chosen_threads() is not None:
        return None
    if n_products < WORTH_THREADS:
        return 1
    backend, _ = get_active_backend()
    if not getattr(backend, "nesting_level", 0):
        return None
    if threading.current_thread() is not threading.main_thread():
        return 1
    share = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, int(share)) if share.isdigit() else 1
