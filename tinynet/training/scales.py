"""Scales: a word to those whose data are far from the size that networks learn."""

from __future__ import annotations

import numpy as np

from tinynet.backends.base import Array
from tinynet.base.errors import ScaleWarning
from tinynet.base.warned import warn_caller
from tinynet.losses import Loss
from tinynet.program import NormalizeOp, Program
from tinynet.training.data import Data

LARGE = 30.0
"""Means and standard deviations of columns beyond this are told of: networks begin with values of about 1."""

ROWS = 256
"""So many rows, at equal steps, tell the size of all: few, as a small fit takes 0.1 ms."""


def warn_of_scales(data: Data, loss: Loss, program: Program) -> None:
    """Warn of samples, and of targets that are numbers, which are far from size 1 and which no layer scales.

    Data on a device are not looked at: nothing of them travels.
    """
    found = []
    if not isinstance(program.ops[0], NormalizeOp):
        found += _told(data.x, "x", f"tn.Normalize({program.n_in}).adapt(x)", "first")
    if not program.scales_targets and loss.targets == "numbers" and loss.takes_standardised:
        of, powers = program.n_out // len(loss.powers), f", powers={loss.powers}" if len(loss.powers) > 1 else ""
        found += _told(data.y[:, : data.n_values], "y", f"tn.Denormalize({of}{powers}).adapt(y)", "last")
    if found:
        text = f"fit expects columns of about unit size; got {'; '.join(found)}."
        warn_caller(text, ScaleWarning)


def _told(array: Array, name: str, layer: str, place: str) -> list[str]:
    """Return what is to be said of data, if anything is."""
    if not isinstance(array, np.ndarray):
        return []
    rows = array[:: max(1, len(array) // ROWS)][:ROWS]
    # Neither is beyond the largest number, which is found more quickly.
    if rows.max() <= LARGE and rows.min() >= -LARGE:
        return []
    values = np.ma.masked_invalid(np.asarray(rows, np.float64))  # Targets may have gaps.
    if values.mask.all():
        return []
    mean, deviation = float(np.abs(values.mean(axis=0)).max()), float(values.std(axis=0).max())
    if max(mean, deviation) <= LARGE:
        return []
    size = f"means up to {mean:.3g} and standard deviations up to {deviation:.3g}"
    return [f"{name} with {size}, which {layer} as the {place} layer takes care of"]
