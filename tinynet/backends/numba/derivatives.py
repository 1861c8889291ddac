"""Derivatives of predictions in generated code: in full, and by the shortest way for few samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.derivatives import Derivatives, few
from tinynet_kernels.cpu.generated.passes import address

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.derivatives import ForwardAndBack
from tinynet.backends.fusable import can_lower
from tinynet.backends.lowering import layers_of
from tinynet.program import Program

FEW = 64
"""Samples of which the shortest way takes no more: then what is left out there does not count."""

Made = Callable[[str], Derivatives | None]
"""Returns what computes a derivative by its name; None where there is no such thing."""


def generated(program: Program, name: str) -> Derivatives | None:
    """Return what computes a derivative of a program; None where a layer, or their number, is beyond generated code."""
    if not can_lower(*program.ops):
        return None
    layers = tuple(layer for layer in layers_of(program.ops) if layer.kind != "dropout")
    return Derivatives(layers, name) if layers and few(layers, name) else None


class GeneratedDerivatives(ForwardAndBack):
    """As the reference, in generated code where there is some."""

    def __init__(self, program: Program, backend: Backend, state: State, made: Made) -> None:
        parameters, buffers = (np.array(backend.to_numpy(array)) for array in (state.parameters, state.buffers))
        super().__init__(program, parameters, buffers)
        self._own = parameters.astype(np.float64), buffers
        self._made = made

    def jacobian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives by the inputs, (n_samples, n_out, n_in)."""
        return self._derived("jacobian", x)

    def hessian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the second derivatives by the inputs, (n_samples, n_out, n_in, n_in)."""
        return self._derived("hessian", x)

    def jvp(self, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives along the directions ``v``, one for each sample, (n_samples, n_out)."""
        return self._derived("jvp", x, v)

    def vjp(self, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives of ``sum(v * prediction)`` by the inputs, (n_samples, n_in)."""
        return self._derived("vjp", x, v)

    def parameter_jacobian(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the derivatives by the flat vector of parameters, (n_samples, n_out, n_parameters)."""
        return self._derived("parameter_jacobian", x)

    def _derived(self, name: str, *given: NDArray[Any]) -> NDArray[Any]:
        derivative = self._made(name)
        if derivative is None:
            found: NDArray[Any] = getattr(super(), name)(*given)
            return found
        return derivative(*self._own, *given, dtype=self.program.dtype)


def shortest(program: Program, state: State, derivative: Derivatives) -> Callable[..., Array | None]:
    """Return a function of few samples that need no conversion, with what the state holds then; None for all others."""
    widths, dtype, ndarray, isfinite = derivative.widths, np.dtype(program.dtype), np.ndarray, math.isfinite
    parameters, buffers, most = state.parameters, state.buffers, derivative.unit
    # They stay where they are: a model that moves gets another state, and another function.
    places = (address(parameters), address(buffers)) if dtype == np.float64 else None

    def derived(*given: Any) -> Array | None:
        rows = given[0].shape[0] if type(given[0]) is ndarray and given[0].ndim else 0
        if not 0 < rows <= FEW:
            return None
        for array, width in zip(given, widths, strict=True):
            if type(array) is not ndarray or array.dtype is not dtype or array.shape != (rows, width):
                return None
            if not isfinite(array.sum()):
                return None
        if places is None or rows > most:
            return derivative(parameters.astype(np.float64, copy=False), buffers, *given, dtype=dtype)
        return derivative.of_few(places, given, rows, dtype)

    return derived
