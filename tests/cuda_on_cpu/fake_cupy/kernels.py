"""Raw kernels: ``cupy.RawModule`` and ``cupy.RawKernel``, compiled for the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import builder, ptx, toolchain
from .array import ndarray
from .device import SHARED_DEFAULT
from .errors import CompileException, CUDADriverError
from .machine import current
from .streams import Stream, get_current_stream


def by_ptx() -> bool:
    """Tell whether sources go by NVRTC to the CPU: ``TINYNET_CUDA_ON_CPU_BY=ptx``."""
    return os.environ.get("TINYNET_CUDA_ON_CPU_BY") == "ptx"


class RawKernel:
    """A kernel of CUDA source."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
    ) -> None:
        module = RawModule(
            code=code,
            options=options,
            backend=backend,
            translate_cucomplex=translate_cucomplex,
            enable_cooperative_groups=enable_cooperative_groups,
        )
        self._init(module, name)

    def _init(self, module: RawModule, name: str) -> None:
        self.name = self.__name__ = name
        self._module = module
        self._shared: dict[int, int] = {}  # By device, as the attribute of a loaded function is.

    @property
    def kernel(self) -> builder.Kernel:
        """Compile at the first use, as CuPy does."""
        current().check_driver()
        try:
            return self._module.module.get_function(self.name)
        except KeyError as error:
            raise CUDADriverError(500, str(error)) from None

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        self.kernel  # noqa: B018

    @property
    def max_threads_per_block(self) -> int:
        return 1024

    @property
    def shared_size_bytes(self) -> int:
        """Static shared memory of a block."""
        return self.kernel.static_shared_bytes

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._shared.get(current().device_id, SHARED_DEFAULT - self.shared_size_bytes)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        static, most = self.shared_size_bytes, current().shared_opt_in
        if not 0 <= size <= most - static:
            raise CUDADriverError(
                1,
                f"{self.name} asks for {size} bytes of dynamic shared memory beside {static} static ones; a block has "
                f"{most}",
            )
        self._shared[current().device_id] = size

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Stream | None = None,
    ) -> None:
        """Queue a launch on the current stream."""
        machine = current()
        arrays = [arg for arg in args if isinstance(arg, ndarray)]
        for arg in args:
            if arg is None:
                # Stricter than CuPy 14, which passes a null pointer; versions before passed no address at all, and
                # the driver crashed. Nothing of ours has a pointer that may be null.
                raise TypeError(f"{self.name} is launched with None. Pass an array that is not read, and a flag.")
            if isinstance(arg, np.ndarray) and arg.size != 1:
                raise TypeError(
                    f"You are trying to pass a numpy.ndarray of shape {arg.shape} as a kernel parameter. Only "
                    "numpy.ndarrays of size one can be passed by value. If you meant to pass a pointer to __global__ "
                    "memory, you need to pass a cupy.ndarray instead."
                )
        for array in arrays:
            if array._allocation.device_id != machine.device_id:
                raise CUDADriverError(
                    700,
                    f"{self.name} is launched on device {machine.device_id} with an array of device "
                    f"{array._allocation.device_id}",
                )
        if shared_mem and shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDADriverError(
                1,
                f"{self.name} is launched with {shared_mem} bytes of dynamic shared memory; "
                f"max_dynamic_shared_size_bytes is {self.max_dynamic_shared_size_bytes}",
            )
        hosts = [_by_value(arg) for arg in args]
        try:
            launch = self.kernel.bind(grid, block, hosts, shared_mem)
        except ValueError as error:
            raise CUDADriverError(1, str(error)) from None
        queue = (stream or get_current_stream())._queue
        machine.counts["launches"] += queue.captured is None
        queue.submit(launch, [array._allocation for array in arrays])


def _by_value(arg: Any) -> Any:
    """Return what the builder takes: the memory of a device array, and a NumPy array of size one as a scalar."""
    if isinstance(arg, ndarray):
        return arg._host
    if isinstance(arg, np.ndarray):
        return arg.reshape(())[()]
    return arg


class RawModule:
    """CUDA source, and the kernels in it."""

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
    ) -> None:
        if code is None or path is not None:
            raise NotImplementedError("the stand-in takes sources only: pass code, not path")
        if not isinstance(options, tuple):
            raise TypeError(f"Argument 'options' has incorrect type (expected tuple, got {type(options).__name__})")
        if backend != "nvrtc" or translate_cucomplex or enable_cooperative_groups:
            raise NotImplementedError("the stand-in has neither nvcc nor complex numbers nor cooperative groups")
        self.code, self.options = code, options
        self.name_expressions = None if name_expressions is None else tuple(name_expressions)

    @property
    def module(self) -> builder.Module | ptx.PtxModule:
        """Compile at the first use, as CuPy does."""
        current().sources.add((self.code, self.name_expressions, self.options))
        build = ptx.build if by_ptx() else builder.build
        try:
            return build(self.code, self.name_expressions or (), self.options)
        except toolchain.CompileError as error:
            raise CompileException(str(error)) from None

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        current().check_driver()
        self.module  # noqa: B018

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel by its name, or by one of the name expressions."""
        kernel = RawKernel.__new__(RawKernel)
        kernel._init(self, name)
        kernel.compile()
        return kernel
