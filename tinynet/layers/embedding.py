"""Embedding: vectors for levels, which are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynet.base.checks import whole
from tinynet.layers.initializers import Normal
from tinynet.layers.layer import Init, Layer
from tinynet.program import EmbeddingOp, Op

_NORMAL = Normal(1.0)


class Embedding(Layer):
    """Replace columns of levels by vectors, each level by its own, which are learned.

    Bengio et al. (2003) for words; Guo and Berkhahn (2016) for the categories of tables. Levels are whole numbers from
    0; the other columns pass. The first layer of a network, or after a ``Normalize`` that leaves such columns alone
    (``tn.Normalize(n, columns=...)``).

    Parameters
    ----------
    levels : int or sequence of int
        How many levels a column has; one number for all columns, or one for each.
    size : int or sequence of int
        Length of the vectors, likewise.
    columns : sequence of int, optional
        Places of the columns; by default all, as many as ``levels`` or ``size`` has numbers.
    n_in : int, optional
        Number of all columns; by default there are no others.
    init : str, float or callable
        By default a normal distribution with the standard deviation 1, as in PyTorch.

    Attributes
    ----------
    weight, weight_grad : (levels, size) array
        The table of a single column; those of several are ``weight0``, ``weight1``, ...

    Examples
    --------
    >>> layer = Embedding(columns=[1], levels=3, size=2, n_in=2)
    >>> layer.weight = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    >>> layer([[0.5, 2.0], [0.7, 0.0]])
    array([[0.5, 5. , 6. ],
           [0.7, 1. , 2. ]], dtype=float32)
    """

    def __init__(
        self,
        levels: int | Sequence[int],
        size: int | Sequence[int],
        columns: Sequence[int] | None = None,
        n_in: int | None = None,
        init: Init = _NORMAL,
    ) -> None:
        super().__init__()
        counts = [len(given) for given in (levels, size) if isinstance(given, Sequence)]
        n = len(columns) if columns is not None else max(counts, default=1)
        self.levels, self.sizes = _each("levels", levels, n), _each("size", size, n)
        self.columns = tuple(whole("columns", c, at_least=0) for c in (range(n) if columns is None else columns))
        self.n_in = n if n_in is None else whole("n_in", n_in)
        if not n or len(set(self.columns)) < n or max(self.columns) >= self.n_in:
            raise ValueError(
                f"Embedding expects different columns below n_in={self.n_in}; got {self.columns}. Give n_in, the "
                "number of all columns."
            )
        self.n_out = self.n_in - n + sum(self.sizes)
        for i, shape in enumerate(zip(self.levels, self.sizes, strict=True)):
            self.add_parameter("weight" if n == 1 else f"weight{i}", shape, init)

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return EmbeddingOp(n, self.columns, self.levels, self.sizes)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "levels": list(self.levels),
            "size": list(self.sizes),
            "columns": list(self.columns),
            "n_in": self.n_in,
        }

    def __repr__(self) -> str:
        levels, sizes = (values[0] if len(values) == 1 else list(values) for values in (self.levels, self.sizes))
        return f"{type(self).__name__}({levels}, {sizes}, columns={list(self.columns)}, n_in={self.n_in})"


def _each(name: str, given: int | Sequence[int], n: int) -> tuple[int, ...]:
    """Return a number for each column."""
    if not isinstance(given, Sequence):
        return (whole(name, given),) * n
    if len(given) != n:
        raise ValueError(f"{name} expects a number for each of {n} columns; got {len(given)}.")
    return tuple(whole(f"{name}[{i}]", value) for i, value in enumerate(given))
