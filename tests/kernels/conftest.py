"""What the tests of the kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cuda_on_cpu.installing import installed
from kernels_on_device import cuda_kernels
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference

ON_HOST = {"reference": reference, "cpu": cpu}
ON_DEVICE = {"cuda": "fake", "cuda-gpu": "real"}


@pytest.fixture(params=[*ON_HOST, "cuda", pytest.param("cuda-gpu", marks=pytest.mark.gpu)])
def kernels(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each module of kernels in turn; that for CUDA twice, on the processor and, where there is one, on a GPU."""
    if request.param in ON_HOST:
        yield ON_HOST[request.param]
    else:
        with installed(ON_DEVICE[request.param]) as cupy:
            yield cuda_kernels(cupy)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Each dtype that the kernels compute in, in turn."""
    return str(request.param)
