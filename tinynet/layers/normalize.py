"""Normalize: standardised columns, stored and not trained."""

from __future__ import annotations

from typing import Any

from tinynet.backends.base import Array
from tinynet.layers.columns import Columns
from tinynet.program import NormalizeOp, Op


class Normalize(Columns):
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

    stored = ("mean", "scale")

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return NormalizeOp(n)

    def adapt(self, x: Any, comm: Any = None) -> Normalize:
        """Store the mean and the standard deviation of the columns of ``x``; return the layer.

        Parameters
        ----------
        x : (n_samples, n) array-like
        comm : mpi4py.MPI.Intracomm, optional
            The columns are those of the samples of all ranks, each of which calls this with its own.

        Raises
        ------
        ModelInTrainingError
            If a callback calls it, of a training of the model that the layer belongs to. Another thread waits.
        """
        self._adapt(x, "x", comm)
        return self

    def _keep(self, mean: Array, scale: Array) -> None:
        self.mean, self.scale = mean, scale
