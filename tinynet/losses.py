"""Losses: what is minimised, and which targets it takes.

A loss is used by ``fit`` through its kernel, or by itself: ``MeanSquaredError().forward(prediction, target)``. Subclass
``Loss`` with your own ``forward`` and ``backward`` to train with a loss that is not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tinynet.backends import home_of
from tinynet.backends.base import Array
from tinynet.base.arrays import as_real_array_anywhere, as_samples, check_finite, convert, numpy_namespace, read
from tinynet.base.checks import member, setting
from tinynet.base.hints import Hinting
from tinynet.program import ActivationOp, LossSpec, Op, Setting

Reduction = Literal["mean", "sum"]


class Loss(Hinting):
    """Base class of all losses.

    A subclass of yours writes ``forward(prediction, target)``, which returns the loss of a batch as a number, and
    ``backward(prediction, target)``, which returns the gradient of that number with respect to ``prediction``, an array
    of its shape. With ``takes_sample_weight = True`` both get ``sample_weight`` as a third argument if ``fit`` has it.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        "mean": over all elements, as PyTorch's; the history shows the mean over the epoch's samples.
        "sum": the history shows the epoch's total.

    Examples
    --------
    >>> loss = MeanSquaredError(reduction="sum")
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    5.0
    """

    kind = "custom"
    parameter: Setting = 0.0
    per_sample = False
    takes_sample_weight = False
    takes_labels = False
    """Whether targets may be class numbers, one for each sample."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = member("reduction", reduction, ("mean", "sum"))

    @property
    def is_custom(self) -> bool:
        """Whether the loss is written in Python by the user."""
        return type(self).forward is not Loss.forward

    def lower(self, ops: tuple[Op, ...] = (), *, index_target: bool = False) -> LossSpec:
        """Return the loss as plain data, for a network of these ops and targets of this kind."""
        if self.is_custom:
            reduction: Reduction = getattr(self, "reduction", "mean")
            return LossSpec("custom", reduction=reduction, per_sample=True, custom=self)
        return LossSpec(
            kind=self.kind,
            parameter=self.parameter,
            reduction=self.reduction,
            per_sample=self.per_sample,
            index_target=index_target,
        )

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets as the kernel wants them, (n_samples, n_out) of ``dtype``, or say what is wrong with them."""
        array = as_real_array_anywhere(y, "y")
        if array.ndim == 1 and n_out == 1:
            array = array.reshape(-1, 1)
        return as_samples(array, "y", n_out, dtype)

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        """Return the loss of a batch.

        Parameters
        ----------
        prediction : (n_samples, n_out) float
        target : array shaped like ``prediction``, or (n_samples,) int for losses that take class numbers
        sample_weight : (n_samples,) float, optional
            Factor of each sample's loss.
        """
        return self._compute(prediction, target, sample_weight)[0]

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Array:
        """Return the gradient of ``forward`` with respect to ``prediction``, shaped like it and beside it."""
        return self._compute(prediction, target, sample_weight)[1]

    __call__ = forward

    def _compute(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[float, Array]:
        array = as_real_array_anywhere(prediction, "prediction")
        backend = home_of(array)
        dtype = "float32" if array.dtype == np.float32 else "float64"
        with backend.active():
            array = as_samples(array, "prediction", None, dtype, expects=type(self).__name__)
            checked = self.check_target(backend.admit(target, "target"), array.shape[1], dtype)
            weight = None
            if sample_weight is not None:
                weight = as_weights(backend.admit(sample_weight, "sample_weight"), len(array), dtype)
        if len(checked) != len(array):
            raise ValueError(
                f"{type(self).__name__} expects as many targets as predictions; got {len(checked)} and {len(array)}."
            )
        spec = self.lower(index_target=checked.ndim == 1)
        gradient = backend.empty(array.shape, dtype)
        arrays = array, backend.asarray(checked), None if weight is None else backend.asarray(weight), gradient
        with backend.active():
            value = backend.kernels.loss_forward_backward(spec.kind, *arrays, spec.scale(*array.shape), spec.parameter)
        return value, gradient

    def select(self, members: int | Sequence[int]) -> Loss:
        """Return the loss of one model of an ensemble, or of some: itself, where all models have the same numbers.

        Examples
        --------
        >>> Huber([0.1, 0.2, 0.3]).select(1), Huber([0.1, 0.2, 0.3]).select([2, 0])
        (Huber(delta=0.2, reduction='mean'), Huber(delta=(0.3, 0.1), reduction='mean'))
        """
        if not isinstance(self.parameter, tuple):
            return self

        def chosen(value: Any) -> Any:
            if not isinstance(value, tuple):
                return value
            return value[members] if isinstance(members, int) else [value[i] for i in members]

        return type(self)(**{name: chosen(value) for name, value in self.config().items()})

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"reduction": self.reduction}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.config().items())})"


class MeanSquaredError(Loss):
    """``(p - t)**2``.

    Examples
    --------
    >>> MeanSquaredError()([[0.0], [2.0]], [[1.0], [2.0]])
    0.5
    """

    kind = "mse"


class MeanAbsoluteError(Loss):
    """``|p - t|``; its gradient at 0 is 0."""

    kind = "mae"


class Huber(Loss):
    """``(p - t)**2 / 2`` up to ``delta``, beyond it ``delta * (|p - t| - delta / 2)`` (Huber 1964, eq. 1.2).

    ``delta`` may be a sequence, with one for each model of an ``Ensemble``.

    Examples
    --------
    >>> Huber(delta=1.0)([[3.0]], [[0.0]])
    2.5
    """

    kind = "huber"

    def __init__(self, delta: float | Sequence[float] = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.delta = self.parameter = setting("delta", delta, above=0.0)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"delta": self.delta, "reduction": self.reduction}


class _CrossEntropyLike(Loss):
    """What the two cross-entropies share: they meet an activation at the end of the network as one stable formula."""

    activation: str
    """The activation whose logarithm is taken."""
    kind_logits: str
    kind_probabilities: str

    def __init__(self, from_logits: bool, reduction: Reduction) -> None:
        super().__init__(reduction)
        self.from_logits = bool(from_logits)

    def lower(self, ops: tuple[Op, ...] = (), *, index_target: bool = False) -> LossSpec:
        """Return the loss as plain data; on a network that ends in its activation, on that activation's input."""
        last = ops[-1] if ops else None
        ends_in_activation = isinstance(last, ActivationOp) and last.kind == self.activation
        if ends_in_activation and self.from_logits:
            name, layer = type(self).__name__, self.activation.capitalize()
            raise ValueError(
                f"{name}(from_logits=True) expects a network that ends in logits; got one that ends in {layer}. "
                f"Remove the {layer} layer, or use {name}(from_logits=False)."
            )
        kind = self.kind_logits if self.from_logits or ends_in_activation else self.kind_probabilities
        return LossSpec(
            kind=kind + "_index" * index_target,
            reduction=self.reduction,
            per_sample=self.per_sample,
            index_target=index_target,
            on_logits=ends_in_activation,
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        return {"from_logits": self.from_logits, "reduction": self.reduction}


class BinaryCrossEntropy(_CrossEntropyLike):
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities, or of ``p = sigmoid(logit)``.

    Parameters
    ----------
    from_logits : bool
        Whether the network ends in logits. A network that ends in ``Sigmoid`` is trained on its logits all the same:
        the two logarithms never see a rounded 0 or 1. Elsewhere each logarithm is held at or above -100, as PyTorch's.
    reduction : {"mean", "sum"}

    Targets are labels or probabilities in [0, 1].
    """

    activation, kind_logits, kind_probabilities = "sigmoid", "bce_logits", "bce"

    def __init__(self, from_logits: bool = False, reduction: Reduction = "mean") -> None:
        super().__init__(from_logits, reduction)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets in [0, 1]."""
        array = super().check_target(y, n_out, dtype)
        low, high = read(array.min(), array.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"BinaryCrossEntropy expects targets in [0, 1]; got values from {low:g} to {high:g}. "
                "Encode the two classes as 0 and 1."
            )
        return array


class PoissonLoss(Loss):
    """Half the Poisson deviance, ``p - t + t log(t / p)``, of counts ``t`` and the rate ``p = exp(prediction)``.

    A network ends in the logarithm of the rate, or in ``Exp``, whose input is then taken. Targets are not negative.

    Examples
    --------
    >>> PoissonLoss()([[0.0]], [[1.0]])
    0.0
    """

    kind = "poisson_log"

    def lower(self, ops: tuple[Op, ...] = (), *, index_target: bool = False) -> LossSpec:
        """Return the loss as plain data; on a network that ends in ``Exp``, on its input."""
        last = ops[-1] if ops else None
        on_logits = isinstance(last, ActivationOp) and last.kind == "exponential"
        return LossSpec(self.kind, reduction=self.reduction, on_logits=on_logits)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets that are not negative."""
        array = super().check_target(y, n_out, dtype)
        (low,) = read(array.min())
        if low < 0:
            raise ValueError(
                f"PoissonLoss expects targets that are counts or rates, not below 0; got {low:g}. "
                "Take another loss for such values, for instance 'mse'."
            )
        return array


class CrossEntropy(_CrossEntropyLike):
    """``-sum(t log softmax(logits))``; the mean is taken over samples.

    Parameters
    ----------
    from_logits : bool
        Whether the network ends in logits (PyTorch's convention, and the default) or in ``Softmax``.
    reduction : {"mean", "sum"}

    Targets are class numbers from 0, (n_samples,) int, or probabilities or one-hot rows, (n_samples, n_classes).
    """

    activation, kind_logits, kind_probabilities = "softmax", "cross_entropy", "cross_entropy_probabilities"
    per_sample = True
    takes_labels = True

    def __init__(self, from_logits: bool = True, reduction: Reduction = "mean") -> None:
        super().__init__(from_logits, reduction)

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
            low, error = read(rows.min(), abs(rows.sum(axis=1) - 1.0).max())
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


def class_numbers(array: Array, n_classes: int) -> Array:
    """Return whole numbers from 0 to ``n_classes - 1`` as int64, or say which are not.

    Examples
    --------
    >>> class_numbers(np.array([0.0, 2.0]), 3)
    array([0, 2])
    """
    labels = numpy_namespace(array).ascontiguousarray(array, dtype=np.int64)
    whole, low, high = read((labels == array).all(), labels.min(), labels.max())
    if not whole:
        bad = float(array[labels != array][0])
        raise ValueError(f"class numbers in y must be whole numbers; got {bad:g}. Encode the classes as 0, 1, 2, ...")
    if low < 0 or high >= n_classes:
        bad = int(low if low < 0 else high)
        raise ValueError(
            f"class numbers in y must lie in 0..{n_classes - 1}, as the network has {n_classes} outputs; got {bad}. "
            "Renumber the classes, or widen the last layer."
        )
    return labels


def as_weights(weights: Any, n_samples: int, dtype: str, name: str = "sample_weight") -> Array:
    """Return weights as a checked (n_samples,) array: finite, not negative, not all zero."""
    array = as_real_array_anywhere(weights, name)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} must have shape ({n_samples},), one weight for each sample; got {array.shape}.")
    low, high = read(array.min(), array.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN anywhere makes both NaN.
        check_finite(array, name)
    if low < 0 or high == 0:
        raise ValueError(f"{name} must not be negative and not all zero; got {low:g} to {high:g}.")
    return convert(array, name, dtype)


LOSSES: dict[str, Callable[..., Loss]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "binary_cross_entropy": BinaryCrossEntropy,
    "bce": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "poisson": PoissonLoss,
}


def get_loss(spec: str | Loss, **config: Any) -> Loss:
    """Return the loss that a name stands for, or the loss itself.

    Examples
    --------
    >>> get_loss("huber", delta=2.0)
    Huber(delta=2.0, reduction='mean')
    """
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, type) and issubclass(spec, Loss):
        return spec(**config)
    return LOSSES[member("loss", spec, LOSSES)](**config)
