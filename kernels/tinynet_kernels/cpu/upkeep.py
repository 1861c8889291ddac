"""Upkeep of the folder for compiled code: what it holds, whether it can be written, and emptying it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinynet_kernels.cpu.place import place

OBJECTS = re.compile(r"[0-9a-f]{40}\.o|\w+\.tmp")
"""Files in ``objects``: code that this package generates, and what a process that was killed had begun to write."""


class Holding(NamedTuple):
    """What a folder for compiled code holds.

    Attributes
    ----------
    folder : Path or None
        None: there is no place for it.
    n_files, n_bytes : int
    problem : str
        Why nothing can be written there; empty if it can.
    """

    folder: Path | None
    n_files: int
    n_bytes: int
    problem: str


def holding() -> Holding:
    """Return what the folder holds. Nothing is left in it, nor made where it is not there yet."""
    folder = place()
    if folder is None:
        return Holding(None, 0, 0, "this user has no folder for caches; set TINYNET_CACHE_DIR to one")
    sizes = [path.stat().st_size for path in _files(folder)]
    return Holding(folder, len(sizes), sum(sizes), _problem(folder))


def clear() -> Holding:
    """Delete compiled code, and nothing else that may be in the folder; return what was there.

    Processes that run have their code in memory, and compile anew what they have not.

    Raises
    ------
    OSError
        If something cannot be deleted.
    """
    found = holding()
    if found.folder is not None:
        for path in _files(found.folder):
            path.unlink(missing_ok=True)
    return found


def _files(folder: Path) -> Iterator[Path]:
    objects = folder / "objects"
    entries = sorted(objects.iterdir()) if objects.is_dir() else []
    yield from (path for path in entries if OBJECTS.fullmatch(path.name) and path.is_file())


def _problem(folder: Path) -> str:
    """Try to write to the folder, or where it would be made."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        return f"{error.strerror or error}: {folder}"
    return ""
