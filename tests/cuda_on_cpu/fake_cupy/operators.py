"""The operators of ``ndarray``, its methods that are functions, and NumPy's functions of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import ndarray
from .functions import clip, full, nonzero, take, ufunc
from .names import METHODS, OPERATORS, ORDERINGS, UNARY


def attach(names: dict[str, Any]) -> None:
    """Give ``ndarray`` its operators and the methods that are functions."""
    for name in METHODS:
        setattr(ndarray, name, names[name])
    ndarray.clip = clip  # type: ignore[attr-defined]
    ndarray.take = take  # type: ignore[attr-defined]
    ndarray.nonzero = nonzero  # type: ignore[attr-defined]
    for operator, name in OPERATORS.items():
        _set_binary(operator, names[name])
    for operator, name in ORDERINGS.items():
        setattr(ndarray, f"__{operator}__", _ordering(names[name]))
    for operator, name in UNARY.items():
        setattr(ndarray, f"__{operator}__", lambda self, f=names[name]: f(self))
    ndarray.__array_ufunc__ = lambda self, *args, **keywords: _numpy_ufunc(names, *args, **keywords)  # type: ignore[attr-defined]
    ndarray.__array_function__ = lambda self, *args: _numpy_function(names, *args)  # type: ignore[attr-defined]


def _set_binary(operator: str, function: ufunc) -> None:
    def in_place(self: ndarray, other: Any) -> ndarray:
        return function(self, other, out=self)

    setattr(ndarray, f"__{operator}__", lambda self, other: function(self, other))
    setattr(ndarray, f"__r{operator}__", lambda self, other: function(other, self))
    setattr(ndarray, f"__i{operator}__", in_place)


def _ordering(function: ufunc) -> Callable[[ndarray, Any], ndarray]:
    def compare(self: ndarray, other: Any) -> ndarray:
        if other is None:
            return full(self.shape, function.__name__ == "not_equal", bool)
        return function(self, other)

    return compare


def _numpy_ufunc(names: dict[str, Any], numpy_ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
    """Serve ``np.exp(a)`` for a device array, as CuPy does; a NumPy array beside it is a TypeError."""
    function = names.get(numpy_ufunc.__name__)
    if method != "__call__" or function is None:
        return NotImplemented
    if "out" in keywords:
        (keywords["out"],) = keywords["out"]
    return function(*inputs, **keywords)


def _numpy_function(names: dict[str, Any], function: Any, types: Any, args: Any, keywords: Any) -> Any:
    """Serve ``np.sum(a)`` for a device array."""
    if function.__name__ not in names:
        return NotImplemented
    return names[function.__name__](*args, **keywords)
