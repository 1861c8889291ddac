"""Blocks: last layers that give several outputs for each target: quantiles in order, a mean and a variance."""

from __future__ import annotations

from typing import Any, ClassVar

from tinynet.base.checks import number, whole
from tinynet.layers.layer import Layer
from tinynet.program import BlocksOp, Op


class _Blocks(Layer):
    """Several outputs for each of ``n`` targets, a block of ``n`` columns for each of them."""

    kind: ClassVar[str]
    parameter = 0.0

    def __init__(self, n: int, blocks: int) -> None:
        super().__init__()
        self.n, self.blocks = whole("n", n), blocks
        self.n_in = self.n_out = self.n * blocks

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return BlocksOp(n, self.kind, self.blocks, self.parameter)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.config().items())})"


class Increasing(_Blocks):
    """Outputs that never cross: the first as it is, each of the others by a softplus above the one before.

    The last layer for ``Quantile([...])``, of as many quantiles. Columns are in blocks: those of the first quantile of
    each target, then those of the second: ``low, middle, high = np.split(net.predict(x), 3, axis=1)``.

    Parameters
    ----------
    size : int
        Outputs of a target.
    n : int
        Number of targets.

    Examples
    --------
    >>> Increasing(3)([[0.0, 0.0, -100.0]]).round(4)
    array([[0.    , 0.6931, 0.6931]], dtype=float32)
    """

    kind = "increasing"

    def __init__(self, size: int, n: int = 1) -> None:
        super().__init__(n, whole("size", size))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"size": self.blocks, "n": self.n}


class MeanVariance(_Blocks):
    """The mean as it is, and the variance as ``softplus(x) + floor``: the last layer for ``GaussianNLL``.

    Columns are in two blocks, means and variances: ``mean, variance = np.split(net.predict(x), 2, axis=1)``.

    Parameters
    ----------
    n : int
        Number of targets.
    floor : float
        The least variance, above 0: without it, a target that is met exactly is a loss without bounds.

    Examples
    --------
    >>> MeanVariance(floor=0.5)([[3.0, -100.0]])
    array([[3. , 0.5]], dtype=float32)
    """

    kind = "mean_variance"

    def __init__(self, n: int = 1, floor: float = 1e-6) -> None:
        super().__init__(n, 2)
        self.floor = self.parameter = number("floor", floor, above=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n, "floor": self.floor}
