"""Slopes: a network run kernel by kernel together with its derivatives by the inputs, forward and back.

A batch becomes ``1 + n_in`` blocks of rows: the samples, and for each input the direction in which it alone grows
(forward mode). A loss reads what comes out, outputs and their derivatives, and its gradient goes back through both
(reverse over forward; Czarnecki et al. 2017 train on such losses).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinynet.backends.stages import ActivationStage, DropoutStage, LinearStage, NormalizeStage, Own, Stage
from tinynet.program import ActivationOp

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend, State


class Directions(Stage):
    """Puts the directions below the samples."""

    n_ops = 0

    def __init__(self, n_in: int, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self._unit = backend.asarray(np.eye(n_in, dtype=dtype)[:, np.newaxis])

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the samples, and ``n_in`` blocks of unit vectors."""
        n, n_in = x.shape
        rows = self.scratch("rows", (1 + n_in) * n, n_in)
        rows[:n] = x
        rows[n:].reshape(n_in, n, n_in)[...] = self._unit
        return rows

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        """Return the gradient by the samples: the directions are constants."""
        return dy[: len(dy) // (1 + len(self._unit))]

    def learns(self, own: Own) -> bool:
        """Whether there is anything to learn: no."""
        return False


class BlocksOfRows(Stage):
    """A stage that takes blocks of rows: of the samples, and of each direction."""

    n_directions: int

    def blocks(self, rows: Array) -> tuple[Array, Array]:
        """Return the samples of an array, (n_samples, n), and their directions, (n_directions, n_samples, n)."""
        n = len(rows) // (1 + self.n_directions)
        return rows[:n], rows[n:].reshape(self.n_directions, n, rows.shape[1])

    def bend(self, op: ActivationOp, z: Array, y: Array, t: Array, out: Array) -> None:
        """Lead directions ``t`` through an activation, ``f'(z) t``: on the way forward, and as gradients back."""
        for along, result in zip(t, out, strict=True):
            self.kernels.activation_backward(op.kind, z, y, along, result, op.alpha)

    def straighten(self, op: ActivationOp, z: Array, y: Array, t: Array, dy: Array, dz: Array) -> None:
        """Lead the gradients of samples and directions back through an activation whose directions came as ``t``."""
        (of_y, of_s), (of_z, of_t) = self.blocks(dy), self.blocks(dz)
        self.kernels.activation_backward(op.kind, z, y, of_y, of_z, op.alpha)
        self.kernels.activation_curvature(op.kind, z, y, t, of_s, of_z, op.alpha)
        self.bend(op, z, y, of_s, of_t)


class LinearSlopes(BlocksOfRows, LinearStage):
    """``y = f(x @ w + b)``, and ``f'(z) (t @ w)`` of directions."""

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the blocks of outputs."""
        weight, bias = own.parameters if self.op.bias else (*own.parameters, None)
        rows = self.scratch("rows", len(x), self.op.n_out)
        (y, out), n = self.blocks(rows), len(x) // (1 + self.n_directions)
        z, s = (self.scratch("z", *y.shape) if self._keep_z else y), rows[n:]
        if self.activation is None:
            self.kernels.linear_forward(x[:n], weight, bias, y)
            self.kernels.linear_forward(x[n:], weight, None, s)
        else:
            kind, alpha = self.activation.kind, self.activation.alpha
            self.kernels.linear_activation_forward(kind, x[:n], weight, bias, z, y, alpha)
            s = self.scratch("s", *s.shape)
            self.kernels.linear_forward(x[n:], weight, None, s)
            self.bend(self.activation, z, y, s.reshape(out.shape), out)
        self._x, self._z, self._y, self._s = x, z, y, s.reshape(out.shape)
        return rows

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        """Fill the gradients, to which samples and directions add; return that of the blocks that came in."""
        dz = dy
        if self.activation is not None:
            dz = self.scratch("dz", *dy.shape)
            self.straighten(self.activation, self._z, self._y, self._s, dy, dz)
        dw, db = (*(own.gradients or ()), None, None)[:2]
        dx = self.scratch("dx", len(dy), self.op.n_in) if need_dx else None
        self.kernels.linear_backward(self._x, own.parameters[0], dz, dw, None, dx)
        if db is not None:  # It moves no direction.
            n = len(self._y)
            self.kernels.linear_backward(self._x[:n], own.parameters[0], dz[:n], None, db, None)
        return dx


class ActivationSlopes(BlocksOfRows, ActivationStage):
    """``y = f(x)``, and ``f'(x) t`` of directions."""

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the blocks of outputs."""
        rows = self.scratch("rows", *x.shape)
        self._x, self._rows = x, rows
        (z, t), (y, out) = self.blocks(x), self.blocks(rows)
        self.kernels.activation_forward(self.op.kind, z, y, self.op.alpha)
        self.bend(self.op, z, y, t, out)
        return rows

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        """Return the gradient of the blocks that came in."""
        if not need_dx:
            return None
        (z, t), (y, _) = self.blocks(self._x), self.blocks(self._rows)
        dz = self.scratch("dz", *dy.shape)
        self.straighten(self.op, z, y, t, dy, dz)
        return dz


class DropoutSlopes(BlocksOfRows, DropoutStage):
    """``y = x * mask`` in training, with the mask of a sample for its directions, too."""

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the blocks of outputs."""
        self._mask = None
        if state is None or self.op.rate == 0.0:
            return x
        self._mask = self.scratch("mask", len(x) // (1 + self.n_directions), x.shape[1])
        self.kernels.dropout_mask(state.dropout_seed, state.draws, self.op.index, self.rate, self._mask)
        return self._masked(x, "y")

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        """Return the gradient of the blocks that came in."""
        return dy if self._mask is None or not need_dx else self._masked(dy, "dx")

    def _masked(self, rows: Array, name: str) -> Array:
        out = self.scratch(name, *rows.shape)
        assert self._mask is not None
        shape = (1 + self.n_directions, *self._mask.shape)
        for block, result in zip(rows.reshape(shape), out.reshape(shape), strict=True):
            self.kernels.multiply(block, self._mask, result)
        return out


class NormalizeSlopes(BlocksOfRows, NormalizeStage):
    """``y = (x - mean) / scale``, and ``t / scale`` of directions."""

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        """Return the blocks of outputs."""
        rows, n = self.scratch("y", *x.shape), len(x) // (1 + self.n_directions)
        self.kernels.normalize_forward(x[:n], *own.buffers, rows[:n])
        self.kernels.normalize_backward(own.buffers[1], x[n:], rows[n:])
        return rows


SLOPES: dict[type[Stage], type[BlocksOfRows]] = {
    LinearStage: LinearSlopes,
    ActivationStage: ActivationSlopes,
    DropoutStage: DropoutSlopes,
    NormalizeStage: NormalizeSlopes,
}
"""The stage that takes blocks of rows, in the place of each that takes samples."""
