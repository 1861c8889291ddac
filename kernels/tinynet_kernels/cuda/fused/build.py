"""Fused kernels, compiled for a network when they are first asked for."""

from __future__ import annotations

import threading
from typing import Any

import cupy

from tinynet_kernels.cuda.fused.prelude import Prelude
from tinynet_kernels.cuda.loading import OPTIONS
from tinynet_kernels.cuda.sources import source

_KERNELS: dict[tuple[int, str, str, str], Any] = {}
_LOCK = threading.Lock()


def code_of(file: str, made: Prelude) -> str:
    """Return the text of a kernel file for a network."""
    return "\n".join([source("fused/description.cuh"), '#line 1 "prelude"', made.text, source(f"fused/{file}")])


def kernel(file: str, name: str, made: Prelude, together: tuple[str, ...] = ()) -> Any:
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

    Raises
    ------
    RuntimeError
        If the source does not compile; the message holds the compiler's.
    """
    device = int(cupy.cuda.Device().id)
    with _LOCK:
        if (device, file, name, made.text) not in _KERNELS:
            names = together or (name,)
            for each, function in zip(names, _compiled(file, names, made), strict=True):
                _KERNELS[device, file, each, made.text] = function
        return _KERNELS[device, file, name, made.text]


def _compiled(file: str, names: tuple[str, ...], made: Prelude) -> list[Any]:
    expressions = [f"tinynet::{name}" for name in names]
    module = cupy.RawModule(code=code_of(file, made), options=OPTIONS, name_expressions=expressions)
    try:
        functions = [module.get_function(expression) for expression in expressions]
    except cupy.cuda.compiler.CompileException as error:
        raise RuntimeError(
            f"tinynet's CUDA source fused/{file} should compile for every network that it is chosen for; for this one "
            f"it does not:\n{error}\nTrain kernel by kernel: TINYNET_GPU_TIER=loop."
        ) from error
    if made.shared_bytes > _SHARED_DEFAULT:
        for function in functions:
            function.max_dynamic_shared_size_bytes = made.shared_bytes
    return functions


_SHARED_DEFAULT = 48 * 1024
"""Bytes of dynamic shared memory that a kernel may use without having asked for them (CUDA C++ Programming Guide)."""
