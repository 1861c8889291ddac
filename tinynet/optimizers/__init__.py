"""Optimizers: their settings, as plain data for the backends, which have the arithmetic.

They may use ``schedules``, ``program`` and ``base``.
"""

from __future__ import annotations

from typing import Any

from tinynet.base.checks import member
from tinynet.optimizers.first_order import SGD, Adam, AdamW, RMSprop
from tinynet.optimizers.optimizer import Optimizer
from tinynet.optimizers.second_order import LBFGS, BayesianRegularization, LevenbergMarquardt

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "BayesianRegularization",
    "LevenbergMarquardt",
    "Optimizer",
    "RMSprop",
    "get_optimizer",
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "levenberg_marquardt": LevenbergMarquardt,
    "bayesian_regularization": BayesianRegularization,
    "lbfgs": LBFGS,
    "lm": LevenbergMarquardt,
    "br": BayesianRegularization,
}
"""Every optimizer by name; the last two are short ones."""


def get_optimizer(spec: str | type[Optimizer] | Optimizer, **settings: Any) -> Optimizer:
    """Return the optimizer that a name or a class stands for, or the optimizer itself.

    Examples
    --------
    >>> get_optimizer("sgd", learning_rate=0.5).learning_rate
    0.5
    """
    if isinstance(spec, Optimizer):
        return spec
    if isinstance(spec, type) and issubclass(spec, Optimizer):
        return spec(**settings)
    return OPTIMIZERS[member("optimizer", spec, OPTIMIZERS)](**settings)
