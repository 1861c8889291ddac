"""What Levenberg-Marquardt asks of many models at once: normal equations, losses, damped steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, State, own_weight
from tinynet.backends.second_order.normal import NormalEquations
from tinynet.program import Program

Float64 = NDArray[np.float64]

HELD_BYTES = 1 << 28
"""What the matrices of models that go on together may take."""


class Data(NamedTuple):
    """What the models learn from, as the caller has it, and as an engine reads it.

    Attributes
    ----------
    whole : int or None
        How many samples the sums are over, where these are not all.
    """

    x: Array
    y: Array
    weight: Array | None
    kept: Any = None
    whole: int | None = None

    @property
    def n_samples(self) -> int:
        """How many samples the sums are over."""
        return len(self.x) if self.whole is None else self.whole


class Equations(ABC):
    """The normal equations of the models of a program, in float64.

    Models are given by their parameters, (n_models, n_parameters), their buffers, and their numbers, by which sample
    weights may differ. Matrices are the engine's own.

    Parameters
    ----------
    program : Program
        With a loss, of one model or of an ensemble whose layers and loss are the same.
    """

    description: str

    def __init__(self, program: Program) -> None:
        assert program.loss is not None
        self.program, self.loss = program, program.loss

    @property
    def most_models(self) -> int:
        """How many models may go on together."""
        return max(1, HELD_BYTES // (8 * (self.program.n_trained + 4) ** 2))

    @abstractmethod
    def prepare(self, x: Array, y: Array, weight: Array | None) -> Data:
        """Return data as the engine reads them."""

    @abstractmethod
    def sums(self, models: Models, data: Data) -> tuple[Float64, Float64, Any]:
        """Return losses, (n_models,), gradients, (n_models, n_trained), and matrices."""

    @abstractmethod
    def values(self, models: Models, data: Data) -> Float64:
        """Return losses, (n_models,)."""

    @abstractmethod
    def diagonals(self, matrices: Any) -> Float64:
        """Return the diagonals, (n_models, n_trained)."""

    @abstractmethod
    def solve(self, matrices: Any, chosen: Float64 | slice, gradients: Float64, diagonals: Float64) -> Float64:
        """Return the solutions ``s`` of ``(A + diag) s = g`` for chosen matrices; NaN where there is none."""

    @abstractmethod
    def traces_of_inverses(self, matrices: Any, diagonals: Float64) -> Float64:
        """Return the traces of ``(A + diag)**-1``, (n_models,)."""

    def descend(self, now: Standing, l2: Float64, data: Data, losses: Float64) -> NDArray[np.int64] | None:
        """Make steps until each model has one for each row of losses, or has stopped; return how many were made.

        None where the engine leaves that to its caller: then nothing has changed.
        """
        return None

    @abstractmethod
    def second_derivative(self, models: Models, i: int, direction: Float64, data: Data) -> Float64:
        """Return ``J' H K`` of one of the models, ``K`` the second derivative of its predictions along a direction."""


class Models(NamedTuple):
    """Some models: their parameters, buffers and numbers."""

    parameters: Float64
    buffers: Float64
    numbers: NDArray[np.int64]

    def chosen(self, which: Any) -> Models:
        """Return some of them."""
        return Models(self.parameters[which], self.buffers[which], self.numbers[which])


@dataclass
class Standing:
    """Where some models stand, in host memory and float64.

    Attributes
    ----------
    models : Models
    stop, damping, decay, effective : (n_models,) arrays
        What is remembered from step to step, as in the rows of ``state.moments``.
    settings : dict of str to (n_models,) array
        Of the optimizer.
    bayesian : bool
        Whether the evidence weighs squares.
    """

    models: Models
    stop: Float64
    damping: Float64
    decay: Float64
    effective: Float64
    settings: dict[str, Float64]
    bayesian: bool


class HostMatrices(Equations):
    """What NumPy and LAPACK make of matrices, (n_models, n_trained, n_trained) arrays in host memory."""

    def diagonals(self, matrices: Any) -> Float64:
        """See ``Equations.diagonals``."""
        return np.array(np.diagonal(matrices, axis1=1, axis2=2))

    def solve(self, matrices: Any, chosen: Any, gradients: Float64, diagonals: Float64) -> Float64:
        """See ``Equations.solve``."""
        steps = np.empty_like(gradients)
        for i, matrix in enumerate(matrices[chosen]):
            steps[i] = solved(matrix, gradients[i], diagonals[i])
        return steps

    def traces_of_inverses(self, matrices: Any, diagonals: Float64) -> Float64:
        """See ``Equations.traces_of_inverses``."""
        damped = matrices + diagonals[:, :, np.newaxis] * np.eye(matrices.shape[1])
        traces: Float64 = np.trace(np.linalg.inv(damped), axis1=1, axis2=2)
        return traces


class ReferenceEquations(HostMatrices):
    """Model by model in NumPy: for every layer that has no parameters or is tinynet's own, and the oracle of others."""

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program)
        self.one = NormalEquations(program, backend)
        n, dtype = program.n_parameters, program.dtype
        buffers = np.zeros(program.n_buffers)
        self._state = State(np.zeros(n, dtype), np.zeros(n, dtype), np.zeros((0, n), dtype), buffers)
        self._bound = self.one.bind(self._state)
        self.description = f"normal equations in blocks of {self.one.block} samples"

    def prepare(self, x: Array, y: Array, weight: Array | None) -> Data:
        """Return data as they are."""
        return Data(x, y, weight)

    def sums(self, models: Models, data: Data) -> tuple[Float64, Float64, Any]:
        """See ``Equations.sums``."""
        m, n = len(models.parameters), self.program.n_trained
        losses, gradients, matrices = np.empty(m), np.empty((m, n)), np.empty((m, n, n))
        for i in range(m):
            losses[i], gradients[i] = self.one.sum(self._bind(models, i), *self._of(data, models, i))
            matrices[i] = self.one.matrix
        return losses, gradients, matrices

    def values(self, models: Models, data: Data) -> Float64:
        """See ``Equations.values``."""
        m = len(models.parameters)
        return np.array([self.one.value(self._bind(models, i), *self._of(data, models, i)) for i in range(m)])

    def second_derivative(self, models: Models, i: int, direction: Float64, data: Data) -> Float64:
        """See ``Equations.second_derivative``."""
        bound, before = self._bind(models, i), self._trained(models.parameters[i])
        return self.one.second_derivative(bound, before, direction, self._of(data, models, i))

    def _trained(self, parameters: Float64) -> Float64:
        return np.concatenate([parameters[part] for part in self.program.trained])

    def _bind(self, models: Models, i: int) -> Any:
        self._state.parameters[...] = models.parameters[i]
        self._state.buffers[...] = models.buffers[i]
        return self._bound

    def _of(self, data: Data, models: Models, i: int) -> tuple[Array, Array, Array | None]:
        return data.x, data.y, own_weight(data.weight, int(models.numbers[i]))


def solved(matrix: Float64, gradient: Float64, diagonal: Float64) -> Float64:
    """Return the solution of one model's equations, of which the lower triangle is read; NaN where there is none."""
    from scipy.linalg import lapack

    damped = np.tril(matrix)
    damped.flat[:: len(damped) + 1] += diagonal
    factor, failed = lapack.dpotrf(damped, lower=1, overwrite_a=1)
    if failed:
        return np.full_like(gradient, np.nan)
    step: Float64 = lapack.dpotrs(factor, gradient, lower=1)[0]
    return step
