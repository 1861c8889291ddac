"""The cache: object files that were compiled before, on disk.

A file is named by a digest of all that its content depends on, and begins with a digest of the content. Whatever is
wrong with the folder or a file (damaged, cut off, not ours, read-only, full, deleted meanwhile), the code is compiled
again: a cache may save time, and must never cost a result. So whatever the system reports here is passed over.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from tinynet_kernels.cpu.place import place

MARK = b"tinynet object 3\n"


@cache
def sources_digest() -> str:
    """Return a digest of all that writes the code: another generator, other names of files."""
    # Every process does this, and pathlib would take twice as long as to read the files.
    package = os.path.dirname(__file__)
    top = os.path.dirname(os.path.dirname(package))
    folders = [*os.walk(package), (top, [], os.listdir(top))]
    paths = [os.path.join(folder, name) for folder, _, names in folders for name in names if name.endswith(".py")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb") as file:
            digest.update(path[len(top) :].replace(os.sep, "/").encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()


def name_of(*parts: str) -> str:
    """Return the name of the file for what these parts make up."""
    return hashlib.sha256("\0".join((sources_digest(), *parts)).encode()).hexdigest()[:40] + ".o"


def folder() -> Path | None:
    """Return the folder of the object files, which need not exist yet."""
    found = place()
    return None if found is None else found / "objects"


def read(name: str) -> bytes | None:
    """Return what was kept under a name; None if there is nothing that can be trusted."""
    found = folder()
    if found is None:
        return None
    try:
        content = (found / name).read_bytes()
    except OSError:
        return None
    head, code = content[: len(MARK) + 32], content[len(MARK) + 32 :]
    return code if head == _head(name, code) else None


def _head(name: str, content: bytes) -> bytes:
    """Return how a file begins. The name is in the digest: a file under another's name is not what it says."""
    return MARK + hashlib.sha256(name.encode() + b"\0" + content).digest()


def write(name: str, content: bytes) -> None:
    """Keep something under a name, whole or not at all: other processes may read and write it at the same time."""
    found = folder()
    if found is None:
        return
    temporary = None
    try:
        found.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=found, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            # Not synced: should the machine crash, the digest tells that the content is not there.
            file.write(_head(name, content) + content)
        os.replace(temporary, found / name)
    except OSError:
        # No room, no right to write, or a folder in the file's place. The next process compiles again.
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
