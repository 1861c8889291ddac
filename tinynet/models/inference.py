"""Inference: what a model gives for data, and how well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tinynet.backends.base import Array, Plan, State, on_backend
from tinynet.base.arrays import numpy_namespace
from tinynet.base.hints import hints_arguments
from tinynet.losses import Loss
from tinynet.models.network import Network
from tinynet.models.partitions import evaluated, is_partitioned, predicted

if TYPE_CHECKING:
    from tinynet.training.data import Data
    from tinynet.training.metrics import Metric
    from tinynet.training.report import Report


class Inference(Network):
    """One model that predicts, and that is evaluated."""

    clone: Callable[..., Any]
    _predict_plan: Plan | None = None
    _quick: Callable[[Any], Array | None] | None = None

    @on_backend
    @hints_arguments
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss | None = None,
        metrics: str | Metric | Iterable[str | Metric] = (),
        sample_weight: Any = None,
        missing_targets: str = "error",
    ) -> dict[str, float]:
        """Return the loss and metrics over data, by name; dropout is off.

        Parameters
        ----------
        x, y, sample_weight, missing_targets
            As for ``fit``. Of a Dask array or data frame ``x``, partitions are evaluated where they lie, and added up.
        loss : str or Loss, optional
            By default that of the last ``fit``.
        metrics : str, callable or list of them
            As for ``fit``; weighted by ``sample_weight``.

        Raises
        ------
        ValueError
            If no loss is given and the model was never trained, or a metric is not for such targets.
        """
        # Predictions need nothing of this: it is imported by those who compare.
        from tinynet.training.gaps import weighed_by_measured
        from tinynet.training.metrics import Meter, get_metrics

        chosen = self._loss_for(loss).with_missing(missing_targets)
        if is_partitioned(x):
            return evaluated(self, x, y, chosen, metrics, sample_weight)
        data = weighed_by_measured(self._data(chosen, x, y, sample_weight), chosen)
        program = self.program.taught(self._loss_spec(chosen, data.y))
        meter = Meter(get_metrics(metrics), data, chosen, self.program)
        plan = self._plan(program, "epoch", data.streamed)

        def measured(state: State) -> tuple[float, NDArray[Any] | None]:
            value = plan.evaluate(state, data.x, data.y, data.weight)
            return value, self.predict_on_host(data.x, state) if meter.measures else None

        value, prediction = self.at_one_moment(measured)
        return {"loss": value} | ({} if prediction is None else meter(prediction))

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
        """Return how good predictions are, as a table for people; Jupyter shows it, and ``report.plot()`` draws it.

        Parameters
        ----------
        x, y, loss, sample_weight, missing_targets
            As for ``evaluate``.
        task : {"auto", "classification", "regression"}
            What targets are; by default the loss tells, and 0 and 1 throughout are classes.
        names : sequence of str, optional
            Of the classes, or of the targets; by default those in the metadata, else their numbers.
        worst : int
            How many of the worst predictions are listed, of numbers.
        row_names : iterable, optional
            What the samples are called there; by default their numbers from 0.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(1, 1), backend="numpy")
        >>> net.set_weights([[[2.0]], [0.0]])
        >>> print(net.report([[1.0], [2.0]], [[2.0], [5.0]], loss="mae"))
        rows              2
        loss              0.5
        rmse              0.707107
        mae               0.5
        r2                0.777778
        <BLANKLINE>
        worst:
        row  target  true  predicted  error
          1  0          5          4     -1
          0  0          2          2      0
        """
        from tinynet.training.gaps import weighed_by_measured
        from tinynet.training.metrics.comparison import Comparison, Truth
        from tinynet.training.report import report_on

        about: dict[str, Any] = {"task": task, "names": names, "worst": worst, "row_names": row_names}
        chosen = self._loss_for(loss).with_missing(missing_targets)
        data = weighed_by_measured(self._data(chosen, x, y, sample_weight), chosen)
        program = self.program.taught(self._loss_spec(chosen, data.y))
        plan = self._plan(program, "epoch", data.streamed)
        value, outputs = self.at_one_moment(
            lambda state: (
                plan.evaluate(state, data.x, data.y, data.weight),
                self.predict_on_host(data.x, state),
            )
        )
        target = data.y_host
        truth = Truth(target, chosen.meaning(target, self.program.ops), program.n_out)
        return report_on(Comparison(truth, outputs, data.sample_weight_host), value, self.metadata, **about)

    def predict(self, x: Any) -> Array:
        """Return the output for ``x``; dropout is off.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
            Also a Dask array or data frame, of any size.

        Returns
        -------
        y : (n_samples, n_out) array
            In the model's dtype; CuPy's if ``x`` lies on a GPU, Dask's, with nothing computed yet and by the weights of
            now, if ``x`` is Dask's, else NumPy's.
        """
        # No lock, which would cost a tenth of a small prediction: see Guard.
        guard = self.guard
        version = guard.version
        if version % 2 == 0:
            out = (self._quick or self._make_quick())(x)
            if out is not None and guard.version == version:
                return out
        return self._predict(x)

    @on_backend
    def _predict(self, x: Any) -> Array:
        """Return the output for whatever must be converted, or refused."""
        if is_partitioned(x):
            return predicted(self, x)
        samples = self._samples(x)
        return self.at_one_moment(lambda state: self._output(state, samples))

    __call__ = predict

    def _make_quick(self) -> Callable[[Any], Array | None]:
        """Return the short way for samples that need no conversion; it gives None for all others."""
        self._require_adapted()
        self._quick = self._predictor().predictor(self.state)
        return self._quick

    def _predictor(self) -> Plan:
        if self._predict_plan is None:
            self._predict_plan = self._plan(self.program, "epoch")
        return self._predict_plan

    def predict_on_host(self, x: Array, state: State | None = None, *, standardised: bool = False) -> NDArray[Any]:
        """Return the output, in host memory, for checked samples; by default in the state that the model is in."""
        if state is None:
            return self.at_one_moment(lambda state: self.predict_on_host(x, state, standardised=standardised))
        return self.backend.to_numpy(self._output(state, x, standardised))

    def _output(self, state: State, samples: Array, standardised: bool = False) -> Array:
        out = numpy_namespace(samples).empty((len(samples), self.program.n_out), self.dtype)
        plan = self._plan(replace(self.program, standardised=True)) if standardised else self._predictor()
        plan.predict(state, samples, out)
        return out

    def _data(self, loss: Loss, x: Any, y: Any, sample_weight: Any = None) -> Data:
        """Return checked data where the backend reads them."""
        from tinynet.training.data import checked_data

        parts = (self._samples(x), y, loss, self.program.n_out, self.dtype, self.backend, sample_weight)
        return checked_data(*parts, columns=self._columns(loss))
