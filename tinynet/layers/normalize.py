"""Normalize: standardised columns, stored and not trained."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Backend, State
from tinynet.base.arrays import as_samples, numpy_namespace
from tinynet.base.checks import whole
from tinynet.base.guard import Guard
from tinynet.base.statistics import moments
from tinynet.layers.initializers import Ones, Zeros
from tinynet.layers.layer import Layer
from tinynet.program import NormalizeOp, Op


class Normalize(Layer):
    """Standardise columns: ``y = (x - mean) / scale`` with stored columns that no optimizer touches.

    ``adapt(x)`` takes the mean and the standard deviation of each column from data; a constant column has scale 1. They
    are float64, and the first layer of a model gets data as they are: they are standardised in float64 and then rounded
    to the model's dtype. So a float32 model may have columns of any size, and of large numbers that differ by little.
    A training standardises its data once, by the columns that the layer has when it begins.

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
        """Store the mean and the standard deviation of the columns of ``x``; return the layer.

        Raises
        ------
        ModelInTrainingError
            If a callback calls it, of a training of the model that the layer belongs to. Another thread waits.
        """
        if self._guard is not None:
            self._guard.check("adapt")
        backend = self._backend or get_backend()
        with backend.active():
            samples = as_samples(backend.admit(x, "x"), "x", self.n_in, "float64", expects=repr(self))
            mean, scale = moments(samples)
            # A column that varies by no more than its own rounding is constant: dividing would only magnify noise.
            with self.changing():
                self.mean = mean
                self.scale = numpy_namespace(scale).where(scale <= abs(mean) * 1e-12, 1.0, scale)
                self._adapted = True
        return self

    def load_buffers(self, values: dict[str, NDArray[Any]]) -> None:
        """Take up the columns from a file."""
        with self.changing():
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

    def join(self, state: State, backend: Backend, dtype: str, guard: Guard | None = None) -> None:
        """Belong to a model, with the columns that the layer holds."""
        adapted = self.adapted
        super().join(state, backend, dtype, guard)
        self._adapted = adapted

    def _write_buffers(self) -> None:
        super()._write_buffers()
        self._adapted = False

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n_in}

    def __repr__(self) -> str:
        return f"Normalize({self.n_in})"
