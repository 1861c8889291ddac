"""CuPy for the length of a test: its stand-in on every machine, and itself where there is a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from . import fake_cupy, toolchain

IMPORTERS = ("tinynet_kernels.cuda", "tinynet.backends.cupy", "benchmarks.peers.gpu_floor")
"""Modules that import CuPy, and must be imported anew for each test: for the stand-in, or for the real one."""


def forget_importers() -> None:
    """Remove the modules that hold a CuPy, and the backends made with it."""
    for name in list(sys.modules):
        if name.startswith(IMPORTERS):
            parent, _, child = name.rpartition(".")
            del sys.modules[name]
            if hasattr(sys.modules.get(parent), child):
                delattr(sys.modules[parent], child)
    backends = sys.modules.get("tinynet.backends")
    if backends is not None:
        backends._created.pop("cupy", None)


@contextmanager
def installed(kind: str) -> Iterator[ModuleType]:
    """Put CuPy in its place: ``"fake"`` or ``"real"``. Skips the test where that cannot be.

    Work that a test has queued is done when it ends, so that its errors are the test's.
    """
    forget_importers()
    try:
        if kind == "real":
            yield real_cupy()
            return
        reason = toolchain.missing()
        if reason:
            pytest.skip(reason)
        with pytest.MonkeyPatch.context() as monkeypatch:
            yield fake_cupy.install(monkeypatch)
            fake_cupy.current().finish()
    finally:
        forget_importers()


def real_cupy() -> ModuleType:
    """Return CuPy, or skip the test."""
    cupy: ModuleType = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    return cupy
