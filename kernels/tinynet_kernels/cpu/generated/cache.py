"""The cache: object files that were compiled before, on disk.

A file is named by a digest of all that its content depends on, and begins with a digest of the content. Whatever is
wrong with the folder or a file (damaged, cut off, not ours, read-only, full, deleted meanwhile), the code is compiled
again: a cache may save time, and must never cost a result. So whatever the system reports here is passed over.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

MARK = b"tinynet object 1\n"


@cache
def sources_digest() -> str:
    """Return a digest of all that writes the code: another generator, other names of files."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    outside = [package.parents[1] / name for name in ("expressions.py", "formulas.py")]
    for path in [*sorted(package.glob("*.py")), *outside]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def name_of(*parts: str) -> str:
    """Return the name of the file for what these parts make up."""
    return hashlib.sha256("\0".join((sources_digest(), *parts)).encode()).hexdigest()[:40] + ".o"


def bases() -> list[Path]:
    """Return where the cache may be: ``TINYNET_CACHE_DIR``, else the user's cache folder."""
    chosen = os.environ.get("TINYNET_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.path.expanduser(root))
    # Without a home there is no such folder.
    return [path / "tinynet"] if path.is_absolute() else []


def folder() -> Path | None:
    """Return the folder of the object files, which need not exist yet."""
    found = bases()
    return found[0] / "objects" if found else None


def read(name: str) -> bytes | None:
    """Return what was kept under a name; None if there is nothing that can be trusted."""
    place = folder()
    if place is None:
        return None
    try:
        content = (place / name).read_bytes()
    except OSError:
        return None
    head = len(MARK) + 32
    if content[: len(MARK)] != MARK or hashlib.sha256(content[head:]).digest() != content[len(MARK) : head]:
        return None
    return content[head:]


def write(name: str, content: bytes) -> None:
    """Keep something under a name, whole or not at all: other processes may read and write it at the same time."""
    place = folder()
    if place is None:
        return
    temporary = None
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(MARK + hashlib.sha256(content).digest() + content)
            file.flush()
            # Else a crash of the machine could leave the name and not the content.
            os.fsync(file.fileno())
        os.replace(temporary, place / name)
    except OSError:
        # No room, no right to write, or a folder in the file's place. The next process compiles again.
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
