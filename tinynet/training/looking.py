"""Looking: what a trainer sees of its model after each epoch, also of those that run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array
from tinynet.training.callbacks import Callback
from tinynet.training.data import Data
from tinynet.training.metrics import Measure, Meter, figures_of
from tinynet.training.monitors import EarlyStopping
from tinynet.training.retracing import Retracing


class Looking(Retracing):
    """What a trainer measures, and keeps for callbacks that are told of an epoch when the call with it is over."""

    callbacks: Sequence[Callback]
    metrics: dict[str, Measure]
    validation: Data | None
    meter: Meter
    val_meter: Meter | None
    _kept: Array = None
    """The parameters after each epoch of a call, (n_epochs, n_parameters); None where nobody asks."""
    _told = 0
    """Which epoch of a call callbacks are told of."""

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""
        return figures_of(self.metrics, self.validation is not None)

    @property
    def _looks(self) -> bool:
        """Whether the model is looked at after each epoch."""
        return bool(self.metrics) or self.validation is not None or self._bytes_kept > 0

    def _measured(self) -> dict[str, float]:
        """Return the figures of the model as it is, but for the loss that it was trained on."""
        figures = self._figures(self.meter, "", loss=False)
        return figures if self.val_meter is None else figures | self._figures(self.val_meter, "val_", loss=True)

    def _figures(self, meter: Meter, prefix: str, *, loss: bool) -> dict[str, float]:
        """Return the loss and the metrics of a set."""
        figures, data = {}, meter.data
        if loss:
            figures[prefix + "loss"] = self.plan.evaluate(self.model.state, data.x, data.y, data.weight)
        if self.metrics:
            measured = meter(meter.predicted(self.model))
            figures |= {prefix + name: value for name, value in measured.items()}
        return figures

    # -- parameters --------------------------------------------------------------------------------------------------

    @property
    def _bytes_kept(self) -> int:
        """How much is to be kept of each epoch."""
        asks = any(isinstance(callback, EarlyStopping) and callback.asks_later for callback in self.callbacks)
        return int(self.model.state.parameters.nbytes) if asks else 0

    def _make_room(self, n_epochs: int) -> None:
        """Make room for the parameters of so many epochs; after a single one the model has them itself."""
        parameters = self.model.state.parameters
        several = n_epochs > 1 and self._bytes_kept > 0
        self._kept = self.model.backend.empty((n_epochs, parameters.size), parameters.dtype) if several else None

    def _keep(self, epoch: int) -> None:
        """Keep the parameters as they are, after an epoch of a call."""
        if self._kept is not None:
            self._kept[epoch] = self.model.state.parameters

    def parameters_then(self) -> NDArray[Any]:
        """Return a copy of the parameters after the epoch that callbacks are told of, in host memory."""
        if self._kept is None:
            return self.model.flat_parameters()
        return np.array(self.model.backend.to_numpy(self._kept[self._told]))
