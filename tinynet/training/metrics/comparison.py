"""What metrics compare: the targets of a set of data, and what a network says of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.losses import Meaning
from tinynet.training.metrics.classes import Counts
from tinynet.training.metrics.numbers import Float64, Weight


class Truth:
    """The targets of a set, read as its loss means them; each reading is made when it is first asked for.

    Parameters
    ----------
    target : (n_samples, n_out) array, or (n_samples,) int array of class numbers
    meaning : Meaning
    n_out : int
        Number of the network's outputs.
    """

    def __init__(self, target: NDArray[Any], meaning: Meaning, n_out: int) -> None:
        self.target, self.meaning, self.n_out = target, meaning, n_out

    @cached_property
    def gaps(self) -> bool:
        """Whether some targets are NaN: were not measured."""
        return self.target.dtype.kind == "f" and bool(np.isnan(self.target).any())

    @property
    def n_classes(self) -> int:
        """Number of classes or labels; one column of labels tells two classes apart."""
        return 2 if self.one_label else self.n_out

    @property
    def one_label(self) -> bool:
        """Whether there is a single output, which tells two classes apart."""
        return self.meaning.target == "labels" and self.n_out == 1

    @property
    def several_labels(self) -> bool:
        """Whether a sample may have any of several labels."""
        return self.meaning.target == "labels" and self.n_out > 1

    @cached_property
    def numbers(self) -> Float64:
        """The targets as (n_samples, n_out) numbers; class numbers as one-hot rows."""
        if self.target.ndim == 2:
            return self.target.astype(np.float64)
        rows: Float64 = (self.target[:, np.newaxis] == np.arange(self.n_out)).astype(np.float64)
        return rows

    @cached_property
    def decided(self) -> NDArray[Any]:
        """The targets as decisions: (n_samples,) class numbers, or (n_samples, n_labels) bool."""
        truth = self.meaning.truth(self.target)
        return truth[:, 0].astype(np.int64) if self.one_label else truth


class Comparison:
    """The outputs of a network beside the targets.

    Parameters
    ----------
    truth : Truth
    outputs : (n_samples, n_out) array
    weight : (n_samples,) array, optional
        The sample weights.
    """

    def __init__(self, truth: Truth, outputs: NDArray[Any], weight: Weight = None) -> None:
        self.truth, self.outputs = truth, outputs
        self.weight = None if weight is None else weight.astype(np.float64)

    @cached_property
    def expected(self) -> Float64:
        """What outputs say that targets are on average: probabilities or numbers, (n_samples, n_out)."""
        return self.truth.meaning.expected(self.outputs)

    @cached_property
    def decided(self) -> NDArray[Any]:
        """What outputs decide, as ``Truth.decided``."""
        chosen = self.truth.meaning.decided(self.outputs)
        return chosen[:, 0].astype(np.int64) if self.truth.one_label else chosen

    @cached_property
    def counts(self) -> Counts:
        """The decisions, counted by class."""
        return Counts.of(self.decided, self.truth.decided, self.truth.n_classes, self.weight)
