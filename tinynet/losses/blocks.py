"""Losses of several outputs for each target: quantiles at once, a mean with its variance, the logits of classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, ClassVar

from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.base.arrays import read
from tinynet.base.checks import number
from tinynet.losses.entropies import CrossEntropy
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import Meaning
from tinynet.losses.targets import as_numbers
from tinynet.program import ActivationOp, BlocksOp, CustomOp, LossSpec, Op

LEAST = 1e-30
"""What is added to a sum of exponentials that may vanish: float32 has smaller numbers, but no smaller ones whose
inverse it has, too."""


class _Blocks(Loss):
    """The loss of a target from ``blocks`` outputs, which a last layer makes so that they fit to each other.

    It is written of what goes into that layer: value and gradient are one compiled formula.
    """

    targets = "numbers"
    map: ClassVar[str]
    """What the last layer of a network computes."""
    blocks: int
    estimate = 0
    """Which of the outputs is the one that metrics look at."""
    counted = 1
    """Outputs that count for one where a mean is taken."""

    @abstractmethod
    def _formula(self, outputs: Sequence[Any], target: Any) -> Any:
        """Return the loss of one target."""

    @property
    @abstractmethod
    def _layer(self) -> str:
        """The last layer that a network needs."""

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        from tinynet.backends.blocks import loss_kind  # Few programs have such losses.

        last = ops[-1] if ops else None
        mapped = last if isinstance(last, BlocksOp) else None
        if (mapped is None or (mapped.kind, mapped.blocks) != (self.map, self.blocks)) and not (
            last is None or isinstance(last, CustomOp)
        ):
            raise ValueError(
                f"{type(self).__name__} expects a network that ends in {self._layer}, of {self.blocks} outputs of each "
                f"target; got one that ends in {type(last).__name__.removesuffix('Op')}. Add that layer at the end, "
                "before a Denormalize."
            )
        return LossSpec(
            loss_kind(self._formula, mapped, self.blocks),
            reduction=self.reduction,
            on_logits=mapped is not None,
            factor=float(self.counted) if self.reduction == "mean" else 1.0,
        )

    def meaning(self, target: NDArray[Any], ops: tuple[Op, ...] = ()) -> Meaning:
        """Return that targets are numbers, and which of the blocks of outputs estimates them."""
        return Meaning("numbers", "values", (self.estimate, self.blocks))

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets, as many as there are outputs in a block."""
        if n_out % self.blocks:
            raise ValueError(
                f"{type(self).__name__} expects {self.blocks} outputs for each target; got {n_out} in all. End the "
                f"network in {self._layer}."
            )
        return as_numbers(y, n_out // self.blocks, dtype, type(self).__name__, missing=self.ignores_missing)


class Quantile(_Blocks):
    """The pinball loss, ``max(q (t - p), (q - 1) (t - p))``, whose minimum is the ``q``-quantile of the targets.

    Koenker and Bassett (1978). Its gradient at ``p = t`` is ``1 - q``. ``Quantile(0.5)`` is half the absolute error.
    Several quantiles at once, ``Quantile([0.1, 0.5, 0.9])``, are of a network that ends in ``Increasing(3)``, so that
    they never cross; metrics look at the one that is nearest to 0.5.

    Parameters
    ----------
    q : float, or sequence of at least two of them
        In (0, 1), and increasing.

    Examples
    --------
    >>> Quantile(0.75)([[0.0]], [[1.0]]), Quantile(0.75)([[1.0]], [[0.0]])
    (0.75, 0.25)
    >>> Quantile([0.25, 0.75])([[0.0, 2.0]], [[1.0]])
    0.25
    """

    map = "increasing"

    def __init__(self, q: float | Sequence[float] = 0.5, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        given: Any = [q] if isinstance(q, str) or not hasattr(q, "__len__") else q
        self.several = given is q
        chosen = tuple(number("q", one, above=0.0, below=1.0) for one in given)
        if self.several and (len(chosen) < 2 or any(b <= a for a, b in pairwise(chosen))):
            raise ValueError(
                f"Quantile expects one number, or at least two that increase; got {list(chosen)}. Sort them, each once."
            )
        self.q: float | tuple[float, ...] = chosen if self.several else chosen[0]
        self._each, self.blocks, self.powers = chosen, len(chosen), (1,) * len(chosen)
        self.output_names = tuple(f"q{one:g}" for one in chosen) if self.several else ()
        self.estimate = min(range(len(chosen)), key=lambda i: abs(chosen[i] - 0.5))
        if not self.several:
            from tinynet.backends.formulas import text_of_loss  # Few programs have formulas.

            self.kind = text_of_loss(lambda p, t: self._formula([p], t))

    def _formula(self, outputs: Sequence[Any], target: Any) -> Any:
        from tinynet.backends.formulas import functions

        total: Any = 0.0
        for q, p in zip(self._each, outputs, strict=True):
            loss = functions.where(p < target, q * (target - p), (1 - q) * (p - target))
            total = loss if p is outputs[0] else total + loss
        return total

    @property
    def _layer(self) -> str:
        return f"Increasing({self.blocks}, n)"

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        return super()._lower(ops, index_target) if self.several else Loss._lower(self, ops, index_target)

    def meaning(self, target: NDArray[Any], ops: tuple[Op, ...] = ()) -> Meaning:
        """Return that targets are numbers, and which of several quantiles is the one nearest to 0.5."""
        return super().meaning(target, ops) if self.several else Loss.meaning(self, target, ops)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"q": list(self._each) if self.several else self.q, **super().config()}


class GaussianNLL(_Blocks):
    """``(log v + (m - t)**2 / v) / 2``: minus the log-likelihood of a target that is normal with mean m and variance v.

    Nix and Weigend (1994), without the constant ``log(2 pi) / 2``, as PyTorch's with ``full=False``. The network ends
    in ``MeanVariance(n)``, with two outputs for each of ``n`` targets: it learns how uncertain each target is, from
    noise that differs from sample to sample. The mean is over targets; metrics look at the means.

    Examples
    --------
    >>> GaussianNLL()([[1.0, 4.0]], [[3.0]])  # (log(4) + 1) / 2
    1.1931471805599454
    """

    map, blocks, counted, powers = "mean_variance", 2, 2, (1, 2)
    output_names = ("mean", "variance")

    def _formula(self, outputs: Sequence[Any], target: Any) -> Any:
        from tinynet.backends.formulas import functions

        mean, variance = outputs
        away = mean - target
        return 0.5 * (functions.log(variance) + away * away / variance)

    @property
    def _layer(self) -> str:
        return "MeanVariance(n)"


class CategoricalFocal(CrossEntropy):
    """Cross-entropy of classes in which samples that are classified well count less: ``-(1 - p_c)**gamma log(p_c)``.

    Lin et al. (2017), equation 4, of the probability ``p_c`` that ``softmax(logits)`` gives the class c, without their
    ``alpha``: class weights are ``fit``'s. The network ends in logits, one for each class. The mean is over samples.

    Parameters
    ----------
    gamma : float
        0 is cross-entropy.
    reduction : {"mean", "sum"}

    Targets are class numbers from 0, (n_samples,) int, or one-hot rows.

    Examples
    --------
    >>> round(CategoricalFocal(gamma=2.0)([[0.0, 0.0]], [1]), 6)  # log(2) / 4
    0.173287
    """

    def __init__(self, gamma: float = 2.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.gamma = number("gamma", gamma, at_least=0.0)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return class numbers as (n_samples,) int64."""
        target = super().check_target(y, n_out, dtype)
        if target.ndim == 1:
            return target
        (plain,) = read(((target == 0) | (target == 1)).all())
        if not plain:
            raise ValueError("CategoricalFocal expects class numbers, or one-hot rows; got rows of probabilities.")
        return target.argmax(axis=1)

    def taught_target(self, target: Array, n_out: int, dtype: str) -> Array:
        """Return class numbers as a column of numbers, which a formula compares."""
        return target.astype(dtype)[:, None]

    def _alone(self, n_out: int) -> tuple[Op, ...]:
        return (ActivationOp(n_out, "identity"),)

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        from tinynet.backends.blocks import loss_kind

        self._check_end(ops)
        kind = loss_kind(self._formula, None, ops[-1].n_out)
        return LossSpec(kind, reduction=self.reduction, per_sample=True)

    def _formula(self, logits: Sequence[Any], label: Any) -> Any:
        from tinynet.backends.formulas import functions

        peak = reduce(functions.maximum, logits)
        others: Any = 0.0
        chosen = logits[-1]
        for number_of_class, logit in enumerate(logits):
            is_it = label == number_of_class
            others = others + functions.where(is_it, 0.0, functions.exp(logit - peak))
            chosen = functions.where(is_it, logit, chosen)
        mine = functions.exp(chosen - peak)
        total = functions.log(others + mine)
        # Where the others vanish beside the class, the power and its slope are 0, and no logarithm is of 0.
        share = functions.exp(self.gamma * (functions.log(others + LEAST) - total)) if self.gamma else 1.0
        return share * (total - (chosen - peak))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"gamma": self.gamma, "reduction": self.reduction}
