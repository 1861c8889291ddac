"""What the tests share: the backends that run here, and quiet, repeatable settings."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

# Workers of the test run share the cores: more threads than that only get in each other's way.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("tinynet", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("tinynet")

BACKENDS = ("numpy", "numba")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that runs on every machine, in turn."""
    return str(request.param)


@contextmanager
def _skipped_without_numba() -> Iterator[None]:
    """Where Numba is not installed, skip what turns out to need it: that must fail by this error and by no other."""
    from tinynet.base.errors import BackendUnavailableError  # Imports NumPy, which reads the variables above.

    try:
        yield
    except BackendUnavailableError as error:
        if importlib.util.find_spec("numba") is None and "'numba'" in str(error):
            pytest.skip(str(error))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Of fixtures."""
    with _skipped_without_numba():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Of tests."""
    with _skipped_without_numba():
        return (yield)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a backend that the user has set out of the tests."""
    monkeypatch.delenv("TINYNET_BACKEND", raising=False)


def _has_gpu() -> bool:
    """Tell whether CuPy is installed and finds a device."""
    if importlib.util.find_spec("cupy") is None:
        return False
    cupy = importlib.import_module("cupy")
    try:
        return bool(cupy.cuda.runtime.getDeviceCount() > 0)
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a GPU, leave out the tests that need one; asked for by ``-m``, they say why they are skipped."""
    if config.option.markexpr or _has_gpu():
        return
    needing = [item for item in items if item.get_closest_marker("gpu") is not None]
    if needing:
        config.hook.pytest_deselected(items=needing)
        left_out = set(needing)
        items[:] = [item for item in items if item not in left_out]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which tinynet is tested, and whether the tests on a GPU run."""
    spec = importlib.util.find_spec("tinynet")
    gpu = "its tests run" if _has_gpu() else "none that CuPy finds, so its tests are left out; see -m gpu"
    return [f"tinynet: {spec.origin if spec else 'not installed'}", f"gpu: {gpu}"]
