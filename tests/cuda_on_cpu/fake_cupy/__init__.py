"""A strict stand-in for the part of CuPy that tinynet uses, for machines without a GPU.

Strict where CuPy is: device arrays never become NumPy arrays unasked and do not mix with them, graph capture refuses
what CuPy refuses, kernels take no argument of a wrong type. Stricter where a mistake would go unseen: work is done only
when somebody waits for it, new arrays are full of NaN and have guards around them, and what a kernel does outside its
memory is an error. What is not listed in ``modules`` raises AttributeError.

The values are NumPy's; speed and rounding are not simulated.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import cublas as cuda_cublas
from . import linalg, nccl, runtime
from .array import ndarray
from .device import Device
from .errors import CompileException, CUDADriverError, CUDARuntimeError, OutOfMemoryError
from .exchange import from_dlpack
from .functions import public
from .kernels import RawKernel, RawModule, by_ptx
from .linalg import dot, gemm, matmul, outer, tensordot
from .machine import Machine, current, reset
from .memory import MemoryPointer
from .operators import attach
from .streams import Event, Graph, Stream, get_current_stream, get_elapsed_time

if TYPE_CHECKING:
    import pytest

VERSION = "14.2.0"

_FUNCTIONS = public()
attach(_FUNCTIONS)
setattr(ndarray, "__matmul__", lambda self, other: matmul(self, other))  # noqa: B010
ndarray.dot = dot  # type: ignore[attr-defined]


def _is_available() -> bool:
    try:
        return runtime.getDeviceCount() > 0
    except CUDARuntimeError:
        return False


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(names)
    return module


def modules() -> dict[str, ModuleType]:
    """Make the modules ``cupy``, ``cupy.cuda``, ... anew."""
    own_runtime = {name: getattr(runtime, name) for name in runtime.PUBLIC}
    made_runtime = _module("cupy.cuda.runtime", CUDARuntimeError=CUDARuntimeError, **own_runtime)
    memory = _module("cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError, MemoryPointer=MemoryPointer)
    pool, pinned_pool = runtime.MemoryPool(), runtime.PinnedMemoryPool()
    cuda = _module(
        "cupy.cuda",
        cublas=_module("cupy.cuda.cublas", **{name: getattr(cuda_cublas, name) for name in cuda_cublas.PUBLIC}),
        device=_module("cupy.cuda.device", Device=Device, get_cublas_handle=cuda_cublas.get_cublas_handle),
        nvrtc=_module("cupy.cuda.nvrtc", getVersion=lambda: (13, 0)),
        runtime=made_runtime,
        memory=memory,
        nccl=_module("cupy.cuda.nccl", available=True, **{name: getattr(nccl, name) for name in nccl.PUBLIC}),
        driver=_module("cupy.cuda.driver", CUDADriverError=CUDADriverError),
        compiler=_module("cupy.cuda.compiler", CompileException=CompileException),
        Device=Device,
        Event=Event,
        Graph=Graph,
        MemoryPointer=MemoryPointer,
        Stream=Stream,
        alloc_pinned_memory=runtime.alloc_pinned_memory,
        get_current_stream=get_current_stream,
        get_device_id=runtime.getDevice,
        get_elapsed_time=get_elapsed_time,
        get_local_runtime_version=runtime.runtimeGetVersion,
        is_available=_is_available,
    )
    cublas = _module("cupy.cublas", gemm=gemm)
    compute_types = {name: getattr(linalg, name) for name in dir(linalg) if name.startswith("COMPUTE_TYPE_")}
    routines = _module("cupy._core._routines_linalg", **compute_types)
    core = _module(
        "cupy._core",
        __path__=[],
        _routines_linalg=routines,
        get_compute_type=linalg.get_compute_type,
        set_compute_type=linalg.set_compute_type,
    )
    cupy = _module(
        "cupy",
        **_FUNCTIONS,
        __version__=VERSION,
        __path__=[],
        RawKernel=RawKernel,
        RawModule=RawModule,
        _core=core,
        cublas=cublas,
        cuda=cuda,
        dot=dot,
        from_dlpack=from_dlpack,
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pinned_pool,
        is_available=_is_available,
        linalg=_module("cupy.linalg", cholesky=linalg.cholesky, inv=linalg.inv),
        matmul=matmul,
        ndarray=ndarray,
        outer=outer,
        tensordot=tensordot,
    )
    cupy.get_array_module = lambda *args: cupy if any(isinstance(a, ndarray) for a in args) else np  # type: ignore[attr-defined]
    cuda.__path__ = []
    return {
        module.__name__: module
        for module in (
            *(cupy, core, routines, cuda, cublas, made_runtime, memory, cupy.linalg),
            *(cuda.cublas, cuda.device, cuda.driver, cuda.compiler, cuda.nccl),
        )
    }


def install(monkeypatch: pytest.MonkeyPatch, n_devices: int = 1) -> ModuleType:
    """Put a new machine in force and the stand-in in the place of CuPy, until the test ends."""
    import sys

    reset(n_devices)
    made = modules()
    for name in [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made["cupy"]


__all__ = ["Machine", "by_ptx", "current", "install", "modules", "reset"]
