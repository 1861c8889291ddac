"""The Jacobian of predictions in generated code: in full, and by the shortest way for few samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tinynet_kernels.cpu.generated.jacobians import Jacobians

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.derivatives import ForwardAndBack
from tinynet.backends.lowering import layers_of
from tinynet.program import BlocksOp, CustomOp, Program

FEW = 64
"""Samples of which the shortest way takes no more: then what is left out there does not count."""


def jacobians_of(program: Program) -> Jacobians | None:
    """Return what computes the Jacobians of a program; None where a layer is written in Python, or made of blocks."""
    if any(isinstance(op, CustomOp | BlocksOp) for op in program.ops):
        return None
    return Jacobians(tuple(layer for layer in layers_of(program.ops) if layer.kind != "dropout"))


class GeneratedDerivatives(ForwardAndBack):
    """As the reference, with Jacobians in generated code."""

    def __init__(self, program: Program, backend: Backend, state: State, jacobians: Jacobians) -> None:
        parameters, buffers = (np.array(backend.to_numpy(array)) for array in (state.parameters, state.buffers))
        super().__init__(program, parameters, buffers)
        self._own = parameters.astype(np.float64), buffers
        self._jacobians = jacobians

    def jacobian(self, x: Array) -> Array:
        """Return the derivatives by the inputs, (n_samples, n_out, n_in)."""
        return self._jacobians(*self._own, x).astype(self.program.dtype, copy=False)


def shortest(program: Program, state: State, jacobians: Jacobians) -> Callable[[Any], Array | None]:
    """Return a function of few samples that need no conversion, with what the state holds then; None for all others."""
    n_in, dtype, ndarray = program.n_in, np.dtype(program.dtype), np.ndarray
    wide = dtype == np.float64

    def jacobian(x: Any) -> Array | None:
        if type(x) is not ndarray or x.dtype is not dtype or x.ndim != 2:
            return None
        rows, columns = x.shape
        if columns != n_in or not 0 < rows <= FEW or not math.isfinite(x.sum()):
            return None
        if wide:
            return jacobians(state.parameters, state.buffers, x)
        return jacobians(state.parameters.astype(np.float64), state.buffers, x).astype(dtype)

    return jacobian
