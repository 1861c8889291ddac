"""What figures on rows that were held out mean, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.text import figure


def shown(figures: Mapping[str, float]) -> str:
    """Return figures as a line.

    Examples
    --------
    >>> shown({"loss": 0.25, "accuracy": 1.0, "r2": 0.99996})
    'loss 0.25, accuracy 1, r2 0.99996'
    """
    return ", ".join(f"{name} {figure(value, 4)}" for name, value in figures.items())


def meaning(figures: Mapping[str, float], y: NDArray[Any]) -> str:
    """Return what the figures say of a model, beside the least that anybody could do without one.

    Parameters
    ----------
    figures : dict of str to float
        As ``Notes.metrics`` names them.
    y : (n_samples,) class numbers, or (n_samples, n_targets) numbers

    Examples
    --------
    >>> meaning({"r2": 0.9871}, np.zeros((2, 1)))
    'the model explains 98.71% of how the targets vary in rows that it has not seen (R2: 1 is perfect)'
    >>> meaning({"accuracy": 0.9}, np.array([0, 0, 1, 0]))
    'the model is right in 90% of the rows; to say the most frequent class always is in 75%'
    """
    if "accuracy" in figures:
        most = np.unique(y, return_counts=True)[1].max() / len(y)
        said = f"the model is right in {_percent(figures['accuracy'])} of the rows"
        return f"{said}; to say the most frequent class always is in {_percent(most)}"
    if "r2" not in figures:
        return "one row has no spread that errors could be compared with; hold out more rows to know how good it is"
    if figures["r2"] <= 0:
        return "the model is no better than to predict the mean of the targets always (R2 is 0 for that, 1 is perfect)"
    share = _percent(figures["r2"])
    return f"the model explains {share} of how the targets vary in rows that it has not seen (R2: 1 is perfect)"


def _percent(share: float) -> str:
    """Return a share in percent, down to the next hundredth: 99.996 is not yet 100."""
    return f"{np.floor(share * 10000 + 1e-6) / 100:g}%"
