"""What holds where options are not given: for data, for the sine problem, and for the notebook's own network."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tinynet.cli.problem import Problem

DATA: dict[str, Any] = {
    "layers": (64, 64),
    "activation": "relu",
    "optimizer": "adam",
    "batch_size": 32,
    "dtype": "float32",
}

SINE: dict[str, Any] = {
    "layers": (64, 64, 64),
    "activation": "silu",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "epochs": 150,
    "batch_size": 32,
    "dtype": "float32",
    "early_stopping": 0,
}
"""Without data: a network that learns the notebook's three sines, to show that it can."""

NOTEBOOK: dict[str, Any] = {
    "layers": (5,),
    "activation": "sigmoid",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "epochs": 400,
    "batch_size": 10,
    "dtype": "float64",
    "validation": 0.0,
}
"""With --notebook: its network, whose outputs lie in (0, 1) and cannot meet sines."""

MIN_EPOCHS, MIN_UPDATES, WAITS = 100, 2000, 5
"""Where nothing is given: epochs until both are reached, as few rows make few updates in an epoch; a part of them,
one in so many, is waited for progress on the rows that are held out."""

PATIENCE = 20
"""Steps that an optimizer of all rows makes without such progress."""

MOST_STEPS = 500
"""Of an optimizer that takes all rows in each of them, and most often stops before."""


def defaults_for(args: argparse.Namespace) -> dict[str, Any]:
    """Return the defaults of options that do not depend on the data.

    Raises
    ------
    ValueError
        If there are data, and the notebook's are asked for.
    """
    if not args.notebook:
        return DATA if args.data is not None else SINE
    if args.data is not None:
        raise ValueError(
            f"--notebook expects no data, as it is a problem of its own; got {args.data!r}. Leave one out."
        )
    return NOTEBOOK


def fill_in(args: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Put defaults where nothing is given."""
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def lengths(batch_size: int | None, problem: Problem) -> dict[str, int]:
    """Return how long to train, and to wait for progress, where nothing is given.

    Without batches, that is how many steps of an optimizer that takes all rows in each.
    """
    if batch_size is None:
        epochs, patience = MOST_STEPS, PATIENCE
    else:
        n_updates = math.ceil(len(problem.train[0]) / batch_size)
        epochs = max(MIN_EPOCHS, math.ceil(MIN_UPDATES / n_updates))
        patience = epochs // WAITS
    # To stop where a test set is best would make the figures on it too good.
    return {"epochs": epochs, "early_stopping": patience if "validation" in problem.held else 0}
