"""What the tests of the kernels share."""

from __future__ import annotations

from types import ModuleType

import pytest
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference


@pytest.fixture(params=[reference, cpu], ids=["reference", "cpu"])
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    """Each module of kernels that runs on every machine, in turn."""
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Each dtype that the kernels compute in, in turn."""
    return str(request.param)
