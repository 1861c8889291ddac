"""How the CUDA sources are compiled, and the kernels that have been compiled so far."""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import cupy
import numpy as np

from tinynet_kernels.cuda.sources import source
from tinynet_kernels.waiting import FOR_GPU, compiling

# CuPy adds -ftz=true: in float32 a number below 1.2e-38 counts as 0. Not --use_fast_math: it would take exp, division
# and square root apart, and assume that there is no NaN.
OPTIONS = ("-std=c++17",)

REAL: dict[np.dtype[Any], str] = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
"""What C++ calls the dtypes that kernels compute in."""


class Instance(NamedTuple):
    """A kernel with its template arguments: the unit of compilation."""

    file: str
    """The .cu file that it is in."""
    name: str
    arguments: tuple[str | int | bool, ...] = ()

    @property
    def expression(self) -> str:
        """What C++ calls it."""
        if not self.arguments:
            return f"tinynet::{self.name}"
        arguments = (str(a).lower() if isinstance(a, bool) else str(a) for a in self.arguments)
        return f"tinynet::{self.name}<{', '.join(arguments)}>"


_KERNELS: dict[tuple[int, Instance], Any] = {}
_LOCK = threading.Lock()


def kernel(file: str, name: str, *arguments: str | int | bool) -> Any:
    """Return a kernel for the current device; it is compiled when it is first asked for.

    Parameters
    ----------
    file : str
        The .cu file that it is in.
    name : str
    *arguments : str, int or bool
        Its template arguments.

    Returns
    -------
    callable
        Called with ``(grid, block, arguments)``, it launches on the current stream.
    """
    instance = Instance(file, name, arguments)
    found = _KERNELS.get((_device(), instance))
    if found is None:
        compile_together([instance])
        found = _KERNELS[_device(), instance]
    return found


def compile_together(instances: Iterable[Instance]) -> None:
    """Compile kernels for the current device, those of one file in one go; what is there already is left alone.

    Raises
    ------
    RuntimeError
        If a source does not compile; the message holds the compiler's.
    """
    device = _device()
    with _LOCK:
        missing: dict[str, list[Instance]] = {}
        for instance in instances:
            if (device, instance) not in _KERNELS:
                missing.setdefault(instance.file, []).append(instance)
        for file, wanted in missing.items():
            for instance, function in zip(wanted, _compiled(file, [i.expression for i in wanted]), strict=True):
                _KERNELS[device, instance] = function


def compiled() -> frozenset[Instance]:
    """Return what has been compiled so far, on any device."""
    return frozenset(instance for _, instance in _KERNELS)


def functions(code: str, expressions: list[str]) -> list[Any]:
    """Return functions of a source for the current device, by what C++ calls them; who waits for NVRTC is told."""
    module = cupy.RawModule(code=code, options=OPTIONS, name_expressions=expressions)
    with compiling(long=True, what=FOR_GPU):
        return [module.get_function(expression) for expression in expressions]


def _compiled(file: str, expressions: list[str]) -> list[Any]:
    try:
        return functions(source(file, " ".join(expressions)), expressions)
    except cupy.cuda.compiler.CompileException as error:
        raise RuntimeError(
            f"tinynet's CUDA source {file} should compile on every GPU that CuPy {cupy.__version__} supports; on this "
            f"one it does not:\n{error}\nCheck that the CUDA version of CuPy suits the driver (`tinynet info`)."
        ) from error


def _device() -> int:
    return int(cupy.cuda.Device().id)
