"""Losses of numbers: squares, absolute values, Huber's between them, and the deviance of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.base.arrays import read
from tinynet.base.checks import setting
from tinynet.base.gaps import extremes
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import Meaning, last_activation
from tinynet.program import ActivationOp, LossSpec, Op


class MeanSquaredError(Loss):
    """``(p - t)**2``.

    Examples
    --------
    >>> MeanSquaredError()([[0.0], [2.0]], [[1.0], [2.0]])
    0.5
    """

    kind, targets = "mse", "numbers"


class MeanAbsoluteError(Loss):
    """``|p - t|``; its gradient at 0 is 0."""

    kind, targets = "mae", "numbers"


class Huber(Loss):
    """``(p - t)**2 / 2`` up to ``delta``, beyond it ``delta * (|p - t| - delta / 2)`` (Huber 1964, eq. 1.2).

    ``delta`` may be a sequence, with one for each model of an ``Ensemble``.

    Examples
    --------
    >>> Huber(delta=1.0)([[3.0]], [[0.0]])
    2.5
    """

    kind, targets = "huber", "numbers"
    own_numbers = ("delta",)

    def __init__(self, delta: float | Sequence[float] = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.delta = self.parameter = setting("delta", delta, above=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"delta": self.delta, "reduction": self.reduction}


class PoissonLoss(Loss):
    """Half the Poisson deviance, ``p - t + t log(t / p)``, of counts ``t`` and the rate ``p = exp(prediction)``.

    A network ends in the logarithm of the rate, or in ``Exp``, whose input is then taken. Targets are not negative.

    Examples
    --------
    >>> PoissonLoss()([[0.0]], [[1.0]])
    0.0
    """

    kind, targets = "poisson_log", "numbers"
    takes_standardised = False

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        last = ops[-1] if ops else None
        on_logits = isinstance(last, ActivationOp) and last.kind == "exponential"
        return LossSpec(self.kind, reduction=self.reduction, on_logits=on_logits)

    def meaning(self, target: NDArray[Any], ops: tuple[Op, ...] = ()) -> Meaning:
        """Return that targets are numbers, of which a network gives the logarithms unless it ends in ``Exp``."""
        return Meaning("numbers", "values" if last_activation(ops) == "exponential" else "logarithms")

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets that are not negative."""
        array = super().check_target(y, n_out, dtype)
        low = extremes(array)[0] if self.ignores_missing else read(array.min())[0]
        if low < 0:
            raise ValueError(
                f"PoissonLoss expects targets that are counts or rates, not below 0; got {low:g}. "
                "Take another loss for such values, for instance 'mse'."
            )
        return array
