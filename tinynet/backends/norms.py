"""Stages of layers that standardise samples or batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynet.backends.stages import Own, Stage
from tinynet.program import BatchNormOp, LayerNormOp

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend, State


class LayerNormStage(Stage):
    """``y = weight * (x - mean) / sqrt(var + eps) + bias`` over the columns of each sample."""

    def __init__(self, op: LayerNormOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        self._xhat, self._inverse = self.scratch("xhat", *x.shape), self._scratch("inverse", (len(x),), "float64")
        y = self.scratch("y", *x.shape)
        weight, bias = own.parameters or (None, None)
        self.kernels.layer_norm_forward(x, weight, bias, self.op.eps, self._xhat, self._inverse, y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        dx = self.scratch("dx", *dy.shape) if need_dx else None
        weight, gradients = (own.parameters or (None,))[0], own.gradients or (None, None)
        self.kernels.layer_norm_backward(self._xhat, self._inverse, weight, dy, *gradients, dx)
        return dx


class BatchNormStage(Stage):
    """The same over the samples of a batch, and by the running statistics outside training, or where it is frozen."""

    def __init__(self, op: BatchNormOp, backend: Backend, dtype: str) -> None:
        super().__init__(backend, dtype)
        self.op = op
        self._xhat: Any = None

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        op, (weight, bias, mean, variance) = self.op, self._named(own)
        y = self.scratch("y", *x.shape)
        self._x, self._xhat = x, None
        if state is None or own.gradients is None:
            self.kernels.batch_norm_predict(x, weight, bias, mean, variance, op.eps, y)
            return y
        if len(x) < 2:
            raise ValueError(one_sample(op.n))
        self._xhat, self._inverse = self.scratch("xhat", *x.shape), self._scratch("inverse", (op.n,), "float64")
        statistics = mean, variance, op.eps, op.momentum
        self.kernels.batch_norm_forward(x, weight, bias, *statistics, self._xhat, self._inverse, y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        weight, _, mean, variance = self._named(own)
        trained = own.gradients if self.op.affine and own.gradients else (None, None)
        dx = self.scratch("dx", *dy.shape) if need_dx else None
        if self._xhat is not None:
            self.kernels.batch_norm_backward(self._xhat, self._inverse, weight, dy, *trained[:2], dx)
            return dx
        if trained[0] is not None:
            xhat = self.scratch("xhat", *dy.shape)
            self.kernels.batch_norm_predict(self._x, None, None, mean, variance, self.op.eps, xhat)
            trained[0][...], trained[1][...] = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        if dx is not None:
            self.kernels.batch_norm_predict(dy, weight, None, None, variance, self.op.eps, dx)
        return dx

    def learns(self, own: Own) -> bool:
        """Whether its weight and bias are trained."""
        return self.op.affine and bool(own.gradients)

    def _named(self, own: Own) -> tuple[Array, Array, Array, Array]:
        """Return the weight, the bias, and the running mean and variance."""
        return own.parameters if self.op.affine else (None, None, *own.parameters)


def one_sample(n: int) -> str:
    """Return the message about a batch that has no variance."""
    return (
        f"BatchNorm({n}) expects two samples or more in each batch; got a batch of one. Choose another batch_size, or "
        "pass drop_last=True."
    )
