"""The notebook's linear layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinynet.backends import get_backend
from tinynet.base.checks import number, whole
from tinynet.notebook.arrays import FloatArray, as_float64, as_gradient


class Linear:
    """``y = x @ weight + bias``.

    Parameters
    ----------
    inputDim, outputDim : int
    _var : float
        Standard deviation (despite its name) of the initial weights and biases, which are normal with mean 0.

    Attributes
    ----------
    weight, gradWeight : (inputDim, outputDim) float64
    bias, gradBias : (1, outputDim) float64
        All four are yours to change or to replace. ``backward`` replaces the gradients, so a copy is never needed.

    Examples
    --------
    >>> np.random.seed(0)
    >>> Linear(4, 3).forward([[1, 2, 2, 3]]).shape
    (1, 3)
    """

    def __init__(self, inputDim: int, outputDim: int, _var: float = 0.01) -> None:
        shape = whole("inputDim", inputDim), whole("outputDim", outputDim)
        deviation = number("_var", _var)
        self.weight: FloatArray = np.random.randn(*shape) * deviation
        self.bias: FloatArray = np.random.randn(1, shape[1]) * deviation
        self.gradWeight: FloatArray = np.zeros_like(self.weight)
        self.gradBias: FloatArray = np.zeros_like(self.bias)

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return ``x @ weight + bias`` for ``x`` (n_samples, inputDim)."""
        weight, bias = self._parameters()
        rows = self._inputs(x, weight)
        backend = get_backend()
        y = backend.empty((len(rows), weight.shape[1]), "float64")
        with backend.active():
            backend.kernels.linear_forward(*map(backend.asarray, (rows, weight, bias)), y)
        return backend.to_numpy(y)

    def backward(self, x: ArrayLike, gradOutput: ArrayLike) -> FloatArray:
        """Set ``gradWeight`` and ``gradBias``, summed over the samples; return the gradient with respect to ``x``.

        Parameters
        ----------
        x : (n_samples, inputDim) float
            What ``forward`` was given.
        gradOutput : (n_samples, outputDim) float
            Gradient of the loss with respect to what ``forward`` returned.
        """
        weight, bias = self._parameters()
        rows = self._inputs(x, weight)
        n_in, n_out = weight.shape
        dy = as_gradient(gradOutput, (len(rows), n_out), f"Linear({n_in}, {n_out})")
        backend = get_backend()
        dw, db, dx = (backend.empty(shape, "float64") for shape in (weight.shape, bias.shape, rows.shape))
        with backend.active():
            backend.kernels.linear_backward(*map(backend.asarray, (rows, weight, dy)), dw, db, dx)
        self.gradWeight = backend.to_numpy(dw)
        self.gradBias = backend.to_numpy(db).reshape(1, n_out)
        return backend.to_numpy(dx)

    def get_parameters(self) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Return ``(weight, bias), (gradWeight, gradBias)``: the arrays themselves."""
        return (self.weight, self.bias), (self.gradWeight, self.gradBias)

    def _parameters(self) -> tuple[FloatArray, FloatArray]:
        """Return the weight, and the bias as (outputDim,); users may have put anything there."""
        weight, bias = as_float64(self.weight, "weight"), as_float64(self.bias, "bias")
        n_out = weight.shape[-1] if weight.ndim == 2 else None
        if n_out is None or bias.shape not in ((1, n_out), (n_out,), ()):
            raise ValueError(
                "Linear expects a weight of shape (inputDim, outputDim) and a bias of shape (1, outputDim); "
                f"got {weight.shape} and {bias.shape}. Reshape what you assigned."
            )
        return weight, bias.reshape(-1) if bias.ndim else np.full(n_out, bias)

    @staticmethod
    def _inputs(x: ArrayLike, weight: FloatArray) -> FloatArray:
        rows, (n_in, n_out) = as_float64(x, "x"), weight.shape
        if rows.ndim != 2 or rows.shape[1] != n_in:
            remedy = "Use x.reshape(1, -1) for one sample." if rows.ndim == 1 else "Check the number of columns."
            raise ValueError(
                f"Linear({n_in}, {n_out}) expects inputs of shape (batch, {n_in}); got {rows.shape}. {remedy}"
            )
        return rows
