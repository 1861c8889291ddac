"""Logs: the figures of an epoch, of one model numbers, of an ensemble (n_models,) arrays; as numbers and as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.statistics import spread
from tinynet.base.text import figure

Logs = dict[str, Any]
"""Figures by name: a float of one model; of an ensemble a (n_models,) array, NaN for models that have stopped."""

Values = NDArray[np.float64]

LISTED = 32
"""Most models whose figures are written one by one: from here on nobody reads, or draws, each of them."""


def as_numbers(logs: Logs) -> dict[str, float]:
    """Return figures as one number a name, as tables and experiment trackers take them.

    A figure of up to ``LISTED`` models becomes "loss/0", "loss/1" and so on; of more models "loss/min", "loss/median"
    and "loss/max", over those that are still trained. What a model that has stopped would have is NaN.

    Examples
    --------
    >>> as_numbers({"loss": np.array([0.5, np.nan]), "epochs": 3.0})
    {'loss/0': 0.5, 'loss/1': nan, 'epochs': 3.0}
    >>> as_numbers({"loss": np.arange(1001.0)})
    {'loss/min': 0.0, 'loss/median': 500.0, 'loss/max': 1000.0}
    """
    numbers: dict[str, float] = {}
    for name, value in logs.items():
        if np.ndim(value) == 0:
            numbers[name] = float(value)
        elif len(value) <= LISTED:
            numbers |= {f"{name}/{i}": own for i, own in enumerate(value.tolist())}
        else:
            low, middle, high = spread(value)
            numbers |= {f"{name}/min": float(low), f"{name}/median": float(middle), f"{name}/max": float(high)}
    return numbers


def as_finite_numbers(logs: Logs) -> dict[str, float]:
    """Return figures as numbers, without those of models among many that have stopped or are about to diverge."""
    of_many = tuple(f"{name}/" for name, value in logs.items() if np.ndim(value))
    return {name: v for name, v in as_numbers(logs).items() if np.isfinite(v) or not name.startswith(of_many)}


def as_text(logs: Logs) -> str:
    """Return figures as a line of progress; of many models how many go on, and the lowest, the middle and the highest.

    Examples
    --------
    >>> as_text({"loss": 0.25, "learning_rate": 0.01})
    'loss 0.25  learning_rate 0.01'
    >>> as_text({"loss": np.array([0.5, np.nan, 0.25]), "learning_rate": np.full(3, 0.01)})
    '2 models  loss 0.25 / 0.375 / 0.5  learning_rate 0.01'
    """
    parts = [f"{np.isfinite(value).sum()} models" for name, value in logs.items() if name == "loss" and np.ndim(value)]
    for name, value in logs.items():
        shown = [value] if np.ndim(value) == 0 else dict.fromkeys(float(v) for v in spread(value))
        parts.append(f"{name} " + " / ".join(map(figure, shown)))
    return "  ".join(parts)
