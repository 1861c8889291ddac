"""Dropout: elements that are zero for one update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinynet.base.checks import setting
from tinynet.layers.layer import Layer
from tinynet.program import DropoutOp, Op


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
