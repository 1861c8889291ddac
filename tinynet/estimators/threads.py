"""How many threads a fit may take: few where joblib already keeps the cores busy."""

from __future__ import annotations

import os
import threading

from joblib.parallel import get_active_backend

from tinynet.config import chosen_threads


def modest_threads() -> int | None:
    """Return the share of the cores that a joblib worker leaves to what runs in it.

    None outside of workers, and where the user has chosen a number. joblib tells its worker processes their share by
    the environment, which it sets for Numba among others. Workers that are threads of one process get one thread each.

    Examples
    --------
    >>> modest_threads() is None
    True
    """
    backend, _ = get_active_backend()
    if chosen_threads() is not None or not getattr(backend, "nesting_level", 0):
        return None
    if threading.current_thread() is not threading.main_thread():
        return 1
    share = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, int(share)) if share.isdigit() else 1
