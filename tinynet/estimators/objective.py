"""What an estimator minimises: a loss, the mean over the weights of the samples, and the L2 penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinynet.backends.base import Array
from tinynet.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonLoss,
)
from tinynet.program import LossSpec, Op

UserLoss = Callable[[Any, Any], tuple[Any, Any]]

REGRESSION: dict[str, Callable[[], Loss]] = {
    "squared_error": MeanSquaredError,
    "poisson": PoissonLoss,
    "mae": MeanAbsoluteError,
    "huber": Huber,
}
"""The losses of a regressor by name: scikit-learn's, and tinynet's others."""


class Objective(Loss):
    """The sum over a batch of ``weight * loss`` plus ``alpha / 2`` times all squared weights, over the sum of weights.

    Parameters
    ----------
    loss : Loss
        Summed over outputs.
    alpha : float
        Strength of the L2 penalty, which leaves biases out.
    factor : float
        Multiplies the loss: scikit-learn halves squares.
    report : float
        Multiplies the reported value only. scikit-learn reports the mean of squares over the outputs, and descends
        their sum.
    """

    def __init__(self, loss: Loss, alpha: float, factor: float = 1.0, report: float = 1.0) -> None:
        if loss.takes_slopes:
            raise ValueError(
                f"estimators expect a loss of values, as scikit-learn has no place for slopes; got {loss!r}. Use "
                "tn.Sequential(...).fit(x, (y, dy), loss=...)."
            )
        if len(loss.powers) > 1:
            raise ValueError(
                f"estimators expect a loss of one output for each target; got {loss!r}. Use tn.Sequential, with the "
                "layer that it needs at its end."
            )
        super().__init__("mean")
        self.loss, self.alpha, self.factor, self.report = loss, float(alpha), factor, report
        self.ignores_missing = loss.ignores_missing

    def with_missing(self, missing_targets: str) -> Objective:
        """Return the objective as it takes targets that are NaN; see ``Loss.with_missing``."""
        return Objective(self.loss.with_missing(missing_targets), self.alpha, self.factor, self.report)

    def lower(self, ops: tuple[Op, ...] = (), *, index_target: bool = False) -> LossSpec:
        """Return the loss as plain data."""
        return replace(
            self.loss.lower(ops, index_target=index_target),
            reduction="mean",
            per_sample=True,
            by_weight=True,
            l2=self.alpha,
            factor=self.factor,
            report=self.report,
        )

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets that suit the loss, or say what is wrong with them."""
        return self.loss.check_target(y, n_out, dtype)


class FunctionLoss(Loss):
    """A loss that is a function of the user's: ``f(y_true, y_pred)`` returns the losses and their derivatives.

    Parameters
    ----------
    function : callable
        Takes two (n_samples, n_outputs) arrays of the backend. Returns the losses, (n_samples,) or
        (n_samples, n_outputs), and their derivatives with respect to ``y_pred``, (n_samples, n_outputs).
    """

    takes_sample_weight = True

    def __init__(self, function: UserLoss) -> None:
        super().__init__("mean")
        self.function = function

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        """Return the weighted mean over samples."""
        losses, _ = self._evaluated(prediction, target)
        by_sample = losses.reshape(len(prediction), -1).sum(axis=1)
        if sample_weight is None:
            return float(by_sample.mean())
        total = float(sample_weight.sum())
        return float((by_sample * sample_weight).sum()) / total if total else 0.0

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        """Return the gradient of ``forward``."""
        _, slopes = self._evaluated(prediction, target)
        if sample_weight is None:
            return slopes / len(prediction)
        total = float(sample_weight.sum())
        return slopes * (sample_weight[:, None] / (total or np.inf))

    def _evaluated(self, prediction: Any, target: Any) -> tuple[Any, Any]:
        returned = self.function(target, prediction)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(
                f"a callable loss must return (losses, derivatives); {self.function!r} returned "
                f"{type(returned).__name__}."
            )
        losses, slopes = returned
        if getattr(slopes, "shape", None) != prediction.shape or np.shape(losses)[:1] != prediction.shape[:1]:
            raise ValueError(
                f"a callable loss must return losses of shape ({len(prediction)},) or {prediction.shape}, and "
                f"derivatives of shape {prediction.shape}; got {np.shape(losses)} and {np.shape(slopes)}."
            )
        return losses, slopes


def of_regressor(loss: Any, n_outputs: int, alpha: float) -> Objective:
    """Return what a regressor minimises.

    Examples
    --------
    >>> of_regressor("squared_error", 2, 0.0).lower().factor
    0.5
    """
    if isinstance(loss, str):
        if loss == "squared_error":
            return Objective(MeanSquaredError(), alpha, factor=0.5, report=1.0 / n_outputs)
        return Objective(REGRESSION[loss](), alpha)
    return Objective(loss if isinstance(loss, Loss) else FunctionLoss(loss), alpha)


def of_classifier(out_activation: str, alpha: float) -> Objective:
    """Return what a classifier minimises: the log-loss of its probabilities."""
    loss: Loss = CrossEntropy(from_logits=False) if out_activation == "softmax" else BinaryCrossEntropy()
    return Objective(loss, alpha)
