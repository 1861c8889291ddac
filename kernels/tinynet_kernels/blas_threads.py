"""How many threads the matrix products use: a setting of the BLAS library, for the whole process."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("scipy_openblas_{}_num_threads", "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads")
"""What the wheels of SciPy and NumPy call it, and OpenBLAS by itself."""


class _Library(NamedTuple):
    get: Any
    set: Any


class _Limits:
    """The limits in force, by who asked for one, and what it was before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: dict[at_most, int] = {}
        self.before: list[int] = []
        if hasattr(os, "register_at_fork"):
            # A child has only the thread that forked: no other may have the lock then, nor its limits there.
            os.register_at_fork(
                before=self.lock.acquire, after_in_parent=self.lock.release, after_in_child=self._in_child
            )

    def enter(self, who: at_most, n: int) -> None:
        with self.lock:
            if not self.asked:
                self.before = [library.get() for library in _libraries()]
            self.asked[who] = n
            for library in _libraries():
                library.set(n)

    def leave(self, who: at_most) -> None:
        with self.lock:
            del self.asked[who]
            left = list(self.asked.values())[-1:] * len(self.before) or self.before
            for library, n in zip(_libraries(), left, strict=True):
                library.set(n)

    def _in_child(self) -> None:
        self.lock.release()
        for who in list(self.asked):
            if who.thread != threading.get_ident():
                self.leave(who)


_limits = _Limits()


class at_most:
    """Let matrix products use ``n`` threads within a ``with`` block; None leaves what is in force.

    Where blocks of several Python threads overlap, or one is within another, the last to begin decides as long as it
    lasts; the end of all restores what was before. It reaches the OpenBLAS of NumPy and of SciPy. Other BLAS libraries
    follow their own environment variables.

    Parameters
    ----------
    n : int or None

    Examples
    --------
    >>> with at_most(1):
    ...     _ = [[1.0]]
    """

    def __init__(self, n: int | None) -> None:
        self._n = n

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        if self._n is not None:
            _limits.enter(self, self._n)

    def __exit__(self, *error: object) -> None:
        if self._n is not None:
            _limits.leave(self)


@cache
def _libraries() -> tuple[_Library, ...]:
    """Return the OpenBLAS libraries of NumPy and SciPy, found through the modules that link to them.

    By their files: to import ``scipy.linalg`` takes half a second, and nobody may need it.
    """
    found = (_library(path) for path in (_file("numpy", "linalg/_umath_linalg"), _file("scipy", "linalg/cython_blas")))
    return tuple(library for library in found if library is not None)


def _file(package: str, module: str, system: str = os.name) -> str | None:
    """Return the file through which a package's BLAS is found; the package need not be imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    if system == "nt":
        # Windows finds a symbol in the library that is asked only, not in those that it links to. Wheels have it here:
        places = iter(sorted(folder.with_name(f"{package}.libs").glob("*openblas*.dll")))
    else:
        places = (place for suffix in EXTENSION_SUFFIXES if (place := folder / f"{module}{suffix}").exists())
    return next(map(str, places), None)


def _library(path: str | None) -> _Library | None:
    if path is None:
        return None
    loaded = ctypes.CDLL(path)
    for name in NAMES:
        if hasattr(loaded, name.format("set")):
            return _Library(getattr(loaded, name.format("get")), getattr(loaded, name.format("set")))
    return None
