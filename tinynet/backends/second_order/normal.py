"""The normal equations of a network: the Gauss-Newton matrix and the gradient, summed over blocks of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.descent import STEP
from tinynet_kernels.reference.curvature import loss_curvature

from tinynet.backends.base import Array, Backend, State
from tinynet.backends.chain import Bound, Chain, forward
from tinynet.backends.stages import LinearStage
from tinynet.program import Program

Float64 = NDArray[np.float64]

BLOCK_BYTES = 1 << 20
"""Most bytes of the rows of a Jacobian that are held at a time: a second-level cache."""


class NormalEquations:
    """Sums ``J' H J`` and the gradient, without ever holding ``J`` of all samples.

    ``J`` are the derivatives of the predictions by the parameters, ``H`` the second derivatives of the loss by the
    predictions: the generalised Gauss-Newton matrix (Schraudolph 2002, section 3). All sums are float64.

    Parameters
    ----------
    program : Program
        Of one model with a loss.
    backend : Backend
        One that computes in host memory.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        assert program.loss is not None
        self.program, self.loss, self.backend = program, program.loss, backend
        assert isinstance(program.loss.parameter, float)
        self._parameter = program.loss.parameter
        n_ops = len(program.ops) - program.loss.on_logits
        self._chain = Chain(program, n_ops, backend)
        n = program.n_trained
        self.matrix = np.empty((n, n))
        self._product = np.empty_like(self.matrix)
        rows = BLOCK_BYTES // (8 * n)
        self.block = max(64, min(4096, rows // 64 * 64))
        self._held = np.empty(n * self.block)

    def bind(self, state: State) -> Bound:
        """Return the network with the parameters of a state."""
        return self._chain.bind(state)

    def value(self, bound: Bound, x: Array, y: Array, weight: Array | None) -> float:
        """Return the loss of all samples."""
        total = 0.0
        for rows in self._blocks(len(x)):
            own = None if weight is None else weight[rows]
            prediction = forward(bound, self._samples(x, rows), None)
            total += self._loss(
                prediction, self._target(y, rows), own, self._scale(x, weight), np.empty_like(prediction)
            )
        return self.loss.report * total

    def sum(self, bound: Bound, x: Array, y: Array, weight: Array | None) -> tuple[float, Float64]:
        """Fill ``matrix``; return the loss of all samples and its gradient."""
        self.matrix[...] = 0.0
        gradient, total = np.zeros(self.program.n_trained), 0.0
        scale = self._scale(x, weight)
        for rows in self._blocks(len(x)):
            own, target = None if weight is None else weight[rows], self._target(y, rows)
            prediction = forward(bound, self._samples(x, rows), None).copy()
            slope = np.empty_like(prediction)
            total += self._loss(prediction, target, own, scale, slope)
            factors, heights = loss_curvature(self.loss.kind, prediction, target, own, scale, self._parameter)
            # What the rows of the Jacobian are weighted by to make the gradient, unless a curvature has vanished.
            flat = bool((heights == 0).any())
            if flat:
                gradient += self.rows(bound, slope).sum(axis=1)
            for r, seed in enumerate(factors):
                jacobian = self.rows(bound, seed)
                # Of a matrix and its own transpose, NumPy computes one triangle (BLAS's syrk).
                np.matmul(jacobian, jacobian.T, out=self._product)
                self.matrix += self._product
                if not flat:
                    gradient += jacobian @ (slope[:, r] / heights[:, r])
        return self.loss.report * total, gradient

    def rows(self, bound: Bound, seed: Array) -> Float64:
        """Lead ``seed``, (n_samples, n_out), back; return what each sample says of each trained parameter, transposed.

        Returns
        -------
        rows : (n_trained, n_samples) float64 array
            Scratch: the next call overwrites it.
        """
        n, stop = len(seed), self.program.n_trained
        out = self._held[: stop * n].reshape(stop, n)
        dy = seed
        for stage, own in reversed(bound):
            if stop == 0:
                break
            if not isinstance(stage, LinearStage):
                dy = stage.backward(dy, own, True)
                continue
            x, dz = stage.factors(dy)
            if own.gradients is not None:
                stop = _write_rows(stage, x, dz, out, stop)
            dy = dz @ own.parameters[0].T if stop else None
        return out

    def second_derivative(
        self, bound: Bound, parameters: Float64, direction: Float64, data: tuple[Array, Array, Array | None]
    ) -> Float64:
        """Return ``J' H K``, ``K`` the second derivative of the predictions along a direction.

        ``K`` is a central difference with a step of a tenth of the direction (Transtrum and Sethna 2012, section II.C).
        The parameters are as they were when it returns.
        """
        (x, y, weight), scale = data, self._scale(data[0], data[2])
        result = np.zeros(self.program.n_trained)
        held = bound_parameters(bound)
        for rows in self._blocks(len(x)):
            own = None if weight is None else weight[rows]
            place = {}
            for sign in (-STEP, STEP, 0.0):  # The last pass leaves behind what the way back needs.
                put(held, parameters + sign * direction)
                place[sign] = forward(bound, self._samples(x, rows), None).copy()
            middle = place[0.0]
            curve = (place[STEP] - 2 * middle + place[-STEP]) / STEP**2
            factors, _ = loss_curvature(self.loss.kind, middle, self._target(y, rows), own, scale, self._parameter)
            # H is the sum of s s' over the factors s.
            seed = np.einsum("rno,rnp,np->no", factors, factors, curve)
            result += self.rows(bound, seed).sum(axis=1)
        return result

    def _samples(self, x: Array, rows: slice) -> Array:
        return np.ascontiguousarray(x[rows], self.program.reads)

    def _target(self, y: Array, rows: slice) -> Array:
        return np.ascontiguousarray(y[rows], "int64" if self.loss.index_target else self.program.dtype)

    def _blocks(self, n: int) -> list[slice]:
        return [slice(start, min(n, start + self.block)) for start in range(0, n, self.block)]

    def _mass(self, x: Array, weight: Array | None) -> float:
        if weight is None or not self.loss.by_weight:
            return float(len(x))
        return float(weight.sum(dtype="float64")) or math.inf

    def _scale(self, x: Array, weight: Array | None) -> float:
        return self.loss.scale(self._mass(x, weight), self.program.n_out)

    def _loss(self, prediction: Array, y: Array, weight: Array | None, scale: float, slope: Array) -> float:
        value: Any = self.backend.kernels.loss_forward_backward(
            self.loss.kind, prediction, y, weight, slope, scale, self.loss.parameter
        )
        return float(value)


def _write_rows(stage: LinearStage, x: Array, dz: Array, out: Float64, stop: int) -> int:
    """Write what each sample says of the parameters of a stage, whose rows end at ``stop``; return where they begin."""
    if stage.op.bias:
        out[stop - stage.op.n_out : stop] = dz.T
        stop -= stage.op.n_out
    start = stop - stage.op.n_in * stage.op.n_out
    block = out[start:stop].reshape(stage.op.n_in, stage.op.n_out, len(dz))
    np.multiply(np.ascontiguousarray(x.T)[:, None], np.ascontiguousarray(dz.T), out=block)
    return start


def bound_parameters(bound: Bound) -> list[Array]:
    """Return the views of the trained parameters of a network, in their order in the flat vector."""
    return [array for _, own in bound if own.gradients is not None for array in own.parameters]


def put(views: list[Array], flat: Float64) -> None:
    """Write a flat vector into the views of its pieces."""
    start = 0
    for view in views:
        view[...] = flat[start : start + view.size].reshape(view.shape)
        start += view.size
