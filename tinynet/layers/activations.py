"""The activations: elementwise functions, and softmax."""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import number
from tinynet.layers.layer import Layer
from tinynet.program import ActivationOp, Op


class Activation(Layer):
    """Base class of the activations: an elementwise function, or softmax over each row."""

    kind: str
    alpha = 0.0

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return ActivationOp(n, self.kind, self.alpha)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}


class Identity(Activation):
    """``y = x``."""

    kind = "identity"


class Sigmoid(Activation):
    """``y = 1 / (1 + exp(-x))``.

    Examples
    --------
    >>> Sigmoid()([[0.0, 1e4]])
    array([[0.5, 1. ]], dtype=float32)
    """

    kind = "sigmoid"


class Tanh(Activation):
    """``y = tanh(x)``."""

    kind = "tanh"


class ReLU(Activation):
    """``y = max(x, 0)``; its derivative at 0 is 0."""

    kind = "relu"


class LeakyReLU(Activation):
    """``y = x`` for positive ``x``, else ``negative_slope * x`` (Maas et al. 2013, eq. 2)."""

    kind = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.alpha = number("negative_slope", negative_slope, at_least=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"negative_slope": self.alpha}


class ELU(Activation):
    """``y = x`` for positive ``x``, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016, eq. 16)."""

    kind = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, at_least=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"alpha": self.alpha}


class GELU(Activation):
    """``y = x * Phi(x)``, Phi the normal distribution function, exact (Hendrycks and Gimpel 2016, eq. 2)."""

    kind = "gelu"


class SiLU(Activation):
    """``y = x * sigmoid(x)`` (Elfwing et al. 2018, eq. 5)."""

    kind = "silu"


class Softplus(Activation):
    """``y = log(1 + exp(x))`` (Dugas et al. 2001, eq. 2)."""

    kind = "softplus"


class Exp(Activation):
    """``y = exp(x)``: a positive output, as the rate of a Poisson variable (``PoissonLoss``)."""

    kind = "exponential"


class Softmax(Activation):
    """``y = exp(x) / sum(exp(x))`` over each row.

    A network for ``CrossEntropy`` ends in logits, without this layer, unless the loss has ``from_logits=False``.
    """

    kind = "softmax"
