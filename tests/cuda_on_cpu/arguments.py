"""Arguments of a kernel: the conversions of ``cupy.RawKernel``, and a check of each against its parameter.

CuPy and the driver copy as many bytes as the parameter has from whatever they are given: a Python float passed for a
``float`` gives garbage. Here it is a TypeError.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CODE = re.compile(r"(?P<const>c?)(?P<base>[fiub]\d+|S\d+|v|p)(x(?P<lanes>\d))?(?P<pointer>\*?)")
_PYTHON = {bool: "b1", int: "i8", float: "f8"}
# Types that kernels read bit by bit because NVRTC has them only with further headers, or that are harmless.
_ALSO = {"u2": {"f2"}, "u1": {"b1"}, "b1": set(), "i1": {"b1"}}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, in the words of launch.hpp."""

    base: str
    lanes: int
    pointer: bool
    constant: bool

    @classmethod
    def parse(cls, code: str) -> Parameter:
        match = _CODE.fullmatch(code)
        if match is None:
            raise ValueError(f"not the code of a parameter: {code!r}")
        return cls(match["base"], int(match["lanes"] or 1), bool(match["pointer"]), bool(match["const"]))

    def __str__(self) -> str:
        names = {"v": "void", "p": "a pointer"}
        base = names.get(self.base) or (
            f"a struct of {self.base[1:]} bytes" if self.base[0] == "S" else np.dtype(self.base).name
        )
        lanes = f"x{self.lanes}" if self.lanes > 1 else ""
        return f"{'const ' if self.constant else ''}{base}{lanes}{' *' if self.pointer else ''}"

    @property
    def alignment(self) -> int:
        """Bytes that an address must be a multiple of."""
        if self.base in ("v", "S"):
            return 1
        size = int(self.base[1:]) if self.base[1:] else 8
        return min(16, size * self.lanes) if self.lanes in (2, 4) else size


def convert(kernel: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> list[Any]:
    """Return ctypes cells that hold the arguments.

    Parameters
    ----------
    kernel : str
        Its name, for messages.
    parameters : sequence of Parameter
    values : sequence
        NumPy arrays stand for device arrays; None is the null pointer.

    Raises
    ------
    TypeError
        For a wrong number of arguments, and for an argument that is not exactly of its parameter's type.
    """
    if len(parameters) != len(values):
        raise TypeError(f"{kernel} expects {len(parameters)} arguments; got {len(values)}.")
    return [
        _pointer(f"{kernel}, argument {i},", p, v) if p.pointer else _scalar(f"{kernel}, argument {i},", p, v)
        for i, (p, v) in enumerate(zip(parameters, values, strict=True))
    ]


def _pointer(where: str, parameter: Parameter, value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(0)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{where} expects an array ({parameter}); got {type(value).__name__}.")
    code = f"{value.dtype.kind}{value.dtype.itemsize}"
    fits = parameter.base == "v" or code == parameter.base or code in _ALSO.get(parameter.base, ())
    if parameter.base[0] == "S":
        fits = value.dtype.kind == "V" and value.dtype.itemsize == int(parameter.base[1:])
    if not fits or not value.dtype.isnative:
        raise TypeError(f"{where} expects an array for {parameter}; got one of dtype {value.dtype}.")
    if not parameter.constant and not value.flags.writeable:
        raise TypeError(f"{where} expects an array that can be written ({parameter}); got a read-only one.")
    address = value.ctypes.data
    if address % parameter.alignment:
        raise TypeError(
            f"{where} expects an address that is a multiple of {parameter.alignment} ({parameter}); "
            f"got one that is {address % parameter.alignment} above."
        )
    return ctypes.c_void_p(address)


def _scalar(where: str, parameter: Parameter, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "V" and value.size == 1:
        value = value.reshape(())[()]  # A struct by value.
    if isinstance(value, np.generic):
        code, data = f"{value.dtype.kind}{value.dtype.itemsize}", value.tobytes()
        if value.dtype.kind == "V":
            code = f"S{value.dtype.itemsize}"
    elif type(value) in _PYTHON:
        code = _PYTHON[type(value)]
        data = np.dtype(code).type(value).tobytes()
    else:
        raise TypeError(f"{where} expects a scalar ({parameter}); got {type(value).__name__}.")
    if parameter.lanes > 1 or code != parameter.base:
        kind = type(value).__name__
        passed = f"a Python {kind}, which is passed as {np.dtype(code).name}" if type(value) in _PYTHON else kind
        raise TypeError(
            f"{where} expects {parameter}; got {passed}. Pass numpy.{np.dtype(parameter.base).name}(...)."
            if parameter.base[0] != "S" and parameter.lanes == 1
            else f"{where} expects {parameter}; got {passed}."
        )
    return ctypes.create_string_buffer(data, len(data))
