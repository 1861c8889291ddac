"""Places to write to: each file is one thing, and only a result takes the place of another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MODEL, LOSSES, SWEEP = "tinynet-model.npz", "tinynet-loss.png", "tinynet-sweep"
"""Where results go, if nobody says: a model, the plot of its losses, and the folder of a sweep."""

LONGEST = 255
"""Bytes in the name of a file, on the file systems of today."""


def require_different(written: Mapping[str, str | None], read: Mapping[str, str | None]) -> None:
    """Raise ValueError if a file that a command writes is another one that it writes, or one that it reads.

    Parameters
    ----------
    written, read : dict of str to path or None
        By the names of the options; None where there is no such file.
    """
    seen = {os.path.realpath(path): name for name, path in read.items() if path is not None}
    for name, path in written.items():
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in seen:
            raise ValueError(f"{seen[real]} and {name} expect two files; got {path!r} for both. Give another name.")
        seen[real] = name


def beside(path: str, word: str) -> str:
    """Return a path for what is no result: ``path`` itself if nothing is there, else a free one with a word in it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(3):
    ...         place = beside(os.path.join(folder, "net.npz"), "interrupted")
    ...         open(place, "x").close()
    ...         print(os.path.basename(place))
    net.npz
    net.interrupted.npz
    net.interrupted-2.npz
    """
    target, number = Path(path), 1
    while os.path.lexists(target):
        ending = f".{word}{f'-{number}' if number > 1 else ''}{Path(path).suffix}"
        stem = Path(path).stem
        while len(os.fsencode(stem + ending)) > LONGEST:
            stem = stem[:-1]
        target, number = Path(path).with_name(stem + ending), number + 1
    return str(target)
