"""The layers that a network is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.arrays import as_samples, numpy_namespace
from tinynet.backends import get_backend
from tinynet.backends.base import Backend, State
from tinynet.checks import member, number, setting, whole
from tinynet.initializers import Ones, Zeros
from tinynet.layer import Init, Layer
from tinynet.program import ActivationOp, DropoutOp, LinearOp, NormalizeOp, Op


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
        self, n_in: int, n_out: int, bias: bool = True, weight_init: Init = "glorot", bias_init: Init = "zeros"
    ) -> None:
        super().__init__()
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


class Dropout(Layer):
    """In training, zero each element with probability ``rate`` and divide the others by ``1 - rate``.

    Srivastava et al. (2014), in the inverted form: predictions need no scaling. Masks come from a counter (Philox), so
    every backend draws the same ones.

    Parameters
    ----------
    rate : float
        In [0, 1); or a sequence, one for each model of an ``Ensemble``.
    """

    def __init__(self, rate: float | Sequence[float] = 0.5) -> None:
        super().__init__()
        self.rate = setting("rate", rate, at_least=0.0, below=1.0)

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return DropoutOp(n, self.rate, index)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"rate": self.rate}

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})" if isinstance(self.rate, float) else "Dropout(one rate for each model)"


class Normalize(Layer):
    """Standardise columns: ``y = (x - mean) / scale`` with stored columns that no optimizer touches.

    ``adapt(x)`` takes the mean and the standard deviation of each column from data; a constant column has scale 1.

    Parameters
    ----------
    n : int
        Number of columns.

    Examples
    --------
    >>> layer = Normalize(1)
    >>> layer.adapt([[1.0], [3.0]])
    Normalize(1)
    >>> layer([[1.0], [2.0]])
    array([[-1.],
           [ 0.]], dtype=float32)
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n_in = self.n_out = whole("n", n)
        self.add_parameter("mean", (n,), Zeros(), trainable=False)
        self.add_parameter("scale", (n,), Ones(), trainable=False)
        self._adapted = False

    @property
    def adapted(self) -> bool:
        """Whether the columns are those of data: from ``adapt``, or from a file."""
        return self._adapted

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return NormalizeOp(n)

    def adapt(self, x: Any) -> Normalize:
        """Store the mean and the standard deviation of the columns of ``x``; return the layer."""
        backend = self._backend or get_backend()
        with backend.active():
            samples = as_samples(backend.admit(x, "x"), "x", self.n_in, "float64", expects=repr(self))
            mean = samples.mean(axis=0, dtype=np.float64)
            scale = samples.std(axis=0, dtype=np.float64)
            # A column that varies by no more than its own rounding is constant: dividing would only magnify noise.
            self.mean = mean
            self.scale = numpy_namespace(scale).where(scale <= abs(mean) * 1e-12, 1.0, scale)
        self._adapted = True
        return self

    def load_buffers(self, values: dict[str, NDArray[Any]]) -> None:
        """Take up the columns from a file."""
        super().load_buffers(values)
        self._adapted = True

    def fresh_copy(self) -> Normalize:
        """Return a copy that belongs to no model, with the columns that this layer holds."""
        other = super().fresh_copy()
        assert isinstance(other, Normalize)
        if self.adapted:
            assert self._backend is not None
            columns = {name: self._backend.to_numpy(getattr(self, name)) for name in self.buffer_names}
            other.build(self._dtype, backend=self._backend)
            other.load_buffers(columns)
        return other

    def join(self, state: State, backend: Backend, dtype: str) -> None:
        """Belong to a model, with the columns that the layer holds."""
        adapted = self.adapted
        super().join(state, backend, dtype)
        self._adapted = adapted

    def _write_buffers(self) -> None:
        super()._write_buffers()
        self._adapted = False

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n_in}

    def __repr__(self) -> str:
        return f"Normalize({self.n_in})"


LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        Linear,
        Identity,
        Sigmoid,
        Tanh,
        ReLU,
        LeakyReLU,
        ELU,
        GELU,
        SiLU,
        Softplus,
        Exp,
        Softmax,
        Dropout,
        Normalize,
    )
}
"""Every layer of the library by name: what a model file may contain."""

ACTIVATIONS: dict[str, type[Activation]] = {cls.kind: cls for cls in LAYERS.values() if issubclass(cls, Activation)}
"""Activation layers by the name of their kernel."""


def get_activation(name: str) -> Activation:
    """Return the activation layer of a name.

    Examples
    --------
    >>> get_activation("tanh")
    Tanh()
    """
    return ACTIVATIONS[member("activation", name, ACTIVATIONS)]()
