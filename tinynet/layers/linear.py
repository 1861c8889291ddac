"""Linear: the affine map."""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import whole
from tinynet.layers.layer import Init, Layer
from tinynet.program import LinearOp, Op


class Linear(Layer):
    """``y = x @ weight + bias``.

    Parameters
    ----------
    n_in, n_out : int
        Widths of the input and the output.
    bias : bool
    weight_init : str, float or callable
        By default Glorot's uniform distribution. A callable is called as ``f(shape, rng)``.
    bias_init : str, float or callable
    trainable : bool
        False: the layer stays as it is; see ``Layer.trainable``.

    Attributes
    ----------
    weight, weight_grad : (n_in, n_out) array
    bias, bias_grad : (n_out,) array

    Examples
    --------
    >>> layer = Linear(2, 1, weight_init="ones", bias_init=0.5)
    >>> layer.forward([[1.0, 2.0]])
    array([[3.5]], dtype=float32)
    """

    n_in: int
    n_out: int

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = True,
        weight_init: Init = "glorot",
        bias_init: Init = "zeros",
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.trainable = trainable
        self.n_in, self.n_out = whole("n_in", n_in), whole("n_out", n_out)
        self.add_parameter("weight", (self.n_in, self.n_out), weight_init)
        self.has_bias = bool(bias)
        if self.has_bias:
            self.add_parameter("bias", (self.n_out,), bias_init)

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return LinearOp(self.n_in, self.n_out, self.has_bias)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n_in": self.n_in, "n_out": self.n_out, "bias": self.has_bias}
