"""Losses that are given as formulas: compiled like all others, each in one entry."""

from __future__ import annotations

import math
from typing import Any

from tinynet.base.checks import number
from tinynet.losses.elementwise import ElementwiseLoss
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import last_activation
from tinynet.program import LossSpec, Op


class _Given(ElementwiseLoss):
    """A formula with the arguments of a class of its own."""

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"reduction": self.reduction}

    def __repr__(self) -> str:
        return Loss.__repr__(self)


class LogCosh(_Given):
    """``log(cosh(p - t))``: half the square of small differences, the absolute value of large ones, smooth between.

    Examples
    --------
    >>> round(LogCosh()([[2.0]], [[0.0]]), 4)
    1.325
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__(_log_cosh, reduction, "numbers")


class BinaryFocal(_Given):
    """Binary cross-entropy in which samples that are classified well count less.

    ``-t (1 - s)**gamma log(s) - (1 - t) s**gamma log(1 - s)`` with ``s = sigmoid(p)`` (Lin et al. 2017, eq. 4, without
    their ``alpha``: class weights are ``fit``'s). Predictions are logits: the network ends without ``Sigmoid``.

    Parameters
    ----------
    gamma : float
        0 is binary cross-entropy.

    Examples
    --------
    >>> round(BinaryFocal(gamma=2.0)([[0.0]], [[1.0]]), 6)  # log(2) / 4
    0.173287
    """

    def __init__(self, gamma: float = 2.0, reduction: Reduction = "mean") -> None:
        self.gamma = gamma = number("gamma", gamma, at_least=0.0)

        def focal(p: Any, t: Any) -> Any:
            functions = _functions()
            for_one, for_zero = functions.softplus(-p), functions.softplus(p)  # -log s and -log(1 - s)
            return t * functions.exp(-gamma * for_zero) * for_one + (1 - t) * functions.exp(-gamma * for_one) * for_zero

        super().__init__(focal, reduction, "labels", from_logits=True)

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        if last_activation(ops) == "sigmoid":
            raise ValueError("BinaryFocal expects logits; got a network that ends in Sigmoid. Leave that layer out.")
        return super()._lower(ops, index_target)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"gamma": self.gamma, **super().config()}


def _functions() -> Any:
    from tinynet.backends.formulas import functions  # Few programs have formulas.

    return functions


def _log_cosh(p: Any, t: Any) -> Any:
    functions = _functions()
    size = abs(p - t)
    # Of small differences by cosh(d) = 1 + 2 sinh(d/2)^2, which keeps the digits that log(2) would swallow.
    low = functions.expm1(-0.5 * size)
    sinh = -0.5 * low * (2 + low) / (1 + low)
    small = functions.log1p(2 * sinh * sinh)
    large = size + functions.log1p(functions.exp(-2 * size)) - math.log(2)
    return functions.where(size <= 1, small, large)
