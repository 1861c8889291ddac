"""What the tests of the CUDA backend share: CuPy, as its stand-in on every machine, and itself where there is a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from cuda_on_cpu import fake_cupy
from cuda_on_cpu.fake_cupy import Machine
from cuda_on_cpu.installing import installed


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.gpu)])
def cp(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """CuPy: its stand-in, and itself where there is a device.

    Import what imports CuPy (``tinynet_kernels.cuda``, ...) in the test, after this fixture.
    """
    with installed(request.param) as cupy:
        yield cupy


@pytest.fixture
def machine(cp: ModuleType) -> Machine:
    """The simulated machine, for tests that set it up; they are not for the real CuPy."""
    if hasattr(cp, "__file__"):
        pytest.skip("sets up the simulated machine")
    return fake_cupy.current()
