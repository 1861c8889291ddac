"""What the tests share: the backends that run here, and quiet, repeatable settings."""

from __future__ import annotations

import os

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


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a backend that the user has set out of the tests."""
    monkeypatch.delenv("TINYNET_BACKEND", raising=False)
