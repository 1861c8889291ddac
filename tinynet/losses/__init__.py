"""Losses: what is minimised, and which targets it takes."""

from __future__ import annotations

from collections.abc import Callable

from tinynet.losses.blocks import CategoricalFocal, GaussianNLL, Quantile
from tinynet.losses.elementwise import ElementwiseLoss
from tinynet.losses.entropies import BinaryCrossEntropy, CrossEntropy
from tinynet.losses.given import BinaryFocal, LogCosh
from tinynet.losses.loss import Loss, Reduction
from tinynet.losses.meaning import Meaning
from tinynet.losses.numbers import Huber, MeanAbsoluteError, MeanSquaredError, PoissonLoss
from tinynet.losses.sobolev import Sobolev
from tinynet.losses.table import CLASSES, LOSSES, get_loss
from tinynet.losses.targets import as_weights

__all__ = [
    "LOSSES",
    "LOSS_CLASSES",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalFocal",
    "CrossEntropy",
    "ElementwiseLoss",
    "GaussianNLL",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Meaning",
    "PoissonLoss",
    "Quantile",
    "Reduction",
    "Sobolev",
    "as_weights",
    "get_loss",
]

LOSS_CLASSES: dict[str, Callable[..., Loss]] = {**CLASSES, Sobolev.__name__: Sobolev}
"""Every loss of the library by the name of its class: what a model file may contain."""
