"""The scale of counts and rates: a network learns multiples of their mean, so that one learning rate suits all units.

Other numbers are standardised by a layer, ``Denormalize``, which a loss of counts does not take. Here the last linear
layer takes the scale into its bias afterwards: the same function in the units of the data, and nothing to undo in
predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.base.gaps import check_measured, extremes
from tinynet.base.statistics import moments
from tinynet.models.sequential import Sequential


@dataclass(frozen=True)
class OfMean:
    """Rates and counts, (n_samples, n_targets), as multiples of their mean: their Poisson deviance scales with it.

    Examples
    --------
    >>> y = np.array([[10.0], [30.0]])
    >>> OfMean.of(y).standard(y).tolist()
    [[0.5], [1.5]]
    """

    mean: NDArray[np.float64]

    @classmethod
    def of(cls, y: NDArray[Any]) -> OfMean:
        """Measure targets."""
        low, _ = extremes(y)
        if low < 0:
            raise ValueError(
                f"--loss poisson expects targets that are counts or rates, not below 0; got {low:g}. Take mse, mae "
                "or huber."
            )
        mean, _, count = moments(y, gaps=True)
        check_measured(count, "y")
        mean[mean == 0] = 1.0
        return cls(mean)

    def standard(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets with mean 1."""
        return y / self.mean

    def into(self, net: Sequential) -> None:
        """Let a network that ends in ``Linear`` and ``Exp`` predict in the units of the data."""
        *others, bias = net.get_weights()
        net.set_weights([*others, bias + np.log(self.mean)])
