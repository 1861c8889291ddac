"""GeneratedEquations: the normal equations of many models in machine code that tinynet writes itself."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.descent_table import NUMBERS
from tinynet_kernels.cpu.generated.descents import Descents
from tinynet_kernels.cpu.generated.equations import LARGEST_SOLVED, Samples

from tinynet.backends import get_backend
from tinynet.backends.base import Array
from tinynet.backends.fusable import can_lower
from tinynet.backends.lowering import layers_of, loss_of
from tinynet.backends.second_order.equations import (
    Data,
    Equations,
    Float64,
    Models,
    ReferenceEquations,
    Standing,
    solved,
)
from tinynet.base import config
from tinynet.program import LinearOp, NormalizeOp, Program


def fits(program: Program) -> bool:
    """Whether a program is made of what generated code has."""
    return sys.maxsize > 1 << 32 and can_lower(*program.ops)


class GeneratedEquations(Equations):
    """Jacobians block by block, their products, and the equations that they make, without Python between."""

    description = "normal equations in generated code"

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        ops = program.ops[:-1] if self.loss.on_logits else program.ops
        self._layers = layers_of(ops[program.first :])
        trained = [i not in program.frozen for i, op in enumerate(ops) if isinstance(op, LinearOp)]
        linear = iter(trained)
        self._trained = [next(linear) if layer.kind == "linear" else False for layer in self._layers]
        self._made: tuple[int, Descents] | None = None
        self._reference: ReferenceEquations | None = None
        self._buffered = any(isinstance(op, NormalizeOp) for op in ops[program.first :])

    @property
    def most_models(self) -> int:
        """How many models may go on together: large ones have a matrix for each part of their samples."""
        whole = super().most_models
        return max(1, whole // self._kernels.parts) if self._made else whole

    @property
    def _kernels(self) -> Descents:
        assert self._made is not None, "prepare comes first"
        return self._made[1]

    def prepare(self, x: Array, y: Array, weight: Array | None) -> Data:
        """Return data with copies, samples side by side."""
        if self._made is None or self._made[0] != len(x):
            made = Descents(self._layers, self._trained, loss_of(self.loss, self.program.n_out), len(x))
            self._made = (len(x), made)
        kernels = self._kernels
        dtype = self.program.dtype
        masses = np.ones((1, len(x))) if weight is None else np.atleast_2d(np.asarray(weight, np.float64))
        whole = masses.sum(axis=1) if self.loss.by_weight else np.full(len(masses), float(len(x)))
        scales = [self.loss.scale(float(mass) or np.inf, self.program.n_out) for mass in whole]
        target = np.asarray(y, np.float64 if self.loss.index_target else dtype)
        counted = masses * np.array(scales)[:, np.newaxis]
        return Data(x, y, weight, kernels.samples(np.asarray(x, self.program.reads), target, counted))

    def sums(self, models: Models, data: Data) -> tuple[Float64, Float64, Any]:
        """See ``Equations.sums``."""
        losses, matrices = self._kernels.sums(*self._arguments(models, data), config.threads)
        n = self._kernels.n
        return losses * self.loss.report, matrices[:, :n, n].copy(), matrices

    def values(self, models: Models, data: Data) -> Float64:
        """See ``Equations.values``."""
        losses: Float64 = self._kernels.values(*self._arguments(models, data), config.threads)
        return losses * self.loss.report

    def diagonals(self, matrices: Any) -> Float64:
        """See ``Equations.diagonals``."""
        return np.diagonal(matrices, axis1=1, axis2=2)[:, : self._kernels.n]

    def solve(self, matrices: Any, chosen: Any, gradients: Float64, diagonals: Float64) -> Float64:
        """See ``Equations.solve``."""
        kernels, own = self._kernels, matrices[chosen]
        if kernels.n > LARGEST_SOLVED:
            cut = own[:, : kernels.n, : kernels.n].transpose(0, 2, 1)
            return np.array([solved(*one) for one in zip(cut, gradients, diagonals, strict=True)])
        own[:, : kernels.n, kernels.n] = gradients
        steps: Float64 = kernels.solve(own, np.ascontiguousarray(diagonals), config.threads)
        return steps

    def descend(self, now: Standing, l2: Float64, data: Data, losses: Float64) -> NDArray[np.int64] | None:
        """See ``Equations.descend``."""
        kernels = self._kernels
        if kernels.n > LARGEST_SOLVED:
            return None
        numbers = np.empty((len(now.stop), len(NUMBERS) + kernels.n))
        known = now.settings | {"damping": now.damping, "stop": now.stop, "given": np.zeros(1), "made": np.zeros(1)}
        known |= {"evidence": now.decay, "effective": now.effective}
        kept = {"report": self.loss.report, "single": self.program.dtype == "float32"}
        kept["values"] = data.n_samples * self.program.n_out if now.bayesian else 0
        known |= {name: np.array([value], np.float64) for name, value in kept.items()}
        for i, name in enumerate(NUMBERS):
            numbers[:, i] = known[name]
        numbers[:, len(NUMBERS) :] = l2
        kernels.descend(*self._arguments(now.models, data), numbers, losses, config.threads)
        found = dict(zip(NUMBERS, numbers.T, strict=False))
        now.damping[...], now.stop[...] = found["damping"], found["stop"]
        now.decay[...], now.effective[...] = found["evidence"], found["effective"]
        return found["made"].astype(np.int64)

    def traces_of_inverses(self, matrices: Any, diagonals: Float64) -> Float64:
        """See ``Equations.traces_of_inverses``."""
        n = self._kernels.n
        upper = np.triu(matrices[:, :n, :n])
        damped = upper + np.triu(upper, 1).transpose(0, 2, 1) + diagonals[:, :, np.newaxis] * np.eye(n)
        traces: Float64 = np.trace(np.linalg.inv(damped), axis1=1, axis2=2)
        return traces

    def second_derivative(self, models: Models, i: int, direction: Float64, data: Data) -> Float64:
        """See ``Equations.second_derivative``: by NumPy."""
        if self._reference is None:
            self._reference = ReferenceEquations(self.program, get_backend("numpy"))
        return self._reference.second_derivative(models, i, direction, data)

    def _arguments(self, models: Models, data: Data) -> tuple[Array, Array, Samples]:
        samples: Samples = data.kept
        buffers = models.buffers if self._buffered else models.buffers[:1]
        buffers = np.ascontiguousarray(buffers[:, self.program.own_buffers])
        if len(samples.masses) > 1:
            samples = samples._replace(masses=samples.masses[models.numbers])
        return models.parameters, buffers, samples
