"""How good an ensemble is as a whole: the mean of what its models predict, beside the targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import on_backend
from tinynet.base.hints import hints_arguments
from tinynet.ensembles.predictions import Predictions
from tinynet.losses import Loss
from tinynet.training.data import Data
from tinynet.training.metrics.comparison import Comparison, Truth
from tinynet.training.report import Report, report_on


class Reporting(Predictions):
    """Models that predict, with what an ``Ensemble`` knows of data."""

    evaluate: Callable[..., dict[str, NDArray[np.float64]]]
    _data: Callable[..., Data]

    @on_backend
    @hints_arguments
    def report(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss | None = None,
        task: str = "auto",
        names: Sequence[str] | None = None,
        sample_weight: Any = None,
        missing_targets: str = "error",
        worst: int = 5,
        row_names: Iterable[Any] | None = None,
    ) -> Report:
        """Return how good the mean of the models' predictions is, as a table for people.

        Of numbers it is the mean of what the models expect, of classes that of their probabilities. "loss" is the mean
        of the models' losses.

        Parameters
        ----------
        x, y, loss, task, names, sample_weight, missing_targets, worst, row_names
            As for ``Sequential.report``.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(1, 1, weight_init=0.0), backend="numpy")
        >>> print(tn.Ensemble(net, 3).report([[1.0], [2.0]], [[0.0], [2.0]], loss="mae", worst=0))
        rows              2
        loss              1
        rmse              1.41421
        mae               1
        r2                -1
        """
        chosen = self._loss_for(loss).with_missing(missing_targets)
        data = self._data(chosen, x, y, sample_weight)
        given: dict[str, Any] = {"sample_weight": sample_weight, "missing_targets": missing_targets}
        value = float(self.evaluate(x, y, loss=chosen, **given)["loss"].mean())
        meaning = chosen.meaning(data.y_host, self.program.ops)
        outputs = self.at_one_moment(lambda state: self._output(state, data.x))
        mean = np.mean([meaning.expected(output) for output in outputs], axis=0)
        truth = Truth(data.y_host, meaning.of_expected, self.program.n_out)
        about: dict[str, Any] = {"task": task, "names": names, "worst": worst, "row_names": row_names}
        return report_on(Comparison(truth, mean, data.sample_weight_host), value, self.metadata, **about)
