"""What the models of an ensemble predict, each and together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Members, State
from tinynet.models.network import Network
from tinynet.training.metrics import Meter

PREDICT_BYTES = 1 << 26
"""Most memory for the predictions of all models that metrics, ``mean``, ``std`` and ``quantile`` hold at a time."""


class Predictions(Network):
    """Many models of one network, and their outputs."""

    def __len__(self) -> int:
        assert self.program.n_models is not None
        return self.program.n_models

    def vectors(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that belongs to the models but what the optimizer remembers, in host memory."""

        def copied(state: State) -> dict[str, NDArray[Any]]:
            parameters, buffers = self._host_copies(state)
            counters = {"draws": np.copy(state.draws), "dropout_seed": np.copy(state.dropout_seed)}
            return {"parameters": parameters, "buffers": buffers} | counters

        return self.at_one_moment(copied)

    def predict(self, x: Any) -> NDArray[Any]:
        """Return the output of each model; dropout is off.

        Parameters
        ----------
        x : (n_samples, n_in) array-like

        Returns
        -------
        y : (n_models, n_samples, n_out) array
        """
        samples = self._samples(x)
        return self.at_one_moment(lambda state: self._output(state, samples))

    __call__ = predict

    def mean(self, x: Any) -> NDArray[Any]:
        """Return the mean of the models' outputs, (n_samples, n_out)."""
        return self._reduce(x, lambda y: y.mean(axis=0, dtype=np.float64))

    def std(self, x: Any, ddof: int = 0) -> NDArray[Any]:
        """Return the standard deviation of the models' outputs, (n_samples, n_out)."""
        return self._reduce(x, lambda y: y.std(axis=0, ddof=ddof, dtype=np.float64))

    def quantile(self, x: Any, q: Any) -> NDArray[Any]:
        """Return quantiles of the models' outputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        q : float or sequence of float
            In [0, 1].

        Returns
        -------
        y : (n_samples, n_out) array, or (n_q, n_samples, n_out) for a sequence

        Raises
        ------
        ValueError
            If a quantile is outside of [0, 1].
        """
        if not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
            raise ValueError(f"q must be within [0, 1]; got {q!r}. The median is 0.5.")
        return self._reduce(x, lambda y: np.quantile(y, q, axis=0), axis=np.ndim(q))

    def _reduce(self, x: Any, function: Callable[[NDArray[Any]], Any], axis: int = 0) -> NDArray[Any]:
        """Apply a function over the models to a range of samples at a time."""
        samples = self._samples(x)
        rows = max(1, PREDICT_BYTES // (8 * len(self) * self.program.n_out))

        def reduced(state: State) -> NDArray[Any]:
            parts = [function(self._output(state, samples[i : i + rows])) for i in range(0, len(samples), rows)]
            result: NDArray[Any] = np.concatenate(parts, axis=axis).astype(self.dtype)
            return result

        return self.at_one_moment(reduced)

    def _output(
        self, state: State, samples: Any, members: Members | None = None, standardised: bool = False
    ) -> NDArray[Any]:
        n_models = len(self) if members is None else len(members)
        (samples,) = self.backend.hold(x=samples)
        # Where the state and the samples lie: if one is too large for a device, the outputs may be, too.
        here = any(isinstance(array, np.ndarray) for array in (state.parameters, samples))
        empty = np.empty if here else self.backend.empty
        out = empty((n_models, len(samples), self.program.n_out), self.dtype)
        self._plan(replace(self.program, standardised=standardised)).predict(state, samples, out, members)
        return self.backend.to_numpy(out)

    def measure(self, meter: Meter, members: Members, state: State) -> dict[str, NDArray[np.float64]]:
        """Return metrics over a set, (n_models,) arrays by name; NaN for models that are not among ``members``."""
        figures = {name: np.full(len(self), np.nan) for name in meter.measures}
        x, standardised = meter.data.x, meter.data.standardised
        size = max(1, PREDICT_BYTES // (8 * len(x) * self.program.n_out))
        for start in range(0, len(members) if figures else 0, size):
            some = members[start : start + size]
            for i, prediction in zip(some, self._output(state, x, some, standardised), strict=True):
                for name, value in meter(prediction, i).items():
                    figures[name][i] = value
        return figures
