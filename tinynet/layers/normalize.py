"""Normalize: standardised columns, stored and not trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinynet.backends.base import Array
from tinynet.base.checks import whole
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
    columns : sequence of int, optional
        Places of those that are standardised; the others pass as they are: levels that an ``Embedding`` reads. By
        default all.

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

    def __init__(self, n: int, columns: Sequence[int] | None = None) -> None:
        super().__init__(n)
        if columns is not None and (isinstance(columns, str) or not isinstance(columns, Iterable)):
            raise TypeError(f"columns expects places of columns, such as [0, 2]; got {columns!r}.")
        self.columns = None if columns is None else tuple(whole("columns", c, at_least=0) for c in columns)
        if self.columns and max(self.columns) >= self.n:
            raise ValueError(f"columns expects places below n={n}; got {self.columns}.")

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return NormalizeOp(n)

    def adapt(self, x: Any, comm: Any = None) -> Normalize:
        """Store the mean and the standard deviation of the columns of ``x``; return the layer.

        Parameters
        ----------
        x : (n_samples, n) array-like
        comm : mpi4py.MPI.Intracomm, optional
            The columns are those of the samples of all ranks, each of which calls this with its own; they have the bits
            that one process finds.

        Raises
        ------
        ModelInTrainingError
            If a callback calls it, of a training of the model that the layer belongs to. Another thread waits.
        """
        self._adapt(x, "x", comm)
        return self

    def _keep(self, mean: Array, scale: Array) -> None:
        if self.columns is not None:
            others = [column for column in range(self.n) if column not in self.columns]
            mean[others], scale[others] = 0.0, 1.0
        self.mean, self.scale = mean, scale

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().config() | ({} if self.columns is None else {"columns": list(self.columns)})

    def __repr__(self) -> str:
        return f"Normalize({self.n}{'' if self.columns is None else f', columns={list(self.columns)}'})"
