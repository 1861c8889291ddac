"""Places to write to: checked before the work, not after hours of it."""

from __future__ import annotations

import os
from pathlib import Path


def require_place(option: str, path: str | os.PathLike[str]) -> None:
    """Raise OSError if a file at ``path`` could not be written or replaced.

    Raises
    ------
    FileNotFoundError
        If the folder is missing.
    OSError
        If ``path`` is a folder or a device.
    PermissionError
        If the folder is not writable.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{option} expects a file in an existing folder; {str(folder)!r} is not there. Create it."
        )
    if target.exists() and not target.is_file():
        kind = "folder" if target.is_dir() else "device"
        raise OSError(f"{option} expects the name of a file; {os.fspath(path)!r} is a {kind}. Give another name.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{option} expects a folder that can be written to; {str(folder)!r} cannot.")
