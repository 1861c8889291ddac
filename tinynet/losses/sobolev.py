"""Sobolev: a loss of the outputs of a network and of their derivatives by its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.base.arrays import as_real_array_anywhere, as_samples, numpy_namespace
from tinynet.base.checks import number
from tinynet.base.gaps import with_gaps
from tinynet.losses.loss import Loss
from tinynet.losses.meaning import Meaning
from tinynet.losses.table import CLASSES, get_loss
from tinynet.losses.targets import as_numbers
from tinynet.program import ActivationOp, CustomOp, DenormalizeOp, DropoutOp, LinearOp, LossSpec, NormalizeOp, Op

KNOWN = (LinearOp, ActivationOp, DropoutOp, NormalizeOp, DenormalizeOp)
"""The ops that a loss of slopes goes through."""

_NAMES = ("Linear", "activations", "Dropout", "Normalize")


class Sobolev(Loss):
    """A loss of the values plus ``weight`` times a loss of the slopes (Czarnecki et al. 2017, equation 1).

    For functions whose derivatives by the inputs are known, such as simulations with adjoints: ``net.fit(x, (y, dy),
    loss=tn.Sobolev())``. ``dy`` is (n_samples, n_outputs, n_inputs), in the units of ``y`` and ``x``, as
    ``net.jacobian(x)`` is; of one output also (n_samples, n_inputs). Where the network begins with ``Normalize``, or
    ends in ``Denormalize``, the loss is that of standardised slopes, of one size whatever the units are. Metrics are of
    the values. "mean" divides the loss of the slopes by their number. Slopes that are not known are NaN, with
    ``missing_targets="ignore"``: they count as hit, and are numbered among the others. Where values are missing, the
    sum of both losses has the factor ``n_values / n_measured``, so that all keep their parts in it.

    Parameters
    ----------
    value, slope : str or Loss
        "mse", "mae", "huber", "log_cosh", "quantile", or a loss that is a formula.
    weight : float

    Raises
    ------
    ValueError
        If one of the losses is not for numbers, or is written in Python, or their reductions differ.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(2, 1, weight_init=3.0), dtype="float64")
    >>> net.evaluate([[1.0, 1.0]], ([6.0], [[3.0, 1.0]]), loss=Sobolev(weight=0.5))  # (2**2 + 0**2) / 2 of the slopes
    {'loss': 1.0}
    """

    takes_slopes = True

    def __init__(
        self,
        value: str | Loss | Mapping[str, Any] = "mse",
        slope: str | Loss | Mapping[str, Any] = "mse",
        weight: float = 1.0,
    ) -> None:
        self.value, self.slope = (_of_numbers(name, loss) for name, loss in (("value", value), ("slope", slope)))
        if self.value.reduction != self.slope.reduction:
            raise ValueError(
                f"Sobolev expects value and slope of one reduction; got {self.value.reduction!r} and "
                f"{self.slope.reduction!r}. Give both the same."
            )
        super().__init__(self.value.reduction)
        self.weight = number("weight", weight, at_least=0.0)
        self.targets = self.value.targets

    @property
    def is_custom(self) -> bool:
        """Whether the loss is written in Python by the user: no."""
        return False

    def _lower(self, ops: tuple[Op, ...], index_target: bool) -> LossSpec:
        for i, op in enumerate(ops):
            if not isinstance(op, KNOWN):
                name = type(op.layer).__name__ if isinstance(op, CustomOp) else type(op).__name__.removesuffix("Op")
                raise ValueError(
                    f"Sobolev expects layers that tinynet derives twice ({', '.join(_NAMES)}); layer {i} is {name}. "
                    "Write an activation of your own as a formula: tn.Activation."
                )
        slopes = self.slope.lower(ops)
        return replace(self.value.lower(ops), slopes=replace(slopes, factor=self.weight * slopes.factor))

    def _measured(self, spec: LossSpec) -> LossSpec:
        """Return the loss as it is: its parts have left out what they ignore."""
        return spec

    def with_missing(self, missing_targets: str) -> Loss:
        """Return the loss as it takes values and slopes that are NaN; see ``Loss.with_missing``."""
        other = Sobolev(self.value.with_missing(missing_targets), self.slope.with_missing(missing_targets), self.weight)
        other.ignores_missing = other.value.ignores_missing
        return other

    def meaning(self, target: NDArray[Any], ops: tuple[Op, ...] = ()) -> Meaning:
        """Return what the values are; see ``Loss.meaning``."""
        return self.value.meaning(target, ops)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Array:
        """Return ``(y, dy)`` as rows of ``n_out`` values and, for each input, ``n_out`` derivatives, of ``dtype``."""
        if not isinstance(y, tuple | list) or len(y) != 2:
            raise ValueError(
                f"Sobolev expects y as (y, dy), values and their derivatives by the inputs; got {type(y).__name__}. "
                "Pass both, or take a loss of values alone, for instance 'mse'."
            )
        values = as_numbers(y[0], n_out, dtype, "Sobolev", missing=self.ignores_missing)
        slopes = as_real_array_anywhere(y[1], "dy")
        if n_out == 1 and slopes.ndim == 2:
            slopes = slopes[:, None]
        n = len(values)
        if slopes.ndim != 3 or slopes.shape[:2] != (n, n_out):
            raise ValueError(
                f"dy must have shape ({n}, {n_out}, n_inputs), as net.jacobian(x) has; got {slopes.shape}. "
                "Give a derivative of each output by each input for every sample."
            )
        by_input = slopes.transpose(0, 2, 1).reshape(n, -1)
        by_input = (with_gaps if self.ignores_missing else as_samples)(by_input, "dy", by_input.shape[1], dtype)
        return numpy_namespace(values).concatenate([values, by_input], axis=1)

    def _compute(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[float, Array]:
        raise NotImplementedError(
            "Sobolev is a loss of a network, not of predictions alone: net.evaluate(x, (y, dy), loss=...) gives it."
        )

    def select(self, members: Any) -> Loss:
        """Return the loss of one model of an ensemble, or of some; see ``Loss.select``."""
        return Sobolev(self.value.select(members), self.slope.select(members), self.weight)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON can hold them."""
        pairs = (("value", self.value), ("slope", self.slope))
        parts = {name: {"kind": type(loss).__name__, "config": loss.config()} for name, loss in pairs}
        return {**parts, "weight": self.weight}

    def __repr__(self) -> str:
        return f"Sobolev(value={self.value!r}, slope={self.slope!r}, weight={self.weight!r})"


def _of_numbers(name: str, loss: Any) -> Loss:
    """Return a loss of numbers that is a formula, or say what is wrong with it; ``config`` describes one by a dict."""
    chosen = CLASSES[loss["kind"]](**loss["config"]) if isinstance(loss, Mapping) else get_loss(loss)
    if chosen.is_custom or chosen.takes_slopes or chosen.targets not in ("numbers", None):
        why = "is written in Python" if chosen.is_custom else "is not of numbers"
        raise ValueError(f"Sobolev expects as {name} a loss such as 'mse' or 'huber'; got {chosen!r}, which {why}.")
    if len(chosen.powers) > 1:
        raise ValueError(f"Sobolev expects as {name} a loss of one output for each target; got {chosen!r}.")
    if not chosen.takes_standardised:
        raise ValueError(f"Sobolev expects as {name} a loss that takes any numbers; got {chosen!r}, which does not.")
    return chosen
