"""The notebook's activations."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tinynet.backends import get_backend
from tinynet.notebook.arrays import FloatArray, as_float64, as_gradient, as_rows, remembered


class _Activation:
    """An elementwise function, whose derivative is a function of its own value."""

    _kind: str
    _x: FloatArray | None = None
    _y: FloatArray | None = None

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the activations, shaped like ``x``, and remember them for ``backward``."""
        backend, given = get_backend(), as_float64(x, "x")
        y = backend.empty(as_rows(given).shape, "float64")
        with backend.active():
            backend.kernels.activation_forward(self._kind, backend.asarray(as_rows(given)), y)
        output = backend.to_numpy(y).reshape(given.shape)
        self._x, self._y = given, output
        return output

    def backward(self, gradOutput: ArrayLike) -> FloatArray:
        """Return the gradient with respect to the ``x`` of the last ``forward``."""
        output, backend = remembered(self._y, type(self).__name__), get_backend()
        dy = as_gradient(gradOutput, output.shape, type(self).__name__)
        y, dz = backend.asarray(as_rows(output)), backend.empty(as_rows(output).shape, "float64")
        # These kinds are differentiated by their value, so the kernel never reads z, and y can stand in for it.
        with backend.active():
            backend.kernels.activation_backward(self._kind, y, y, backend.asarray(as_rows(dy)), dz)
        return backend.to_numpy(dz).reshape(output.shape)


class Sigmoid(_Activation):
    """``y = 1 / (1 + exp(-x))``, elementwise; never overflows.

    Examples
    --------
    >>> Sigmoid().forward([[0.0, -1e4]])
    array([[0.5, 0. ]])
    """

    _kind = "sigmoid"

    @property
    def current_sigma(self) -> FloatArray | None:
        """The ``y`` of the last ``forward``."""
        return self._y

    def reset(self) -> None:
        """Forget the last ``forward``."""
        self._x = self._y = None


class ReLU(_Activation):
    """``y = max(x, 0)``, elementwise; its derivative at 0 is 0."""

    _kind = "relu"

    @property
    def current_x(self) -> FloatArray | None:
        """The ``x`` of the last ``forward``."""
        return self._x


class TanH(_Activation):
    """``y = tanh(x)``, elementwise; never overflows."""

    _kind = "tanh"

    @property
    def current_tanh(self) -> FloatArray | None:
        """The ``y`` of the last ``forward``."""
        return self._y
