"""The CUDA kernels as the tests of all kernels call them: with arrays of the host, which travel there and back."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

import numpy as np
from cuda_on_cpu import fake_cupy


def cuda_kernels(cupy: ModuleType) -> OnDevice:
    """Return the CUDA kernels for this CuPy, all compiled in one go: one by one, g++ takes ten times as long."""
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda import loading

    if not hasattr(cupy, "__file__") and not fake_cupy.by_ptx():
        loading.compile_together(cuda.instances())
    return OnDevice(cuda, cupy)


class OnDevice:
    """A module of kernels for CuPy arrays that takes NumPy arrays.

    Every array among the arguments is copied to the device, one array for one array: what was given twice is one array
    there, too. After the call all of them are copied back, so that a write to an input shows.

    Parameters
    ----------
    module : module
        ``tinynet_kernels.cuda``.
    cupy : module
        CuPy, or what stands in for it.
    """

    def __init__(self, module: ModuleType, cupy: ModuleType) -> None:
        self._module, self._cupy = module, cupy
        self.flushes_subnormals = hasattr(cupy, "__file__") or fake_cupy.by_ptx()
        """Whether float32's subnormal numbers count as 0: on a GPU they do."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._module, name)
        if not inspect.isfunction(attribute):
            return attribute

        @functools.wraps(attribute)
        def call(*args: Any, **kwargs: Any) -> Any:
            sent: dict[int, tuple[np.ndarray, Any]] = {}
            args = tuple(self._send(value, sent) for value in args)
            result = attribute(*args, **{key: self._send(value, sent) for key, value in kwargs.items()})
            for host, device in sent.values():
                if host.flags.writeable:
                    host[...] = device.get()
                else:
                    np.testing.assert_array_equal(device.get(), host)
            return result

        return call

    def _send(self, value: Any, sent: dict[int, tuple[np.ndarray, Any]]) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in sent:
            native = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
            sent[id(value)] = value, self._cupy.asarray(native)
        return sent[id(value)][1]
