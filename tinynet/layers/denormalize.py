"""Denormalize: outputs in the units of the targets, while the loss is taken on standardised ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.base.arrays import numpy_namespace
from tinynet.base.checks import member, whole
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
        Number of targets.
    powers : sequence of int
        For networks with several outputs of each target, in blocks of ``n`` columns: 1 for a block in the unit of the
        targets, 2 for one in its square. ``(1, 1, 1)`` for three quantiles, ``(1, 2)`` for a mean and a variance. The
        first is 1.

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

    def __init__(self, n: int, powers: Sequence[int] = (1,)) -> None:
        chosen = tuple(whole("powers", power) for power in powers)
        if chosen[:1] != (1,) or max(chosen) > 2:
            raise ValueError(
                f"powers expects 1 for a block of outputs in the unit of the targets, 2 for its square, and 1 first; "
                f"got {chosen!r}. A mean and a variance are (1, 2), three quantiles (1, 1, 1)."
            )
        self._begin(n, len(chosen))
        self.powers = chosen

    def op(self, n: int, index: int) -> Op:
        """Return the layer as plain data."""
        return DenormalizeOp(n, len(self.powers))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().config() | ({} if self.powers == (1,) else {"powers": list(self.powers)})

    def __repr__(self) -> str:
        return super().__repr__() if self.powers == (1,) else f"Denormalize({self.n}, powers={self.powers!r})"

    def adapt(self, y: Any, comm: Any = None, *, missing_targets: str = "error") -> Denormalize:
        """Store the mean and the standard deviation of the columns of ``y``; return the layer.

        Parameters
        ----------
        y : (n_samples, n) array-like, or (n_samples,) for one column
        comm : mpi4py.MPI.Intracomm, optional
            As for ``Normalize.adapt``.
        missing_targets : {"error", "ignore"}
            "ignore": of those targets that are not NaN.

        Raises
        ------
        ValueError
            If a column has no target that was measured, here or on another rank.
        ModelInTrainingError
            If a callback calls it, of a training of the model that the layer belongs to. Another thread waits.
        """
        gaps = member("missing_targets", missing_targets, ("error", "ignore")) == "ignore"
        self._adapt(y, "y", comm, gaps=gaps)
        return self

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each target, (n,)."""
        return -self._on_host("zero")[: self.n] * self.scale + 0.0

    @property
    def scale(self) -> NDArray[np.float64]:
        """The standard deviation of each target, (n,)."""
        return 1.0 / self._on_host("unit")[: self.n]

    def _on_host(self, name: str) -> NDArray[np.float64]:
        held = getattr(self, name)
        assert self._backend is not None
        return np.array(self._backend.to_numpy(held), np.float64)

    def _keep(self, mean: Array, scale: Array) -> None:
        xp = numpy_namespace(scale)
        self.zero = xp.concatenate([-mean / scale * (power == 1) for power in self.powers])
        self.unit = xp.concatenate([scale**-power for power in self.powers])
