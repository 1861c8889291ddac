"""CuPyEquations: the normal equations of many models on a GPU, in batches of products by cuBLAS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinynet.backends.base import Array
from tinynet.backends.fusable import can_lower
from tinynet.backends.second_order.equations import Data, Equations, Float64, Models
from tinynet.program import ActivationOp, CustomOp, LinearOp, NormalizeOp, Op, Program

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

BLOCK_BYTES = 1 << 28
"""Of the rows of Jacobians that are held at a time."""

LEAST = 1e-200
"""The smallest curvature: a slope is always the product of its root with a finite number."""


class Pass(NamedTuple):
    """What a layer did with its input on the way forward."""

    op: Op
    arrays: tuple[Array, ...]
    x: Array
    y: Array


class CuPyEquations(Equations):
    """Jacobians, their products and the solutions of all models at once; (n_models, n_samples, n) arrays in float64.

    The gradient is the last row of a matrix: the Jacobian has one more column, with the slope of the loss over the root
    of its curvature.
    """

    description = "normal equations of all models at once, by cuBLAS and cuSOLVER"

    def __init__(self, program: Program, backend: CuPyBackend) -> None:
        super().__init__(program)
        other = next((op for op in program.ops if not can_lower(op)), None)
        if other is not None:
            got = "one that is written in Python" if isinstance(other, CustomOp) else type(other).__name__[:-2]
            raise ValueError(
                "LevenbergMarquardt on a GPU expects layers of tinynet, without those that standardise samples, skip "
                f"others or embed; got {got}. Move the model: net.to('cpu')."
            )
        self.backend, self._xp, self._kernels = backend, backend.namespace, backend.kernels
        self._ops = program.ops[:-1] if self.loss.on_logits else program.ops
        assert isinstance(self.loss.parameter, float)
        self._parameter = self.loss.parameter
        self._places: dict[int, int] = {}
        n = 0
        for i, op in enumerate(self._ops):
            if isinstance(op, LinearOp) and i not in program.frozen:
                self._places[i] = n
                n += sum(math.prod(shape) for shape in op.shapes)
        self._n = n

    def prepare(self, x: Array, y: Array, weight: Array | None) -> Data:
        """Return data with copies on the device: samples, targets, and what each sample counts."""
        asarray, dtype = self.backend.asarray, self.program.dtype
        samples = asarray(asarray(x, self.program.reads), "float64")
        targets = asarray(y, "int64") if self.loss.index_target else asarray(asarray(y, dtype), "float64")
        masses = np.ones((1, len(x)))
        if weight is not None:
            masses = np.atleast_2d(np.asarray(self.backend.to_numpy(weight), np.float64))
        whole = masses.sum(axis=1) if self.loss.by_weight else np.full(len(masses), float(len(x)))
        scales = [self.loss.scale(float(mass) or math.inf, self.program.n_out) for mass in whole]
        return Data(x, y, weight, (samples, targets, masses * np.array(scales)[:, np.newaxis]))

    def sums(self, models: Models, data: Data) -> tuple[Float64, Float64, Any]:
        """See ``Equations.sums``."""
        xp, m, n = self._xp, len(models.parameters), self._n
        held, matrices = self._on_device(models), xp.zeros((m, n + 1, n + 1))
        losses = xp.zeros(m)
        for x, y, mass in self._blocks(models, data, m):
            passes = self._forward(held, x, m)
            value, seeds, ratios = self._curved(passes[-1].y, y, mass)
            losses += value
            jacobian = xp.empty((m, len(x), n + 1))
            for seed, ratio in zip(seeds, ratios, strict=True):
                self._back(passes, seed, jacobian)
                jacobian[:, :, n] = ratio
                matrices += xp.matmul(jacobian.swapaxes(1, 2), jacobian)
        found = [np.asarray(self.backend.to_numpy(array)) for array in (losses, matrices[:, n, :n])]
        return found[0] * self.loss.report, found[1].copy(), matrices

    def values(self, models: Models, data: Data) -> Float64:
        """See ``Equations.values``."""
        xp, m = self._xp, len(models.parameters)
        held, losses = self._on_device(models), xp.zeros(m)
        for x, y, mass in self._blocks(models, data, m):
            losses += self._loss(self._forward(held, x, m)[-1].y, y, mass)[0]
        found: Float64 = np.asarray(self.backend.to_numpy(losses))
        return found * self.loss.report

    def diagonals(self, matrices: Any) -> Float64:
        """See ``Equations.diagonals``."""
        found: Float64 = np.asarray(self.backend.to_numpy(self._diagonals(matrices)))[:, : self._n]
        return found

    def solve(self, matrices: Any, chosen: Any, gradients: Float64, diagonals: Float64) -> Float64:
        """See ``Equations.solve``."""
        from tinynet_kernels.cuda.cholesky import solve_positive

        damped = self._damped(matrices, chosen, diagonals)
        found: Float64 = np.asarray(self.backend.to_numpy(solve_positive(damped, self.backend.asarray(gradients))))
        return found

    def traces_of_inverses(self, matrices: Any, diagonals: Float64) -> Float64:
        """See ``Equations.traces_of_inverses``."""
        inverses = self._xp.linalg.inv(self._damped(matrices, slice(None), diagonals))
        found: Float64 = np.asarray(self.backend.to_numpy(self._diagonals(inverses).sum(axis=1)))
        return found

    def second_derivative(self, models: Models, i: int, direction: Float64, data: Data) -> Float64:
        """See ``Equations.second_derivative``: a central difference with a step of a tenth of the direction."""
        xp, one = self._xp, models.chosen(slice(i, i + 1))
        moved = np.zeros(self.program.n_parameters)
        moved[np.concatenate([np.arange(part.start, part.stop) for part in self.program.trained])] = direction
        result = xp.zeros(self._n)
        for x, y, mass in self._blocks(one, data, 1):
            outputs = []
            for sign in (-0.1, 0.1, 0.0):
                there = one._replace(parameters=one.parameters + sign * moved)
                passes = self._forward(self._on_device(there), x, 1)
                outputs.append(passes[-1].y)
            curve = (outputs[1] - 2.0 * outputs[2] + outputs[0]) / 0.01
            _, seeds, _ = self._curved(outputs[2].copy(), y, mass)
            # H is the sum of s s' over the seeds s.
            seed = xp.zeros_like(curve)
            for each in seeds:
                seed += each * (each * curve).sum(axis=2)[:, :, None]
            jacobian = xp.zeros((1, len(x), self._n + 1))
            self._back(passes, seed, jacobian)
            result += jacobian[0, :, : self._n].sum(axis=0)
        found: Float64 = np.asarray(self.backend.to_numpy(result))
        return found

    # -- parts -------------------------------------------------------------------------------------------------------

    def _diagonals(self, matrices: Any) -> Any:
        m, n = len(matrices), matrices.shape[1]
        return matrices.reshape(m, n * n)[:, :: n + 1]

    def _damped(self, matrices: Any, chosen: Any, diagonals: Float64) -> Any:
        """Return copies of some matrices, without the gradient, with more on their diagonals."""
        picked = matrices if isinstance(chosen, slice) else matrices[self.backend.asarray(chosen)]
        damped = self._xp.ascontiguousarray(picked[:, : self._n, : self._n])
        view = self._diagonals(damped)
        view += self.backend.asarray(np.ascontiguousarray(diagonals))
        return damped

    def _on_device(self, models: Models) -> tuple[Array, Array]:
        asarray = self.backend.asarray
        return asarray(models.parameters), asarray(models.buffers)

    def _blocks(self, models: Models, data: Data, m: int) -> Any:
        """Return blocks of samples, targets and what they count."""
        x, y, masses = data.kept
        own = masses if len(masses) == 1 else masses[models.numbers]
        size = max(1, BLOCK_BYTES // (8 * m * (self._n + 1)))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            counted = self.backend.asarray(np.broadcast_to(own[:, rows], (m, own[:, rows].shape[1])).copy())
            yield x[rows], y[rows], counted

    def _forward(self, held: tuple[Array, Array], x: Array, m: int) -> list[Pass]:
        """Lead samples through all models."""
        xp, (parameters, buffers), n = self._xp, held, len(x)
        x = xp.ascontiguousarray(xp.broadcast_to(x, (m, *x.shape)))
        layouts = zip(self._ops, self.program.parameter_layout, self.program.buffer_layout, strict=False)
        passes: list[Pass] = []
        for i, (op, layout, stored) in enumerate(layouts):
            arrays = (*_cut(parameters, layout), *_cut(buffers, stored))
            if isinstance(op, LinearOp):
                y = xp.matmul(x, arrays[0])
                if op.bias:
                    y += arrays[1][:, None]
            elif isinstance(op, NormalizeOp):
                y = x if i < self.program.first else (x - arrays[0][:, None]) / arrays[1][:, None]
            else:
                assert isinstance(op, ActivationOp)
                y = xp.empty((m, n, op.n))
                self._kernels.activation_forward(op.kind, x, y, op.alpha)
            passes.append(Pass(op, arrays, x, y))
            x = y
        return passes

    def _back(self, passes: list[Pass], d: Array, jacobian: Array) -> None:
        """Lead a gradient back, and write what each sample says of each parameter that is trained."""
        xp, first = self._xp, min(self._places)
        for i in range(len(passes) - 1, first - 1, -1):
            op, arrays, x, y = passes[i]
            if isinstance(op, LinearOp):
                if i in self._places:
                    start = self._places[i]
                    stop = start + op.n_in * op.n_out
                    products = x[:, :, :, None] * d[:, :, None, :]
                    jacobian[:, :, start:stop] = products.reshape(*d.shape[:2], op.n_in * op.n_out)
                    if op.bias:
                        jacobian[:, :, stop : stop + op.n_out] = d
                if i > first:
                    d = xp.matmul(d, arrays[0].swapaxes(1, 2))
            elif isinstance(op, NormalizeOp):
                d = d / arrays[1][:, None]
            else:
                assert isinstance(op, ActivationOp)
                dz = xp.empty(d.shape)
                self._kernels.activation_backward(op.kind, x, y, xp.ascontiguousarray(d), dz, op.alpha)
                d = dz

    def _loss(self, prediction: Array, target: Array, mass: Array) -> tuple[Array, Array]:
        """Return the loss of each model, and its slope."""
        xp = self._xp
        value, slope = xp.empty(len(prediction)), xp.empty(prediction.shape)
        self._kernels.loss_forward_backward(
            self.loss.kind, prediction, target, mass, slope, 1.0, self._parameter, value
        )
        return value, slope

    def _curved(self, prediction: Array, target: Array, mass: Array) -> tuple[Array, list[Array], list[Array]]:
        """Return the loss of each model; for each output what is led back, and the slope over the curvature's root.

        The formulas are those of ``tinynet_kernels.reference.curvature``.
        """
        xp, n_out = self._xp, prediction.shape[2]
        value, slope = self._loss(prediction, target, mass)
        if self.loss.kind in CURVATURES:
            curvature = CURVATURES[self.loss.kind](xp, prediction, target, self._parameter)
            heights = xp.sqrt(xp.maximum(mass[:, :, None] * curvature, LEAST))
            seeds = []
            for r in range(n_out):
                seed = xp.zeros(prediction.shape)
                seed[:, :, r] = heights[:, :, r]
                seeds.append(seed)
        else:
            e = xp.exp(prediction - prediction.max(axis=2)[:, :, None])
            p = e / e.sum(axis=2)[:, :, None]
            whole = mass if target.ndim == 1 else mass * target.sum(axis=1)[None]
            heights = xp.sqrt(xp.maximum(whole[:, :, None] * p, LEAST))
            seeds = []
            for r in range(n_out):
                seed = -heights[:, :, r : r + 1] * p
                seed[:, :, r] += heights[:, :, r]
                seeds.append(seed)
        return value, seeds, [slope[:, :, r] / heights[:, :, r] for r in range(n_out)]


def _bce_logits(xp: Any, z: Array, t: Array, parameter: float) -> Array:
    e = xp.exp(-xp.abs(z))
    return e / xp.square(1.0 + e)


CURVATURES: dict[str, Callable[[Any, Array, Array, float], Array]] = {
    "mse": lambda xp, p, t, _: xp.full_like(p, 2.0),
    "huber": lambda xp, p, t, delta: delta / xp.maximum(xp.abs(p - t), delta),
    "bce_logits": _bce_logits,
    "poisson_log": lambda xp, z, t, _: xp.exp(z),
}
"""Second derivatives of the losses that are convex in each element of the prediction."""


def _cut(flat: Array, layout: tuple[tuple[int, tuple[int, ...]], ...]) -> tuple[Array, ...]:
    """Return the arrays of a layer of all models."""
    m = len(flat)
    return tuple(flat[:, start : start + math.prod(shape)].reshape(m, *shape) for start, shape in layout)
