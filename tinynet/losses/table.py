"""Losses of predictions by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet.base.checks import member
from tinynet.losses.blocks import CategoricalFocal, GaussianNLL, Quantile
from tinynet.losses.elementwise import ElementwiseLoss
from tinynet.losses.entropies import BinaryCrossEntropy, CrossEntropy
from tinynet.losses.given import BinaryFocal, LogCosh
from tinynet.losses.loss import Loss
from tinynet.losses.numbers import Huber, MeanAbsoluteError, MeanSquaredError, PoissonLoss

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
    "gaussian_nll": GaussianNLL,
    "focal": BinaryFocal,
    "categorical_focal": CategoricalFocal,
}

CLASSES: dict[str, Callable[..., Loss]] = {
    cls.__name__: cls for cls in (*LOSSES.values(), ElementwiseLoss) if isinstance(cls, type)
}
"""The losses of predictions by the name of their class."""


def get_loss(spec: str | type[Loss] | Loss, **config: Any) -> Loss:
    """Return the loss that a name or a class stands for, or the loss itself.

    Examples
    --------
    >>> get_loss("huber", delta=2.0)
    Huber(delta=2.0, reduction='mean')
    """
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, type) and issubclass(spec, Loss):
        return spec(**config)
    if callable(spec):
        raise TypeError(
            f"loss must be a name or a Loss; got {getattr(spec, '__name__', spec)}. The loss of one output and "
            "its target, as a formula, becomes one by tn.ElementwiseLoss(lambda p, t: ...); any other by a subclass of "
            "tn.Loss."
        )
    return LOSSES[member("loss", spec, LOSSES)](**config)
