"""Loss: what all losses share: how one is computed, and what it knows of targets.

A loss is used by ``fit`` through its kernel, or by itself: ``MeanSquaredError().forward(prediction, target)``. Subclass
``Loss`` with your own ``forward`` and ``backward`` to train with a loss that is not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import home_of
from tinynet.backends.base import Array
from tinynet.base.arrays import as_real_array_anywhere, as_samples
from tinynet.base.checks import member
from tinynet.base.hints import Hinting
from tinynet.losses.meaning import Kind, Meaning, of_numbers
from tinynet.losses.targets import as_numbers, as_weights
from tinynet.program import LossSpec, Op, Setting

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

    Attributes
    ----------
    targets : {"numbers", "classes", "labels"} or None
        What a target is: a number for each output, one class of several, or 0 or 1 for each output. Metrics and class
        weights go by it. A loss of yours may say it; None: it is told from the data where that is possible.
    from_logits : bool
        Whether the outputs that belong to classes and labels are logits, and not probabilities.

    Examples
    --------
    >>> import tinynet as tn
    >>> loss = tn.MeanSquaredError(reduction="sum")
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    5.0
    """

    kind = "custom"
    parameter: Setting = 0.0
    per_sample = False
    takes_sample_weight = False
    takes_slopes = False
    targets: Kind | None = None
    from_logits: bool = False
    ignores_missing: bool = False
    """Whether targets that are NaN were not measured, and are left out; see ``with_missing``."""
    own_numbers: tuple[str, ...] = ()
    """Which of the constructor's arguments may have a number for each model of an ensemble."""
    powers: tuple[int, ...] = (1,)
    """What ``Denormalize`` is to know of the outputs of each target."""
    output_names: tuple[str, ...] = ()
    """What these outputs are called, where there are several."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = member("reduction", reduction, ("mean", "sum"))

    @property
    def takes_standardised(self) -> bool:
        """Whether targets may be standardised: numbers of any unit, and no classes, labels or counts."""
        return self.targets not in ("classes", "labels")

    @property
    def is_custom(self) -> bool:
        """Whether the loss is written in Python by the user."""
        return type(self).forward is not Loss.forward

    def lower(self, ops: tuple[Op, ...] = (), *, index_target: bool = False) -> LossSpec:
        """Return the loss as plain data, for a network of these ops and targets of this kind."""
        if self.is_custom:
            reduction: Reduction = getattr(self, "reduction", "mean")
            return LossSpec("custom", reduction=reduction, per_sample=True, custom=self)
        return self._measured(self._lower(ops, index_target))

    def _measured(self, spec: LossSpec) -> LossSpec:
        """Return the loss without targets that are NaN, if these are left out."""
        if not self.ignores_missing:
            return spec
        from tinynet.backends.formulas import measured  # Few programs have gaps.

        return replace(spec, kind=measured(spec.kind))

    def with_missing(self, missing_targets: str) -> Loss:
        """Return the loss as it takes targets that are NaN: "error" refuses them, "ignore" leaves them out.

        Raises
        ------
        ValueError
            If it is neither, or the loss cannot leave anything out.
        """
        ignores = member("missing_targets", missing_targets, ("error", "ignore")) == "ignore"
        if ignores == self.ignores_missing:
            return self
        if self.is_custom or self.targets == "classes":
            why = "is written in Python" if self.is_custom else "takes rows as a whole"
            raise ValueError(
                f"missing_targets='ignore' expects a loss of each target by itself; {type(self).__name__} {why}. Leave "
                "such rows out: x[known], y[known] with known = ~np.isnan(y), or write it as tn.ElementwiseLoss."
            )
        other = copy(self)
        other.ignores_missing = ignores
        return other

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        return LossSpec(
            kind=self.kind,
            parameter=self.parameter,
            reduction=self.reduction,
            per_sample=self.per_sample,
            index_target=index_target,
        )

    def meaning(self, target: NDArray[Any], ops: tuple[Op, ...] = ()) -> Meaning:
        """Return what targets are to this loss, and what the outputs of a network tell of them.

        Parameters
        ----------
        target : array, as ``check_target`` returns it, in host memory
        ops : tuple of Op
            Of the network.
        """
        if self.targets in ("classes", "labels"):
            return Meaning(self.targets, "logits" if self.from_logits else "probabilities")
        found = of_numbers(target, ops)
        unknown = self.targets is None and found == Meaning("labels", "values")
        return Meaning("labels", "unknown") if unknown else found

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return targets as the kernel wants them, (n_samples, n_out) of ``dtype``, or say what is wrong with them."""
        return as_numbers(y, n_out, dtype, type(self).__name__, missing=self.ignores_missing)

    def taught_target(self, target: Array, n_out: int, dtype: str) -> Array:
        """Return what the kernel is given of targets that ``check_target`` has returned: by default themselves.

        Metrics and class weights see the targets as they were.
        """
        return target

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
        if self.is_custom and type(self).backward is Loss.backward:
            raise NotImplementedError(
                f"{type(self).__name__} expects a backward(prediction, target) beside its forward: the gradient of "
                "what that returns, with respect to prediction."
            )
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
        checked = self.taught_target(checked, array.shape[1], dtype)
        spec = self._measured(self._lower(self._alone(array.shape[1]), checked.ndim == 1))
        if spec.kind == "custom":
            raise NotImplementedError(f"{type(self).__name__} expects a forward(prediction, target) of its own.")
        gradient = backend.empty(array.shape, dtype)
        arrays = array, backend.asarray(checked), None if weight is None else backend.asarray(weight), gradient
        with backend.active():
            value = backend.kernels.loss_forward_backward(spec.kind, *arrays, spec.scale(*array.shape), spec.parameter)
        return value, gradient

    def _alone(self, n_out: int) -> tuple[Op, ...]:
        """Return what ops ``_lower`` is given where there is no network: none, unless it must know the outputs."""
        return ()

    def select(self, members: int | Sequence[int]) -> Loss:
        """Return the loss of one model of an ensemble, or of some: itself, where all models have the same numbers.

        Examples
        --------
        >>> import tinynet as tn
        >>> tn.Huber([0.1, 0.2, 0.3]).select(1), tn.Huber([0.1, 0.2, 0.3]).select([2, 0])
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
