"""How many threads the matrix products use: a setting of the BLAS library, for the whole process."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


class _Limit:
    """The limit in force, and what it was before the first of those who asked for one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before: list[int] = []

    def enter(self, n: int) -> None:
        with self.lock:
            if self.users == 0:
                self.before = [library.get() for library in _libraries()]
            self.users += 1
            for library in _libraries():
                library.set(n)

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for library, n in zip(_libraries(), self.before, strict=True):
                    library.set(n)


_limit = _Limit()


@contextmanager
def at_most(n: int | None) -> Iterator[None]:
    """Let matrix products use ``n`` threads within a ``with`` block; None leaves what is in force.

    Where blocks of several Python threads overlap, the last to begin decides; the end of all restores what was before.
    It reaches the OpenBLAS of NumPy and of SciPy. Other BLAS libraries follow their own environment variables.

    Parameters
    ----------
    n : int or None

    Examples
    --------
    >>> with at_most(1):
    ...     _ = [[1.0]]
    """
    if n is None:
        yield
        return
    _limit.enter(n)
    try:
        yield
    finally:
        _limit.leave()


@cache
def _libraries() -> tuple[_Library, ...]:
    """Return the OpenBLAS libraries of NumPy and SciPy, found through the modules that link to them.

    By their files: to import ``scipy.linalg`` takes half a second, and nobody may need it.
    """
    found = (
        _library(path) for path in (_module("numpy", "linalg/_umath_linalg"), _module("scipy", "linalg/cython_blas"))
    )
    return tuple(library for library in found if library is not None)


def _module(package: str, name: str) -> str | None:
    """Return the file of a compiled module of a package, which need not be imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    places = (Path(spec.origin).parent / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((str(place) for place in places if place.exists()), None)


def _library(path: str | None) -> _Library | None:
    if path is None:
        return None
    loaded = ctypes.CDLL(path)
    for name in NAMES:
        if hasattr(loaded, name.format("set")):
            return _Library(getattr(loaded, name.format("get")), getattr(loaded, name.format("set")))
    return None
