"""Denormalize: outputs in the units of the targets, while the loss is taken on standardised ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.layers.columns import Columns
from tinynet.program import DenormalizeOp, Op


class Denormalize(Columns):
    """Give outputs in the units of the targets: ``y = x * scale + mean`` with columns that no optimizer touches.

    The last layer of a network for regression. ``adapt(y)`` takes the mean and the standard deviation of each target
    from data; one that is constant has scale 1. A training standardises its targets once, in float64, rounds them to
    the model's dtype, and takes its loss on those: so losses do not depend on units. Predictions, metrics, derivatives
    and exports have the units of ``y``. ``forward`` and ``backward`` of a loop of your own have them, too.

    What is stored is ``zero = -mean / scale``, where ``y`` is 0, and ``unit = 1 / scale``, so that the layer
    is ``(x - zero) / unit``: what computes ``Normalize`` computes it.

    Parameters
    ----------
    n : int
        Number of columns.

    Attributes
    ----------
    mean, scale : (n,) float64 array
        Of the targets, in host memory.

    Examples
    --------
    >>> layer = Denormalize(1)
    >>> layer.adapt([100.0, 300.0])
    Denormalize(1)
    >>> layer([[-1.0], [0.0]])
    array([[100.],
           [200.]], dtype=float32)
    """

    stored = ("zero", "unit")

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return DenormalizeOp(n)

    def adapt(self, y: Any, comm: Any = None) -> Denormalize:
        """Store the mean and the standard deviation of the columns of ``y``; return the layer.

        Parameters
        ----------
        y : (n_samples, n) array-like, or (n_samples,) for one column
        comm : mpi4py.MPI.Intracomm, optional
            As for ``Normalize.adapt``.

        Raises
        ------
        ModelInTrainingError
            If a callback calls it, of a training of the model that the layer belongs to. Another thread waits.
        """
        self._adapt(y, "y", comm)
        return self

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each target, (n,)."""
        return -self._on_host("zero") * self.scale + 0.0

    @property
    def scale(self) -> NDArray[np.float64]:
        """The standard deviation of each target, (n,)."""
        return 1.0 / self._on_host("unit")

    def _on_host(self, name: str) -> NDArray[np.float64]:
        held = getattr(self, name)
        assert self._backend is not None
        return np.array(self._backend.to_numpy(held), np.float64)

    def _keep(self, mean: Array, scale: Array) -> None:
        self.zero, self.unit = -mean / scale, 1.0 / scale
