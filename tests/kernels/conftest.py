"""What the tests of the kernels share."""

from __future__ import annotations
import sys
from typing import Any

import pytest
from kernels_on_device import OnDevice
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference


@pytest.fixture(params=["reference", "cpu", "cuda"])
def kernels(request: pytest.FixtureRequest) -> Any:
    if request.param != "cuda":
        return {"reference": reference, "cpu": cpu}[request.param]
    sys.path.insert(0, "/tmp/shim")
    import cupy
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda import loading
    loading.compile_together(cuda.instances())
    return OnDevice(cuda, cupy)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Each dtype that the kernels compute in, in turn."""
    return str(request.param)
