"""Norms: layers that standardise each sample over its columns, or each column over a batch."""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import number, whole
from tinynet.layers.layer import Layer
from tinynet.program import BatchNormOp, LayerNormOp, Op


class LayerNorm(Layer):
    """Standardise each sample over its columns: ``y = weight * (x - mean) / sqrt(var + eps) + bias``.

    Ba, Kiros and Hinton (2016), with PyTorch's names and defaults; the same in training and in predictions.

    Parameters
    ----------
    n : int
        Number of columns.
    eps : float
    affine : bool
        False: without weight and bias.

    Attributes
    ----------
    weight, weight_grad, bias, bias_grad : (n,) array

    Examples
    --------
    >>> LayerNorm(2, eps=0.0)([[1.0, 3.0], [10.0, -10.0]])
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    def __init__(self, n: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.n_in = self.n_out = whole("n", n)
        self.eps, self.affine = number("eps", eps, at_least=0.0), bool(affine)
        if self.affine:
            self.add_parameter("weight", (n,), "ones")
            self.add_parameter("bias", (n,), "zeros")

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return LayerNormOp(n, self.eps, self.affine)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n_in, "eps": self.eps, "affine": self.affine}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in})"


class BatchNorm(Layer):
    """Standardise each column over a batch: ``y = weight * (x - mean) / sqrt(var + eps) + bias``.

    Ioffe and Szegedy (2015), algorithms 1 and 2, with PyTorch's names and defaults. In training the mean and the
    variance are those of the batch, which needs two samples or more; the running ones follow them, and are what
    predictions, evaluations and exports take. The running variance is the unbiased one. A layer that is frozen takes
    the running ones in training, too, and they stay as they are, as in Keras.

    The running statistics are part of ``net.get_weights()``, of averages of weights and of checkpoints; no optimizer
    touches them.

    Parameters
    ----------
    n : int
        Number of columns.
    eps : float
    momentum : float
        In (0, 1]: how far the running statistics go to those of a batch. (Keras's is 1 less this.)
    affine : bool
        False: without weight and bias.

    Attributes
    ----------
    weight, weight_grad, bias, bias_grad : (n,) array
    running_mean, running_var : (n,) array

    Examples
    --------
    >>> layer = BatchNorm(1, momentum=1.0, eps=0.0)
    >>> layer.forward([[1.0], [3.0]], training=True).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean, layer.running_var
    (array([2.], dtype=float32), array([2.], dtype=float32))
    """

    def __init__(self, n: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.n_in = self.n_out = whole("n", n)
        self.eps, self.affine = number("eps", eps, at_least=0.0), bool(affine)
        self.momentum = number("momentum", momentum, above=0.0)
        if self.momentum > 1.0:
            raise ValueError(f"momentum must be at most 1; got {momentum!r}. PyTorch's and the default is 0.1.")
        if self.affine:
            self.add_parameter("weight", (n,), "ones")
            self.add_parameter("bias", (n,), "zeros")
        self.add_parameter("running_mean", (n,), "zeros")
        self.add_parameter("running_var", (n,), "ones")

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return BatchNormOp(n, self.eps, self.momentum, self.affine)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n_in, "eps": self.eps, "momentum": self.momentum, "affine": self.affine}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in})"
