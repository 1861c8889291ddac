"""Fused kernels, compiled for a network when they are first asked for."""

from __future__ import annotations

import threading
from typing import Any

import cupy

from tinynet_kernels.cuda.fused.prelude import Prelude
from tinynet_kernels.cuda.loading import OPTIONS, source

_KERNELS: dict[tuple[int, str, str, str], Any] = {}
_LOCK = threading.Lock()


def code_of(file: str, made: Prelude) -> str:
    """Return the text of a kernel file for a network."""
    return "\n".join([source("fused/description.cuh"), '#line 1 "prelude"', made.text, source(f"fused/{file}")])


def kernel(file: str, name: str, made: Prelude) -> Any:
    """Return a kernel for a network on the current device.

    Parameters
    ----------
    file : str
        The .cu file that it is in.
    name : str
        With its template arguments, if it has any.
    made : Prelude

    Raises
    ------
    RuntimeError
        If the source does not compile; the message holds the compiler's.
    """
    key = (int(cupy.cuda.Device().id), file, name, made.text)
    with _LOCK:
        if key not in _KERNELS:
            expression = f"tinynet::{name}"
            module = cupy.RawModule(code=code_of(file, made), options=OPTIONS, name_expressions=[expression])
            try:
                function = module.get_function(expression)
            except cupy.cuda.compiler.CompileException as error:
                raise RuntimeError(
                    f"tinynet's CUDA source fused/{file} should compile for every network that it is chosen for; for "
                    f"this one it does not:\n{error}\nAsk for another tier: TINYNET_GPU_TIER=loop."
                ) from error
            if made.shared_bytes > _SHARED_DEFAULT:
                function.max_dynamic_shared_size_bytes = made.shared_bytes
            _KERNELS[key] = function
        return _KERNELS[key]


# A kernel that needs more must say so before it is launched (CUDA C++ Programming Guide, "Shared Memory").
_SHARED_DEFAULT = 48 * 1024
