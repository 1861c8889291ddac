"""Optimizers from options: which settings each takes, and how its learning rate falls."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from tinynet.optimizers import OPTIMIZERS, Optimizer
from tinynet.schedules import CosineDecay

OPTIMIZER_SETTINGS = ("learning_rate", "weight_decay", "momentum", "clip_norm")
"""Options that are settings of an optimizer."""


def optimizer_of(name: str, args: argparse.Namespace) -> Callable[..., Optimizer]:
    """Return what makes an optimizer from its settings; its learning rate falls as ``--schedule`` says.

    By default it falls to zero, as a constant one leaves the loss bouncing.
    """
    made = OPTIMIZERS[name]
    schedule = None if made.takes_all_samples else args.schedule or "cosine"

    def make(**settings: Any) -> Optimizer:
        optimizer = made(**settings)
        if schedule == "cosine":
            optimizer.learning_rate = CosineDecay(optimizer.learning_rate, args.epochs)  # type: ignore[arg-type]
        return optimizer

    # A sweep asks for the names that it takes, and shows it by its own.
    make.__signature__ = inspect.signature(made)  # type: ignore[attr-defined]
    make.__name__ = make.__qualname__ = name
    return make


def takes_all_samples(optimizers: Iterable[str]) -> bool:
    """Whether any of the optimizers takes all samples in each step, without a learning rate."""
    return any(OPTIMIZERS[name].takes_all_samples for name in optimizers)


def suitable(defaults: dict[str, Any], optimizers: Iterable[str]) -> dict[str, Any]:
    """Return the defaults of options that mean something to all of the optimizers."""
    means_nothing = ("batch_size", "learning_rate") if takes_all_samples(optimizers) else ()
    return {name: value for name, value in defaults.items() if name not in means_nothing}


def check_settings(names: Iterable[str], optimizers: Iterable[str]) -> None:
    """Raise ValueError for a setting that one of the optimizers does not take, ``schedule`` and ``batch_size`` too."""
    optimizers = list(optimizers)
    for name in names:
        if name in ("schedule", "batch_size"):
            if takes_all_samples(optimizers):
                raise ValueError(
                    f"--{name.replace('_', '-')} expects an optimizer that takes batches; got {', '.join(optimizers)}: "
                    "lm, br and lbfgs take all rows in each step and have no learning rate. Leave the option out."
                )
            continue
        takers = [taker for taker in OPTIMIZERS if name in inspect.signature(OPTIMIZERS[taker]).parameters]
        for optimizer in optimizers:
            if optimizer not in takers:
                raise ValueError(
                    f"--{name.replace('_', '-')} expects --optimizer {' or '.join(sorted(takers))}; got {optimizer}. "
                    "Take another optimizer, or leave the option out."
                )
