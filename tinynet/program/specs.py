"""A loss and an optimizer as plain frozen data."""

from __future__ import annotations

from typing import Any, Literal

from tinynet.base.frozen import dataclass
from tinynet.program.ops import Setting


@dataclass(frozen=True)
class LossSpec:
    """A loss, lowered.

    ``kind`` names the kernel, or is ``"custom"`` and ``custom`` holds the user's object. ``on_logits`` says that the
    kernel reads the input of the network's last activation, which training therefore leaves out: sigmoid or softmax
    and the logarithm after it are computed as one stable formula.

    Attributes
    ----------
    factor : float
        Multiplies the loss.
    report : float
        Multiplies the value that is reported, and not its gradient.
    l2 : float
        ``l2 / 2`` times the sum of the squares of all weights of linear layers, biases left out, is added to the sum
        over a batch while training; with reduction "mean" it is divided like the rest.
    by_weight : bool
        Whether a mean divides by the sum of the sample weights of a batch, not by their number.
    slopes : LossSpec or None
        The loss of the derivatives of the outputs by the inputs, which is added to that of the outputs. A target then
        has ``n_out`` values and, for each input, ``n_out`` derivatives.
    """

    kind: str
    parameter: Setting = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    per_sample: bool = False
    index_target: bool = False
    on_logits: bool = False
    custom: Any = None
    factor: float = 1.0
    report: float = 1.0
    l2: float = 0.0
    by_weight: bool = False
    slopes: LossSpec | None = None

    def scale(self, mass: float, n_out: int) -> float:
        """Return the factor between the sum over the elements of a batch and its loss.

        ``mass`` is what a mean divides by: the number of samples, or the sum of their weights.
        """
        if self.reduction == "sum":
            return self.factor
        return self.factor / (mass if self.per_sample else mass * n_out)


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer, lowered: its kernel, and its numeric settings in the kernel's order.

    For many models, ``n_moments`` is what any of them needs; a model that needs less leaves the rest alone.

    Attributes
    ----------
    decays : tuple of float
        Weight decay of each parameter of the program, in the order of the flat vector, where not all have the same; the
        setting of that name is then 0. It acts where the setting would: after clipping, and before the step.
    """

    kind: str
    settings: tuple[tuple[str, Setting], ...] = ()
    n_moments: int = 0
    clip_norm: Setting | None = None
    clip_value: Setting | None = None
    decays: tuple[float, ...] = ()

    @property
    def decoupled(self) -> bool:
        """Whether weight decay shrinks the parameters, and is not added to the gradient."""
        return self.kind == "adamw"
