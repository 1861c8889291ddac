"""Derivatives of what a network predicts, by its inputs and its parameters, exact to rounding.

Values go forward together with their first and second derivatives by the inputs (forward mode); one vector goes back
(reverse mode). Nothing is kept between calls, so that any number of threads can ask one network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels import reference
from tinynet_kernels.reference.second_derivatives import activation_second_derivative

from tinynet.backends import derivatives_beyond as beyond
from tinynet.backends.base import Backend, State, views
from tinynet.backends.blocks import columns, curves_at, evaluated, slopes_at, write_mapped, write_mapped_back
from tinynet.backends.derivatives_beyond import Jet
from tinynet.backends.hostproducts import for_products
from tinynet.program import (
    ActivationOp,
    BatchNormOp,
    BlocksOp,
    CustomOp,
    DenormalizeOp,
    DropoutOp,
    EmbeddingOp,
    LayerNormOp,
    LinearOp,
    NormalizeOp,
    Op,
    Program,
    ResidualOp,
    all_ops,
)

Array = NDArray[Any]

BLOCK_VALUES = 1 << 18
"""Most numbers of one layer's derivatives that are held at a time."""


class Pass(NamedTuple):
    """What a layer did with its input on the way forward."""

    op: Op
    arrays: tuple[Array, ...]
    x: Array
    y: Array


class ForwardAndBack:
    """A network with the values that its parameters have now.

    Parameters
    ----------
    program : Program
    parameters, buffers : (n,) arrays
        In host memory, and nobody else's.

    Raises
    ------
    NotImplementedError
        If a layer is written in Python.
    """

    def __init__(self, program: Program, parameters: Array, buffers: Array) -> None:
        self.program = program
        self._layers: list[tuple[Op, tuple[Array, ...]]] = []
        for position, op in enumerate(program.ops):
            for part in all_ops((op,)):
                if type(part) not in FORWARD and not isinstance(part, DropoutOp):
                    kind = "written in Python" if isinstance(part, CustomOp) else type(part).__name__.removesuffix("Op")
                    raise NotImplementedError(
                        f"derivatives expect layers whose derivatives tinynet knows; layer {position} is {kind}. "
                        "For its gradients there are net.forward and net.backward."
                    )
        layouts = zip(program.ops, program.parameter_layout, program.buffer_layout, strict=True)
        for op, layout, held in layouts:
            if not isinstance(op, DropoutOp):
                self._layers.append((op, (*views(parameters, layout), *views(buffers, held))))

    def jacobian(self, x: Array) -> Array:
        """Return the derivatives by the inputs, (n_samples, n_out, n_in)."""
        n, n_in, n_out = len(x), self.program.n_in, self.program.n_out
        result = np.empty((n, n_out, n_in), self.program.dtype)
        with self._products(n * min(n_in, n_out)):
            if n_in <= n_out:
                for rows in self._blocks(n, n_in):
                    result[rows] = self._jet(x[rows], second=False).first.transpose(0, 2, 1)
                return result
            passes = self._forward(x)
            for k in range(n_out):
                seed = np.zeros((n, n_out), x.dtype)
                seed[:, k] = 1.0
                result[:, k] = self._back(passes, seed)
        return result

    def hessian(self, x: Array) -> Array:
        """Return the second derivatives by the inputs, (n_samples, n_out, n_in, n_in)."""
        n_in = self.program.n_in
        result = np.empty((len(x), self.program.n_out, n_in, n_in), self.program.dtype)
        with self._products(len(x) * n_in * n_in):
            for rows in self._blocks(len(x), n_in * n_in):
                second = self._jet(x[rows], second=True).second
                assert second is not None
                result[rows] = second.transpose(0, 3, 1, 2)
        return result

    def jvp(self, x: Array, v: Array) -> Array:
        """Return the derivatives along the directions ``v``, one for each sample, (n_samples, n_out)."""
        jet = Jet(x, v[:, np.newaxis], None)
        with self._products(len(x)):
            for op, arrays in self._layers:
                jet = FORWARD[type(op)](op, arrays, jet)
        return np.ascontiguousarray(jet.first[:, 0], self.program.dtype)

    def vjp(self, x: Array, v: Array) -> Array:
        """Return the derivatives of ``sum(v * prediction)`` by the inputs, (n_samples, n_in)."""
        with self._products(len(x)):
            return np.asarray(self._back(self._forward(x), v), self.program.dtype)

    def parameter_jacobian(self, x: Array) -> Array:
        """Return the derivatives by the flat vector of parameters, (n_samples, n_out, n_parameters)."""
        n, n_out = len(x), self.program.n_out
        result = np.empty((n, n_out, self.program.n_parameters), self.program.dtype)
        with self._products(n):
            passes = self._forward(x)
            for k in range(n_out):
                seed = np.zeros((n, n_out), x.dtype)
                seed[:, k] = 1.0
                self._back(passes, seed, result[:, k])
        return result

    # -- parts -------------------------------------------------------------------------------------------------------

    def _products(self, rows: int) -> AbstractContextManager[None]:
        """Return a context for the products with so many rows."""
        sizes = (math.prod(shape) for op in self.program.ops for shape in op.shapes)
        return for_products(rows * max(sizes, default=0))

    def _blocks(self, n: int, n_directions: int) -> Iterator[slice]:
        widest = max(max(op.n_in, op.n_out) for op in self.program.ops)
        size = max(1, BLOCK_VALUES // (n_directions * widest))
        return (slice(start, start + size) for start in range(0, n, size))

    def _jet(self, x: Array, *, second: bool) -> Jet:
        """Lead samples forward, with their derivatives along each input."""
        n, n_in = x.shape
        first = np.broadcast_to(np.eye(n_in, dtype=x.dtype), (n, n_in, n_in))
        jet = Jet(x, first, np.zeros((n, n_in, n_in, n_in), x.dtype) if second else None)
        for op, arrays in self._layers:
            jet = FORWARD[type(op)](op, arrays, jet)
        return jet

    def _forward(self, x: Array) -> list[Pass]:
        return _passes(self._layers, x)

    def _back(self, passes: list[Pass], dy: Array, parameters: Array | None = None) -> Array:
        """Lead a gradient back; write what each sample says of each parameter to ``parameters``, if that is asked."""
        return _led_back(passes, dy, parameters)


def _passes(layers: list[tuple[Op, tuple[Array, ...]]], x: Array) -> list[Pass]:
    """Lead samples forward through layers."""
    passes = []
    for op, arrays in layers:
        y = VALUE[type(op)](op, arrays, x)
        passes.append(Pass(op, arrays, x, y))
        x = y
    return passes


def _led_back(passes: list[Pass], dy: Array, parameters: Array | None) -> Array:
    """Lead a gradient back through layers, whose parameters are all that ``parameters`` has columns for."""
    stop = 0 if parameters is None else parameters.shape[1]
    for op, arrays, x, y in reversed(passes):
        start = stop - sum(math.prod(shape) for shape in op.shapes)
        own = None if parameters is None else parameters[:, start:stop]
        dy, stop = BACK[type(op)](op, arrays, x, y, dy, own), start
    return dy


def _linear_back(op: Any, arrays: tuple[Array, ...], x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    if own is not None:
        n_weights = op.n_in * op.n_out
        own[:, :n_weights] = (x[:, :, np.newaxis] * dy[:, np.newaxis]).reshape(len(x), -1)
        if op.bias:
            own[:, n_weights:] = dy
    return np.asarray(dy @ arrays[0].T)


def _normalize_back(op: Any, arrays: tuple[Array, ...], x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    return np.asarray(dy / arrays[1])


def _blocks_back(op: Any, arrays: tuple[Array, ...], x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    dx = np.empty_like(dy)
    write_mapped_back(op, x, dy, dx)
    return dx


def _activation_back(op: Any, arrays: tuple[Array, ...], x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    return _through(op, x, y, dy)


def _within(op: ResidualOp, arrays: tuple[Array, ...]) -> list[tuple[Op, tuple[Array, ...]]]:
    """Return the layers within, but for dropout, with their arrays; those of the projection come last in all."""
    held = iter(arrays)
    layers = [(part, tuple(islice(held, len(part.shapes)))) for part in op.ops]
    return [layer for layer in layers if not isinstance(layer[0], DropoutOp)]


def _residual(op: ResidualOp, arrays: tuple[Array, ...], x: Array) -> Array:
    passes = _passes(_within(op, arrays), x)
    through = passes[-1].y if passes else x
    return np.asarray(through + (x @ arrays[-1] if op.projects else x))


def _residual_jet(op: ResidualOp, arrays: tuple[Array, ...], jet: Jet) -> Jet:
    through, beside = jet, jet
    for part, held in _within(op, arrays):
        through = FORWARD[type(part)](part, held, through)
    if op.projects:
        beside = _linear_jet(LinearOp(op.n_in, op.n_out, bias=False), arrays[-1:], jet)
    second = None if through.second is None or beside.second is None else through.second + beside.second
    return Jet(through.value + beside.value, through.first + beside.first, second)


def _residual_back(
    op: ResidualOp, arrays: tuple[Array, ...], x: Array, y: Array, dy: Array, own: Array | None
) -> Array:
    n_beside = op.n_in * op.n_out if op.projects else 0
    inner = None if own is None else own[:, : own.shape[1] - n_beside]
    beside = dy
    if op.projects:
        last = None if own is None else own[:, own.shape[1] - n_beside :]
        beside = _linear_back(LinearOp(op.n_in, op.n_out, bias=False), arrays[-1:], x, y, dy, last)
    return _led_back(_passes(_within(op, arrays), x), dy, inner) + beside


def _through(op: ActivationOp, z: Array, y: Array, dy: Array) -> Array:
    """Return ``f'(z) dy``: a gradient on its way back, and a direction on its way forward; both, as it is symmetric."""
    dz = np.empty_like(dy)
    reference.activation_backward(op.kind, z, y, dy, dz, op.alpha)
    return dz


def _linear(op: Any, arrays: tuple[Array, ...], x: Array) -> Array:
    y: Array = x @ arrays[0]
    return y + arrays[1] if op.bias else y


def _activation(op: Any, arrays: tuple[Array, ...], x: Array) -> Array:
    y = np.empty_like(x)
    reference.activation_forward(op.kind, x, y, op.alpha)
    return y


def _normalized(op: Any, arrays: tuple[Array, ...], x: Array) -> Array:
    y: Array = (x - arrays[0]) / arrays[1]
    return y


def _linear_jet(op: Any, arrays: tuple[Array, ...], jet: Jet) -> Jet:
    w = arrays[0]
    return Jet(_linear(op, arrays, jet.value), jet.first @ w, None if jet.second is None else jet.second @ w)


def _normalize_jet(op: Any, arrays: tuple[Array, ...], jet: Jet) -> Jet:
    scale = arrays[1]
    value = _normalized(op, arrays, jet.value)
    return Jet(value, jet.first / scale, None if jet.second is None else jet.second / scale)


def _activation_jet(op: Any, arrays: tuple[Array, ...], jet: Jet) -> Jet:
    """``y_i = f' z_i`` and ``y_ij = f' z_ij + f'' z_i z_j``; of softmax the same by its own derivatives."""
    z = jet.value
    y = _activation(op, arrays, z)
    if op.kind == "softmax":
        return _softmax_jet(y, jet)
    slope = _through(op, z, y, np.ones_like(z))
    first, second = slope[:, np.newaxis] * jet.first, None
    if jet.second is not None:
        curve = activation_second_derivative(op.kind, z, y, op.alpha)
        pairs = jet.first[:, :, np.newaxis] * jet.first[:, np.newaxis]
        second = slope[:, np.newaxis, np.newaxis] * jet.second + curve[:, np.newaxis, np.newaxis] * pairs
    return Jet(y, first, second)


def _softmax_jet(y: Array, jet: Jet) -> Jet:
    """``y_i = y (z_i - m_i)`` with ``m_i = <y, z_i>``, and its derivative once more."""
    p = y[:, np.newaxis]
    away = jet.first - (p * jet.first).sum(axis=-1, keepdims=True)
    first, second = p * away, None
    if jet.second is not None:
        p = p[:, np.newaxis]
        mean = (p * jet.second).sum(axis=-1, keepdims=True)
        # d m_i / d_j = <y_j, z_i> + <y, z_ij>
        moved = (first[:, np.newaxis] * jet.first[:, :, np.newaxis]).sum(axis=-1, keepdims=True)
        second = p * (away[:, :, np.newaxis] * away[:, np.newaxis] + jet.second - mean - moved)
    return Jet(y, first, second)


def _blocks(op: BlocksOp, arrays: tuple[Array, ...], x: Array) -> Array:
    y = np.empty_like(x)
    write_mapped(op, x, y)
    return y


def _blocks_jet(op: BlocksOp, arrays: tuple[Array, ...], jet: Jet) -> Jet:
    """``y_i = sum_j f_j z_j,i`` and ``y_ik = sum_j f_j z_j,ik + sum_jl f_jl z_j,i z_l,k``, of each output."""
    first, second = np.zeros_like(jet.first), None if jet.second is None else np.zeros_like(jet.second)
    steps = columns(op, jet.first)
    for i, out in enumerate(columns(op, first)):
        slopes = evaluated(op, slopes_at(op)[i], jet.value)
        for slope, step in zip(slopes, steps, strict=True):
            out += _spread(slope, 1) * step
        if jet.second is None or second is None:
            continue
        bent = columns(op, second)[i]
        for slope, curve in zip(slopes, columns(op, jet.second), strict=True):
            bent += _spread(slope, 2) * curve
        for j, row in enumerate(curves_at(op)[i]):
            for k, curve in enumerate(evaluated(op, row, jet.value)):
                bent += _spread(curve, 2) * steps[j][:, :, np.newaxis] * steps[k][:, np.newaxis]
    return Jet(_blocks(op, arrays, jet.value), first, second)


def _spread(value: Any, axes: int) -> Any:
    """Return numbers of samples and targets with so many axes of directions between the two; a number as it is."""
    return np.expand_dims(value, tuple(range(1, 1 + axes))) if np.ndim(value) else value


def derivatives_of(program: Program, backend: Backend, state: State) -> ForwardAndBack:
    """Return the derivatives of a program with copies of what the parameters in a state are now."""
    parameters, buffers = (np.array(backend.to_numpy(array)) for array in (state.parameters, state.buffers))
    return ForwardAndBack(program, parameters, buffers)


VALUE: dict[type, Callable[[Any, tuple[Array, ...], Array], Array]] = {
    LinearOp: _linear,
    ActivationOp: _activation,
    NormalizeOp: _normalized,
    DenormalizeOp: _normalized,
    BlocksOp: _blocks,
    LayerNormOp: beyond.layer_norm,
    BatchNormOp: beyond.batch_norm,
    EmbeddingOp: beyond.embedding,
    ResidualOp: _residual,
}
FORWARD: dict[type, Callable[[Any, tuple[Array, ...], Jet], Jet]] = {
    LinearOp: _linear_jet,
    ActivationOp: _activation_jet,
    NormalizeOp: _normalize_jet,
    DenormalizeOp: _normalize_jet,
    BlocksOp: _blocks_jet,
    LayerNormOp: beyond.layer_norm_jet,
    BatchNormOp: beyond.batch_norm_jet,
    EmbeddingOp: beyond.embedding_jet,
    ResidualOp: _residual_jet,
}
BACK: dict[type, Callable[[Any, tuple[Array, ...], Array, Array, Array, Array | None], Array]] = {
    LinearOp: _linear_back,
    ActivationOp: _activation_back,
    NormalizeOp: _normalize_back,
    DenormalizeOp: _normalize_back,
    BlocksOp: _blocks_back,
    LayerNormOp: beyond.layer_norm_back,
    BatchNormOp: beyond.batch_norm_back,
    EmbeddingOp: beyond.embedding_back,
    ResidualOp: _residual_back,
}
"""How values, jets, and gradients go through each kind of layer."""
