"""Meter: metrics of one set of data, read once, for as many predictions as there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tinynet.losses import Loss
from tinynet.program import Program
from tinynet.training.data import Data
from tinynet.training.metrics.comparison import Comparison, Truth
from tinynet.training.metrics.table import Measure

if TYPE_CHECKING:
    from tinynet.training.trainable import Trainable


class Meter:
    """Measures what a network says of a set of data.

    Parameters
    ----------
    measures : dict of str to Measure
    data : Data
    loss : Loss
        It tells what targets and outputs mean.
    program : Program
        Of the network.

    Raises
    ------
    ValueError
        If a metric is not for such targets.
    """

    def __init__(self, measures: Mapping[str, Measure], data: Data, loss: Loss, program: Program) -> None:
        self.measures, self.data = dict(measures), data
        if not self.measures:
            return
        target = data.y_host
        self.truth = Truth(target, loss.meaning(target, program.ops), program.n_out)
        self.weights = data.sample_weight_host
        for name, measure in self.measures.items():
            measure.check(name, self.truth, self.weights)

    def predicted(self, model: Trainable) -> NDArray[Any]:
        """Return the outputs of a model for the samples of this process, in host memory."""
        return model.predict_on_host(self.data.x, standardised=self.data.standardised)

    def __call__(self, outputs: NDArray[Any], model: int = 0) -> dict[str, float]:
        """Return the figures of the outputs for all samples, by name.

        Parameters
        ----------
        outputs : (n_samples, n_out) array
        model : int
            Which model of an ensemble they are of: it may have sample weights of its own.
        """
        weight = self.weights if self.weights is None or self.weights.ndim == 1 else self.weights[model]
        comparison = Comparison(self.truth, outputs, weight)
        return {name: measure.compute(comparison) for name, measure in self.measures.items()}
