"""Files that are replaced whole or not at all, and the places where they can be written."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tinynet.exchange.remote import RemotePath

Path_ = str | os.PathLike[str]

PREFIX, SUFFIX = ".tinynet-", ".tmp"
"""How the name of a temporary file begins and ends. It does not hold that of the file, which may fill all the bytes
that a file system has for a name."""

WINDOWS = sys.platform == "win32"

WAITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to replace a file that another process holds open on Windows: virus scanners, indexers and
readers let go of it soon."""


@contextmanager
def atomic_open(path: Path_) -> Iterator[IO[bytes]]:
    """Open a file that replaces ``path`` only once it is written whole and has reached the disk.

    The mode of an existing file is kept; a symbolic link is written through. On any error, the file that was there
    stays as it was; there is no error any more once it is replaced.
    """
    if isinstance(path, RemotePath):
        with path.replaced(temporary_name()) as content:
            yield content
        return
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
        if not stat.S_ISREG(mode):
            raise FileExistsError(f"{os.fspath(path)!r} is there and is no regular file; choose another path.")
        mode = stat.S_IMODE(mode)
    except FileNotFoundError:
        mode = 0o666 & ~_umask()
    file = _temporary_beside(target, path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, mode)
        _replace(file.name, target)
    except BaseException:
        with suppress(FileNotFoundError):  # An interruption may come when it has its new name already.
            os.unlink(file.name)
        raise
    _sync_folder(target.parent)


def temporary_name() -> str:
    """Return a name that no other file has, to write under until a file is whole."""
    return f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"


def is_temporary(path: Path | RemotePath) -> bool:
    """Tell whether a file is what ``atomic_open`` was writing when its process was killed."""
    return path.name.startswith(PREFIX) and path.name.endswith(SUFFIX)


def require_place(name: str, path: Path_) -> None:
    """Raise OSError if a file at ``path`` could not be written or replaced: now, and not after hours of work.

    Parameters
    ----------
    name : str
        Who writes there, for the message.
    path : path

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
            f"{name} expects a file in an existing folder; {str(folder)!r} is not there. Create it."
        )
    if target.exists() and not target.is_file():
        kind = "folder" if target.is_dir() else "device"
        raise OSError(f"{name} expects the name of a file; {os.fspath(path)!r} is a {kind}. Give another name.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{name} expects a folder that can be written to; {str(folder)!r} cannot.")


def _temporary_beside(target: Path, path: Path_) -> IO[bytes]:
    """Open a temporary file in the folder of ``target``; errors are about ``path``, which the user knows."""
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(path)!r} expects an existing folder; got {str(target.parent)!r}, which is not there. "
            "Create it first."
        )
    try:
        return open(target.parent / temporary_name(), "xb", opener=_opened_for_one)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _opened_for_one(path: str, flags: int) -> int:
    """Open a file that nobody else may read before it has the mode of the one that it replaces."""
    return os.open(path, flags, 0o600)


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _replace(temporary: str, target: Path) -> None:
    """Rename a file; on Windows, wait for a while for others who have the old one open."""
    for wait in WAITS if WINDOWS else ():
        try:
            return os.replace(temporary, target)
        except PermissionError:
            time.sleep(wait)
    os.replace(temporary, target)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where folders can be opened and synced, and else leave that to the file system.

    Windows opens no folders, some network file systems sync none, and a folder may be writable and not readable. The
    new file is in its place by now: whoever was told of an error would take the old one to be there.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
