"""What the tests of the CUDA backend share: CuPy, as its stand-in on every machine, and itself where there is a GPU."""

from __future__ import annotations

import sys
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


@pytest.fixture
def gpu(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the GPU backend, without fused plans; the stand-in has compiled its kernels in one go, which is ten
    times as quick.
    """
    monkeypatch.setenv("TINYNET_GPU_TIER", "loop")
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda.loading import compile_together

    if not hasattr(cp, "__file__"):
        compile_together(cuda.instances())
    return "gpu"


@pytest.fixture
def two(gpu: str, machine: Machine) -> str:
    """A machine with two GPUs, the kernels compiled for both."""
    machine.set_devices(2)
    cupy = sys.modules["cupy"]
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda.loading import compile_together

    with cupy.cuda.Device(1):
        compile_together(cuda.instances())
    return gpu
