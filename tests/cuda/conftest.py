"""What the tests of the CUDA backend share: CuPy, as its stand-in on every machine, and itself where there is a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from cuda_on_cpu import fake_cupy, toolchain
from cuda_on_cpu.fake_cupy import Machine

IMPORTERS = ("tinynet_kernels.cuda", "tinynet.backends.cupy")
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


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.gpu)])
def cp(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """CuPy: its stand-in, and itself where there is a device.

    Import what imports CuPy (``tinynet_kernels.cuda``, ...) in the test, after this fixture. Work that a test has
    queued is done when it ends, so that its errors are the test's.
    """
    forget_importers()
    if request.param == "real":
        yield real_cupy()
    else:
        reason = toolchain.missing()
        if reason:
            pytest.skip(reason)
        with pytest.MonkeyPatch.context() as monkeypatch:
            yield fake_cupy.install(monkeypatch)
            fake_cupy.current().finish()
            forget_importers()
    forget_importers()


@pytest.fixture
def machine(cp: ModuleType) -> Machine:
    """The simulated machine, for tests that set it up; they are not for the real CuPy."""
    if hasattr(cp, "__file__"):
        pytest.skip("sets up the simulated machine")
    return fake_cupy.current()


def real_cupy() -> ModuleType:
    """Return CuPy, or skip the test."""
    cupy: ModuleType = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    return cupy
