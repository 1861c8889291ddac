"""Predictions, and losses without training, in one launch."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.fused.build import kernel
from tinynet_kernels.cuda.fused.prelude import Prelude, numbers_of, prelude
from tinynet_kernels.cuda.fused.shapes import Limits, predicting_shape
from tinynet_kernels.cuda.fused.training import total_to_value
from tinynet_kernels.cuda.grids import parts
from tinynet_kernels.network import Network

KERNELS = ("predict", "evaluate")
"""Asked for together: the compiler makes both of them in any case, since neither is a template."""


class Prediction:
    """Predictions of one model, or of up to 65,535, in one launch; and losses without training.

    Parameters
    ----------
    network : Network
        Without dropout.
    n_models : int
    limits : Limits
    """

    def __init__(self, network: Network, n_models: int, limits: Limits) -> None:
        shape = predicting_shape(network, limits)
        if shape is None:
            raise ValueError(
                f"a network must fit into {limits.shared_bytes} bytes of shared memory; this one does not."
            )
        self.network, self.n_models, self.shape = network, n_models, shape
        self.prelude: Prelude = prelude(network, shape)
        self._numbers = np.array(numbers_of(network, n_models))
        self._chosen: tuple[Any, DeviceArray, DeviceArray] | None = None

    def predict(self, parameters: DeviceArray, held: DeviceArray, x: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write ([n_models,] n_samples, n_out) predictions, of all models whose parameters are given.

        Return (1,) int32: not 0 if x is not finite.
        """
        not_finite = cupy.zeros(1, np.int32)
        function = kernel("predict.cu", "predict", self.prelude, KERNELS, dynamic=True)
        if out.ndim == 2:
            parameters, held, out = parameters[np.newaxis], held[np.newaxis], out[np.newaxis]
        for part in parts(len(out)):
            arguments = (parameters[part], held[part], x, out[part], not_finite, np.int64(len(x)))
            self._launch(function, len(x), part, arguments)
        return not_finite

    def evaluate(
        self,
        parameters: DeviceArray,
        held: DeviceArray,
        x: DeviceArray,
        t: DeviceArray,
        weight: DeviceArray | None,
        members: NDArray[np.int64],
        models: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the loss of each of some models; waits for the device.

        ``members`` count those whose parameters are given; ``models`` are the numbers of these among all.
        """
        sums = cupy.empty((len(members), self._n_tiles(len(x))), np.float64)
        not_finite = cupy.zeros(1, np.int32)
        own = np.int32(weight is not None and weight.ndim == 2)
        function = kernel("predict.cu", "evaluate", self.prelude, KERNELS, dynamic=True)
        weight = x if weight is None else weight  # CuPy before 14 passes no null pointer; it is not read.
        kept = self._models(members, models)
        _, chosen, numbers = kept
        whole = (parameters, held, x, t, weight, own, numbers)
        for part in parts(len(members)):
            arguments = (*whole, chosen[part], sums[part], not_finite, np.int64(len(x)))
            self._launch(function, len(x), part, arguments)
        totals = np.array([math.fsum(row) for row in sums.get()])
        self._chosen = kept  # Only now: the device has been waited for, so that they are there for every stream.
        return total_to_value(totals, self.network.loss, len(x))

    def _models(
        self, members: NDArray[np.int64], models: NDArray[np.int64] | None
    ) -> tuple[Any, DeviceArray, DeviceArray]:
        """Return which models are meant, on the device, and their numbers: those of the last call, or others."""
        wanted, kept = (members.tobytes(), None if models is None else models.tobytes()), self._chosen
        if kept is not None and kept[0] == wanted:
            return kept
        numbers = self._numbers if models is None else self._numbers[models]
        return wanted, cupy.asarray(members), cupy.asarray(numbers)

    def _n_tiles(self, n_samples: int) -> int:
        return -(-n_samples // self.shape.rows)

    def _launch(self, function: Any, n_samples: int, models: slice, arguments: tuple[Any, ...]) -> None:
        grid, block = (self._n_tiles(n_samples), models.stop - models.start), (self.shape.threads,)
        function(grid, block, arguments, shared_mem=self.prelude.shared_bytes)
