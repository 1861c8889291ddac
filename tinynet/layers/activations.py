"""The activations: elementwise functions, those of users among them, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.base.checks import number
from tinynet.layers.layer import Layer
from tinynet.program import ActivationOp, Op


class Activation(Layer):
    """An elementwise function of your own, as a formula; and the base class of all activations.

    The formula is derived, compiled, saved and exported like those of the library. It is made of arithmetic,
    comparisons and the functions of ``tn.math``, or those of NumPy that are there, too.

    Parameters
    ----------
    function : callable
        Is called once, with what stands for the input, and returns the formula: no array, and no number.

    Raises
    ------
    TypeError
        If it returns no formula, or asks for the value of what has none yet, as ``if x > 0`` does.
    ValueError
        If the formula does not depend on the input, or is too long.

    Examples
    --------
    >>> import tinynet as tn
    >>> mish = Activation(lambda x: x * tn.math.tanh(tn.math.softplus(x)))
    >>> mish([[1.0]]).round(4)
    array([[0.8651]], dtype=float32)
    """

    kind: str
    alpha = 0.0

    def __init__(self, function: Callable[[Any], Any] | str) -> None:
        from tinynet.backends.formulas import text_of_activation  # Few programs have formulas of their own.

        super().__init__()
        self.kind = text_of_activation(function)

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return ActivationOp(n, self.kind, self.alpha)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; a function as the text of what it has returned."""
        return {"function": self.kind}

    def __repr__(self) -> str:
        from tinynet.backends.formulas import shown

        return f"{type(self).__name__}({shown(self.kind, 'z')})"


class _Named(Activation):
    """An activation of the library."""

    def __init__(self) -> None:
        Layer.__init__(self)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}

    def __repr__(self) -> str:
        return Layer.__repr__(self)


class Identity(_Named):
    """``y = x``."""

    kind = "identity"


class Sigmoid(_Named):
    """``y = 1 / (1 + exp(-x))``.

    Examples
    --------
    >>> Sigmoid()([[0.0, 1e4]])
    array([[0.5, 1. ]], dtype=float32)
    """

    kind = "sigmoid"


class Tanh(_Named):
    """``y = tanh(x)``."""

    kind = "tanh"


class ReLU(_Named):
    """``y = max(x, 0)``; its derivative at 0 is 0."""

    kind = "relu"


class LeakyReLU(_Named):
    """``y = x`` for positive ``x``, else ``negative_slope * x`` (Maas et al. 2013, eq. 2)."""

    kind = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.alpha = number("negative_slope", negative_slope, at_least=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"negative_slope": self.alpha}


class ELU(_Named):
    """``y = x`` for positive ``x``, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016, eq. 16)."""

    kind = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, at_least=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"alpha": self.alpha}


class GELU(_Named):
    """``y = x * Phi(x)``, Phi the normal distribution function, exact (Hendrycks and Gimpel 2016, eq. 2)."""

    kind = "gelu"


class SiLU(_Named):
    """``y = x * sigmoid(x)`` (Elfwing et al. 2018, eq. 5)."""

    kind = "silu"


class Softplus(_Named):
    """``y = log(1 + exp(x))`` (Dugas et al. 2001, eq. 2)."""

    kind = "softplus"


class Exp(_Named):
    """``y = exp(x)``: a positive output, as the rate of a Poisson variable (``PoissonLoss``)."""

    kind = "exponential"


class Softmax(_Named):
    """``y = exp(x) / sum(exp(x))`` over each row.

    A network for ``CrossEntropy`` ends in logits, without this layer, unless the loss has ``from_logits=False``.
    """

    kind = "softmax"
