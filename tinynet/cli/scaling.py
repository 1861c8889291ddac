"""Scales of targets: a network learns targets of size 1, so that one learning rate suits all units.

Afterwards its last layer, which is linear, takes the scale into its weights: the same function in the units of the
data, and nothing to undo in predictions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.gaps import extremes, moments_of_known
from tinynet.models.sequential import Sequential


class Scaling(ABC):
    """How targets, (n_samples, n_targets), are scaled."""

    text: str
    """What targets become."""

    @abstractmethod
    def standard(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets as they are trained on."""

    @abstractmethod
    def into(self, net: Sequential) -> None:
        """Let a network predict in the units of the data."""


@dataclass(frozen=True)
class Standardised(Scaling):
    """Mean 0 and deviation 1, of each target by itself.

    Examples
    --------
    >>> y = np.array([[10.0], [30.0]])
    >>> Standardised.of(y).standard(y).tolist()
    [[-1.0], [1.0]]
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    text = "standardised values"

    @classmethod
    def of(cls, y: NDArray[Any]) -> Standardised:
        """Measure targets."""
        gaps = np.isnan(y).any()
        mean, scale = moments_of_known(y) if gaps else (y.mean(axis=0), y.std(axis=0))
        scale[scale <= np.abs(mean) * 1e-12] = 1.0
        return cls(mean, scale)

    def standard(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets with mean 0 and deviation 1."""
        return (y - self.mean) / self.scale

    def into(self, net: Sequential) -> None:
        """Let a network that ends in ``Linear`` predict in the units of the data."""
        *others, weight, bias = net.get_weights()
        net.set_weights([*others, weight * self.scale, bias * self.scale + self.mean])


@dataclass(frozen=True)
class OfMean(Scaling):
    """Rates and counts as multiples of their mean: the Poisson deviance of all of them scales with it.

    Examples
    --------
    >>> y = np.array([[10.0], [30.0]])
    >>> OfMean.of(y).standard(y).tolist()
    [[0.5], [1.5]]
    """

    mean: NDArray[np.float64]
    text = "multiples of the mean"

    @classmethod
    def of(cls, y: NDArray[Any]) -> OfMean:
        """Measure targets."""
        low, _ = extremes(y)
        if low < 0:
            raise ValueError(
                f"--loss poisson expects targets that are counts or rates, not below 0; got {low:g}. Take mse, mae "
                "or huber."
            )
        mean = moments_of_known(y)[0] if np.isnan(y).any() else y.mean(axis=0)
        mean[mean == 0] = 1.0
        return cls(mean)

    def standard(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Return targets with mean 1."""
        return y / self.mean

    def into(self, net: Sequential) -> None:
        """Let a network that ends in ``Linear`` and ``Exp`` predict in the units of the data."""
        *others, bias = net.get_weights()
        net.set_weights([*others, bias + np.log(self.mean)])


def scaling_of(y: NDArray[Any], loss: str) -> Scaling:
    """Return how targets that are numbers are scaled for a loss."""
    return OfMean.of(y) if loss == "poisson" else Standardised.of(y)
