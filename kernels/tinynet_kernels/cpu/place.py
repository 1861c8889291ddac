"""Where compiled code is kept."""

from __future__ import annotations

import os
from pathlib import Path


def place() -> Path | None:
    """Return the folder for compiled code, which need not exist; None where the user has none.

    ``TINYNET_CACHE_DIR``, else a folder in the user's cache folder, which is the system's business: ``XDG_CACHE_HOME``
    and ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows. A user without a home, as
    in some containers, has none.
    """
    chosen = os.environ.get("TINYNET_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    from platformdirs import user_cache_path

    try:
        found = user_cache_path("tinynet", appauthor=False)
    except RuntimeError:
        return None
    # Older versions return "~/.cache" for a user without a home, and a relative XDG_CACHE_HOME as it is.
    return found if found.is_absolute() else None
