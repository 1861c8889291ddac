"""Stages: one op of a program bound to a backend's kernels, forward and backward.

A network run kernel by kernel is a chain of stages. The same stages run a layer that is used by itself, so no layer is
implemented twice. They also run many models of a network at once, on kernels that do: arrays then have the models as
their first axis, but for samples that all models share.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tinynet.base.arrays import numpy_namespace
from tinynet.program import (
    ActivationOp,
    BlocksOp,
    CustomOp,
    DropoutOp,
    LinearOp,
    NormalizeOp,
    Program,
    Shape,
)

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend, State


class Own(NamedTuple):
    """What belongs to a stage: views of its parameters, of what it stores untrained, and of its gradients.

    ``gradients`` is None where the stage is frozen.
    """

    parameters: tuple[Array, ...]
    buffers: tuple[Array, ...]
    gradients: tuple[Array, ...] | None


class Scratch:
    """Arrays by name, at the start of buffers that are allocated once and grow only for a larger batch."""

    def __init__(self, empty: Callable[..., Array]) -> None:
        self._empty = empty
        self._held: dict[str, tuple[Array, Array]] = {}

    def __call__(self, name: str, shape: Shape, dtype: str) -> Array:
        """Return an array with arbitrary contents, most often that of the last call of this name."""
        buffer, array = self._held.get(name, (None, None))
        if array is None or array.shape != shape or array.dtype != dtype:
            size = math.prod(shape)
            if buffer is None or buffer.size < size or buffer.dtype != dtype:
                buffer = self._empty((size,), dtype)
            array = buffer[:size].reshape(shape)
            self._held[name] = buffer, array
        return array


class Stage(ABC):
    """Forward and backward of one op, or of a linear op and the activation that follows it.

    ``forward`` remembers what ``backward`` needs. Both return scratch of the stage, which its next call overwrites.
    """

    n_ops = 1

    def __init__(self, backend: Backend, dtype: str) -> None:
        self.kernels: Any = backend.kernels
        self._dtype = dtype
        self._scratch = Scratch(backend.empty)

    def scratch(self, name: str, *shape: int) -> Array:
        """Return an array of the computation's dtype; see ``Scratch``."""
        return self._scratch(name, shape, self._dtype)

    @abstractmethod
    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the output for ``x``. ``state`` is None outside training: dropout is off then."""

    @abstractmethod
    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        """Fill ``own.gradients``; return the gradient with respect to the last input, or None if nobody needs it."""

    def learns(self, own: Own) -> bool:
        """Whether there is a reason to go back to the stage, even if nobody needs the gradient of its input."""
        return bool(own.gradients)


class LinearStage(Stage):
    """``y = f(x @ w + b)``."""

    def __init__(self, op: LinearOp, activation: ActivationOp | None, backend: Backend, program: Program) -> None:
        super().__init__(backend, program.dtype)
        self.kernels = backend.kernels_for(program)
        self.op, self.activation = op, activation
        self.n_ops = 1 if activation is None else 2
        self._keep_z = activation is not None and self.kernels.ACTIVATIONS[activation.kind].reads_z

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        weight, bias = own.parameters if self.op.bias else (*own.parameters, None)
        shape = (*weight.shape[:-2], x.shape[-2], self.op.n_out)
        y = self.scratch("y", *shape)
        z = self.scratch("z", *shape) if self._keep_z else y
        if self.activation is None:
            self.kernels.linear_forward(x, weight, bias, y)
        else:
            kind, alpha = self.activation.kind, self.activation.alpha
            self.kernels.linear_activation_forward(kind, x, weight, bias, z, y, alpha)
        self._x, self._z, self._y = x, z, y
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        dz = self._through_activation(dy)
        dw, db = (*(own.gradients or ()), None, None)[:2]
        dx = self.scratch("dx", *dy.shape[:-1], self.op.n_in) if need_dx else None
        self.kernels.linear_backward(self._x, own.parameters[0], dz, dw, db, dx)
        return dx

    def descend(self, dy: Array, own: Own, need_dx: bool, rate: float) -> Array:
        """Do what ``backward`` does, but take a step of gradient descent with the weight in place of its gradient.

        For kernels that have ``linear_descent``. The gradient of the bias is left for the caller.
        """
        assert own.gradients is not None
        dz, db = self._through_activation(dy), own.gradients[1] if self.op.bias else None
        dx = self.scratch("dx", *dy.shape[:-1], self.op.n_in) if need_dx else None
        self.kernels.linear_descent(self._x, own.parameters[0], dz, db, dx, rate)
        return dx

    def factors(self, dy: Array) -> tuple[Array, Array]:
        """Return the two factors of the gradient of each sample, (n_samples, n_in) and (n_samples, n_out).

        The products of their elements are the derivatives of what ``dy`` is the gradient of, by the weights.
        """
        return self._x, self._through_activation(dy)

    def _through_activation(self, dy: Array) -> Array:
        if self.activation is None:
            return dy
        dz = self.scratch("dz", *dy.shape)
        kind, alpha = self.activation.kind, self.activation.alpha
        self.kernels.activation_backward(kind, self._z, self._y, dy, dz, alpha)
        return dz


class ActivationStage(Stage):
    """``y = f(x)`` where no linear op goes before."""

    def __init__(self, op: ActivationOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        self._z, self._y = x, self.scratch("y", *x.shape)
        self.kernels.activation_forward(self.op.kind, self._z, self._y, self.op.alpha)
        return self._y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        if not need_dx:
            return None
        dz = self.scratch("dz", *dy.shape)
        self.kernels.activation_backward(self.op.kind, self._z, self._y, dy, dz, self.op.alpha)
        return dz


class DropoutStage(Stage):
    """``y = x * mask`` in training, ``y = x`` otherwise.

    Attributes
    ----------
    rate : float, or (n_models,) array of the backend
        Of many models, each has its own.
    """

    def __init__(self, op: DropoutOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op
        self.rate: Any = op.rate

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        self._mask = None
        if state is None or self.op.rate == 0.0:
            return x
        self._mask = self.scratch("mask", *x.shape)
        whole = self._mask if state.rows is None else self.scratch("whole", int(state.rows[-1]) + 1, x.shape[1])
        self.kernels.dropout_mask(state.dropout_seed, state.draws, self.op.index, self.rate, whole)
        if state.rows is not None:
            self.kernels.gather_rows(whole, state.rows, self._mask)
        y = self.scratch("y", *x.shape)
        self.kernels.multiply(x, self._mask, y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        if self._mask is None or not need_dx:
            return dy
        dx = self.scratch("dx", *dy.shape)
        self.kernels.multiply(dy, self._mask, dx)
        return dx


class NormalizeStage(Stage):
    """``y = (x - mean) / scale``, of samples in float64 if it is the first one."""

    def __init__(self, op: NormalizeOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        y = self.scratch("y", *x.shape)
        self.kernels.normalize_forward(x, *own.buffers, y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        if not need_dx:
            return None
        dx = self.scratch("dx", *dy.shape)
        self.kernels.normalize_backward(own.buffers[1], dy, dx)
        return dx


class BlocksStage(Stage):
    """Several outputs for each target, of as many numbers."""

    def __init__(self, op: BlocksOp, backend: Backend, dtype: str) -> None:
        from tinynet.backends import blocks  # It needs the kernels, which only a backend imports.

        super().__init__(backend, dtype)
        self.op, self._maps = op, blocks

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        self._z, y = x, self.scratch("y", *x.shape)
        self._maps.write_mapped(self.op, x, y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        if not need_dx:
            return None
        dz = self.scratch("dz", *dy.shape)
        self._maps.write_mapped_back(self.op, self._z, dy, dz)
        return dz


class CustomStage(Stage):
    """A layer written by the user, on the backend's arrays."""

    def __init__(self, op: CustomOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op
        self._namespace = backend.namespace

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        layer = self.op.layer
        layer.training = state is not None
        layer.passes = self._pass = layer.passes + 1
        return self._checked(layer.forward(x), (len(x), self.op.n_out), "forward")

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        layer = self.op.layer
        if layer.passes != self._pass:
            name = type(layer).__name__
            raise RuntimeError(
                f"{name}.backward expects what {name}.forward has kept in the layer; another forward pass (predict, "
                "evaluate, another thread's) has gone through it since. Call forward again before backward."
            )
        dx = layer.backward(dy)
        return self._checked(dx, (len(dy), self.op.n_in), "backward") if need_dx else None

    def learns(self, own: Own) -> bool:
        """Whether it is not frozen: a layer in Python may learn more than what it has declared."""
        return own.gradients is not None

    def _checked(self, result: Any, shape: tuple[int, int], method: str) -> Array:
        """Hold what user code returned against the shape that the neighbours expect, in the model's dtype."""
        if getattr(result, "shape", None) != shape:
            got = getattr(result, "shape", type(result).__name__)
            raise ValueError(
                f"{type(self.op.layer).__name__}.{method} must return an array of shape {shape}; got {got}. "
                "Check the layer's n_in and n_out, and what the method returns."
            )
        if numpy_namespace(result) is not self._namespace:
            raise TypeError(
                f"{type(self.op.layer).__name__}.{method} must return an array of {self._namespace.__name__}, as it "
                f"was given; got one of {type(result).__module__}. Compute with tn.numpy_namespace(x)."
            )
        out = self.scratch(method, *shape)
        out[...] = result
        return out
