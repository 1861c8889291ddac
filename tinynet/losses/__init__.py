"""Losses: what is minimised, and which targets it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.base.checks import member
from tinynet.losses.elementwise import ElementwiseLoss
from tinynet.losses.entropies import BinaryCrossEntropy, CrossEntropy
from tinynet.losses.given import BinaryFocal, LogCosh, Quantile
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import Meaning
from tinynet.losses.numbers import Huber, MeanAbsoluteError, MeanSquaredError, PoissonLoss
from tinynet.losses.targets import as_weights

__all__ = [
    "LOSSES",
    "LOSS_CLASSES",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CrossEntropy",
    "ElementwiseLoss",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Meaning",
    "PoissonLoss",
    "Quantile",
    "Reduction",
    "as_weights",
    "get_loss",
]

LOSSES: dict[str, Callable[..., Loss]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "binary_cross_entropy": BinaryCrossEntropy,
    "bce": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "poisson": PoissonLoss,
    "log_cosh": LogCosh,
    "quantile": Quantile,
    "focal": BinaryFocal,
}

LOSS_CLASSES: dict[str, Callable[..., Loss]] = {
    cls.__name__: cls for cls in (*LOSSES.values(), ElementwiseLoss) if isinstance(cls, type)
}
"""Every loss of the library by the name of its class: what a model file may contain."""


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
