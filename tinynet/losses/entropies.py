"""Losses of classes and labels: the two cross-entropies."""

from __future__ import annotations

from typing import Any

from tinynet.backends.base import Array
from tinynet.base.arrays import as_real_array_anywhere, as_samples, check_finite, numpy_namespace, read
from tinynet.base.checks import number
from tinynet.base.gaps import extremes
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import PROBABILITIES, last_activation, last_op
from tinynet.losses.targets import class_numbers
from tinynet.program import ActivationOp, CustomOp, LossSpec, Op


class _CrossEntropyLike(Loss):
    """What the two cross-entropies share: they meet an activation at the end of the network as one stable formula."""

    activation: str
    """The activation whose logarithm is taken."""
    kind_logits: str
    kind_probabilities: str

    def __init__(self, from_logits: bool, reduction: Reduction, label_smoothing: float) -> None:
        super().__init__(reduction)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0.0, below=1.0)

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        """Return the loss as plain data; on a network that ends in its activation, on that activation's input."""
        self._check_end(ops)
        last = ops[-1] if ops else None
        ends_in_activation = isinstance(last, ActivationOp) and last.kind == self.activation
        kind = self.kind_logits if self.from_logits or ends_in_activation else self.kind_probabilities
        return LossSpec(
            kind=kind + "_index" * index_target,
            reduction=self.reduction,
            per_sample=self.per_sample,
            index_target=index_target,
            on_logits=ends_in_activation,
        )

    def _check_end(self, ops: tuple[Op, ...]) -> None:
        """Raise where a network ends in probabilities, and logits are expected, or the other way round."""
        last, name, layer = last_op(ops), type(self).__name__, self.activation.capitalize()
        if self.from_logits and last_activation(ops) == self.activation:
            raise ValueError(
                f"{name}(from_logits=True) expects a network that ends in logits; got one that ends in {layer}. "
                f"Remove the {layer} layer, or use {name}(from_logits=False)."
            )
        if self.from_logits or last is None or isinstance(last, CustomOp):
            return
        assert self.targets is not None
        if last_activation(ops) not in PROBABILITIES[self.targets]:
            end = last.kind if isinstance(last, ActivationOp) else type(last).__name__.removesuffix("Op")
            raise ValueError(
                f"{name} expects a network that ends in probabilities; got one that ends in {end}, which gives other "
                f"numbers. Add tn.{layer}() as its last layer, or use loss=tn.{name}(from_logits=True)."
            )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        smoothing = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return {"from_logits": self.from_logits, "reduction": self.reduction, **smoothing}

    def _smoothed(self, target: Array, n_classes: int) -> Array:
        """Return ``(1 - s) t + s / n_classes`` with ``s = label_smoothing`` (Szegedy et al. 2016, section 7)."""
        return target * (1.0 - self.label_smoothing) + self.label_smoothing / n_classes


class BinaryCrossEntropy(_CrossEntropyLike):
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities, or of ``p = sigmoid(logit)``.

    Parameters
    ----------
    from_logits : bool
        Whether the network ends in logits. A network that ends in ``Sigmoid`` is trained on its logits all the same:
        the two logarithms never see a rounded 0 or 1. Elsewhere each logarithm is held at or above -100, as PyTorch's.
    reduction : {"mean", "sum"}
    label_smoothing : float
        In [0, 1): targets are drawn so far towards 1/2, as by Keras; metrics see them as they are.

    Targets are labels or probabilities in [0, 1].
    """

    targets = "labels"
    activation, kind_logits, kind_probabilities = "sigmoid", "bce_logits", "bce"

    def __init__(self, from_logits: bool = False, reduction: Reduction = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(from_logits, reduction, label_smoothing)

    def taught_target(self, target: Array, n_out: int, dtype: str) -> Array:
        """Return smoothed labels; see ``Loss.taught_target``."""
        return self._smoothed(target, 2) if self.label_smoothing else target

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets in [0, 1]."""
        array = super().check_target(y, n_out, dtype)
        low, high = extremes(array) if self.ignores_missing else read(array.min(), array.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"BinaryCrossEntropy expects targets in [0, 1]; got values from {low:g} to {high:g}. "
                "Encode the two classes as 0 and 1."
            )
        return array


class CrossEntropy(_CrossEntropyLike):
    """``-sum(t log softmax(logits))``; the mean is taken over samples.

    Parameters
    ----------
    from_logits : bool
        Whether the network ends in logits (PyTorch's convention, and the default) or in ``Softmax``.
    reduction : {"mean", "sum"}
    label_smoothing : float
        In [0, 1): the share of a target that is spread evenly over all classes, as by PyTorch; metrics see targets as
        they are.

    Targets are class numbers from 0, (n_samples,) int, or probabilities or one-hot rows, (n_samples, n_classes).
    """

    activation, kind_logits, kind_probabilities = "softmax", "cross_entropy", "cross_entropy_probabilities"
    per_sample, targets = True, "classes"

    def __init__(self, from_logits: bool = True, reduction: Reduction = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(from_logits, reduction, label_smoothing)

    def taught_target(self, target: Array, n_out: int, dtype: str) -> Array:
        """Return smoothed rows, of class numbers too; see ``Loss.taught_target``."""
        if not self.label_smoothing:
            return target
        if target.ndim == 1:
            target = (target[:, None] == numpy_namespace(target).arange(n_out)).astype(dtype)
        return self._smoothed(target, n_out)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return class numbers as (n_samples,) int64, or rows of probabilities."""
        if n_out < 2:
            raise ValueError(
                "CrossEntropy expects one output for each class, at least 2; got a network with 1 output. "
                "Use BinaryCrossEntropy for a single output."
            )
        array = as_real_array_anywhere(y, "y")
        if array.ndim == 2 and array.shape[1] == n_out:
            rows = as_samples(array, "y", n_out, dtype)
            low, error = read(rows.min(), abs(rows.sum(axis=1, dtype="float64") - 1.0).max())
            if low < 0 or error > 1.1e-4:
                raise ValueError(
                    "CrossEntropy expects rows of y that are probabilities: not negative, with the sum 1; got others. "
                    "Pass class numbers, one-hot rows, or normalised rows."
                )
            return rows
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1 or len(array) == 0:
            raise ValueError(
                f"CrossEntropy expects y of shape (batch,) with class numbers, or (batch, {n_out}) with probabilities; "
                f"got {array.shape}."
            )
        check_finite(array, "y")
        return class_numbers(array, n_out)
