"""Fused kernels, compiled for a network when they are first asked for."""

from __future__ import annotations

import threading
from typing import Any

import cupy

from tinynet_kernels.cuda.fused.prelude import Prelude
from tinynet_kernels.cuda.loading import functions
from tinynet_kernels.cuda.sources import source

SHARED_DEFAULT = 48 * 1024
"""Shared memory of a block, static and dynamic together, that a kernel may use without having asked for more.

CUDA Driver API, ``CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES``: what is asked for is dynamic memory only, and
beside it the static memory of the function must fit into what a block of the device can have.
"""

_KERNELS: dict[tuple[int, str, str, str], Any] = {}
_ALLOWED: set[tuple[int, str, str, str]] = set()
"""Of these, those that may use their dynamic shared memory."""
_LOCK = threading.Lock()


def code_of(file: str, made: Prelude) -> str:
    """Return the text of a kernel file for a network."""
    return "\n".join(
        [source("fused/description.cuh"), '#line 1 "prelude"', made.text, source(f"fused/{file}", made.text)]
    )


def kernel(file: str, name: str, made: Prelude, together: tuple[str, ...] = (), *, dynamic: bool = False) -> Any:
    """Return a kernel for a network on the current device.

    Parameters
    ----------
    file : str
        The .cu file that it is in.
    name : str
        With its template arguments, if it has any.
    made : Prelude
    together : tuple of str, optional
        This kernel and those that will be wanted with it: compiling them in one go takes less time.
    dynamic : bool
        Whether it is launched with the shared memory of the prelude, ``made.shared_bytes``.

    Raises
    ------
    RuntimeError
        If the source does not compile, when the message holds the compiler's, or takes more shared memory than a block
        of this device has.
    """
    key = int(cupy.cuda.Device().id), file, name, made.text
    with _LOCK:
        if key not in _KERNELS:
            names = together or (name,)
            for each, function in zip(names, _compiled(file, names, made), strict=True):
                _KERNELS[key[0], file, each, made.text] = function
        if dynamic and key not in _ALLOWED:
            _allow(_KERNELS[key], name, made.shared_bytes)
            _ALLOWED.add(key)
        return _KERNELS[key]


def _allow(function: Any, name: str, dynamic: int) -> None:
    """Let a function be launched with so many bytes of dynamic shared memory."""
    static = int(function.shared_size_bytes)
    if static + dynamic <= SHARED_DEFAULT:
        return
    most = int(cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])
    if static + dynamic > most:
        raise RuntimeError(
            f"tinynet's CUDA kernel {name} should fit into the {most} bytes of shared memory of a block; it takes "
            f"{dynamic} bytes beside {static} of its own. Train kernel by kernel: TINYNET_GPU_TIER=loop."
        )
    function.max_dynamic_shared_size_bytes = dynamic


def _compiled(file: str, names: tuple[str, ...], made: Prelude) -> list[Any]:
    try:
        return functions(code_of(file, made), [f"tinynet::{name}" for name in names])
    except cupy.cuda.compiler.CompileException as error:
        raise RuntimeError(
            f"tinynet's CUDA source fused/{file} should compile for every network that it is chosen for; for this one "
            f"it does not:\n{error}\nTrain kernel by kernel: TINYNET_GPU_TIER=loop."
        ) from error
