"""Compiling, as those above the backends see it: they are told before it begins, and may empty the cache."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinynet_kernels.waiting import Watch


def watched(tell: Callable[[str], None]) -> AbstractContextManager[Watch]:
    """Return a context in which ``tell`` hears what there is to wait for, before that takes some tenths of a second.

    What it gives has ``seconds``: how long all compiling took.
    """
    # `import tinynet` needs no kernels.
    from tinynet_kernels.waiting import watched

    return watched(tell)


def tell_people(what: str) -> None:
    """Tell what there is to wait for as is done where nobody watches: once, in a terminal or a notebook."""
    from tinynet_kernels.waiting import tell_people

    tell_people(what)


def clear_cache() -> str:
    """Delete the machine code that is kept on disk; return what was deleted, as a text."""
    from tinynet_kernels.cpu.upkeep import clear

    found = clear()
    if found.folder is None:
        return f"nothing is kept: {found.problem}"
    return f"{amount(found.n_files, found.n_bytes)} in {found.folder}"


def described_cache() -> str:
    """Return where machine code is kept, how much it is, and whether more can be kept."""
    from tinynet_kernels.cpu.upkeep import holding

    found = holding()
    if found.folder is None:
        return f"not kept: {found.problem}"
    writes = f"cannot be written ({found.problem})" if found.problem else "can be written"
    return f"{found.folder}: {amount(found.n_files, found.n_bytes)}, {writes}"


def amount(n_files: int, n_bytes: int) -> str:
    """Return an amount of files.

    Examples
    --------
    >>> amount(1, 20_000)
    '1 file, 0.02 MB'
    """
    return f"{n_files:,} {'file' if n_files == 1 else 'files'}, {n_bytes / 1e6:.2f} MB"
