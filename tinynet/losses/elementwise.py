"""ElementwiseLoss: a loss of your own, as a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.base.checks import member
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import Kind


class ElementwiseLoss(Loss):
    """A loss of each output and its target, as a formula of your own.

    It is derived, compiled and saved like those of the library. It is made of arithmetic, comparisons and the functions
    of ``tn.math``, or those of NumPy that are there, too.

    Parameters
    ----------
    function : callable
        Is called once, with what stands for the prediction and for the target, and returns the formula.
    reduction : {"mean", "sum"}
        As for ``Loss``.
    targets : {"numbers", "classes", "labels"}, optional
        What a target is, for metrics and class weights; by default it is told from the data where that is possible.
    from_logits : bool
        Whether the outputs that belong to classes and labels are logits, and not probabilities.

    Raises
    ------
    TypeError
        If it returns no formula, or asks for the value of what has none yet, as ``if p > t`` does.
    ValueError
        If the formula does not depend on the prediction, or is too long.

    Examples
    --------
    >>> import tinynet as tn
    >>> log_cosh = ElementwiseLoss(lambda p, t: tn.math.softplus(2 * (p - t)) - (p - t))
    >>> round(log_cosh([[1.0]], [[0.0]]), 4)
    1.1269
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any] | str,
        reduction: Reduction = "mean",
        targets: Kind | None = None,
        from_logits: bool = False,
    ) -> None:
        from tinynet.backends.formulas import text_of_loss  # Few programs have formulas of their own.

        super().__init__(reduction)
        self.kind = text_of_loss(function)
        if targets is not None:
            member("targets", targets, ("numbers", "classes", "labels"))
        self.targets, self.from_logits = targets, bool(from_logits)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; a function as the text of what it has returned."""
        own: dict[str, Any] = {"targets": self.targets} if self.targets is not None else {}
        own |= {"from_logits": True} if self.from_logits else {}
        return {"function": self.kind, **super().config(), **own}

    def __repr__(self) -> str:
        from tinynet.backends.formulas import shown

        return f"ElementwiseLoss({shown(self.kind, 'p', 't')}, reduction={self.reduction!r})"
