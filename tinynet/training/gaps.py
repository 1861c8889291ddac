"""Gaps: targets that were not measured, so that a mean is over those that were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.losses import Loss
from tinynet.training.data import Data


def weighed_by_measured(data: Data, loss: Loss, team: Alone = ALONE) -> Data:
    """Return data whose weights let a mean over rows and targets divide by the targets that were measured.

    The loss of what is missing is 0. So the weights of all rows have the factor ``n_rows * n_targets / n_measured``: in
    an epoch each target that was measured counts the same, in whatever batch it is, whichever rank of a team has it.

    Raises
    ------
    ValueError
        If none was measured.
    """
    if not loss.ignores_missing:
        return data
    known = ~np.isnan(data.y_host)
    if not known.any():
        raise ValueError("y must have targets that were measured, in each part of the data; got a part with NaN alone.")
    size, measured = team.summed([known.size, int(np.count_nonzero(known))])
    if size == measured or loss.reduction == "sum":
        return data
    factor = size / measured
    given = np.ones(len(data)) if data.weight is None else data.backend.to_numpy(data.weight)
    weight = (factor * given).astype(data.dtype)
    return replace(data, weight=weight if data.streamed else data.backend.asarray(weight))
