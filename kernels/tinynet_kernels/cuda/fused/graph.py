"""Networks of middling size: a kernel for each product, many updates in one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.fused.build import kernel
from tinynet_kernels.cuda.fused.graphs import Repeated
from tinynet_kernels.cuda.fused.prelude import prelude
from tinynet_kernels.cuda.fused.sequence import Launch, update_of
from tinynet_kernels.cuda.fused.shapes import Limits, graph_shape
from tinynet_kernels.cuda.fused.training import GRAPH_UPDATES, Epochs, Training, Vectors, rates_of
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Network


class GraphTraining(Training):
    """A kernel for each product of an update, many updates in one CUDA graph."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        if n_models != 1:
            raise ValueError(f"the kernels of a graph train one model; got n_models={n_models}.")
        shape = graph_shape(network, batch)
        if shape is None:
            raise ValueError(
                "clipping by norm needs the whole gradient at once, which the kernels of a graph never have."
            )
        self.shape, self.prelude = shape, prelude(network, shape)
        self._launches = update_of(network, batch)
        self._n_parts = _parts(self._launches)
        dtype, rows = network.dtype, self.prelude.row_slots
        n_targets = 1 if LOSSES[network.loss.kind].index_target else network.layers[-1].n_out
        self._memory = cupy.empty(max(1, self.prelude.n_memory), dtype)
        self._batch_x = cupy.empty(rows * self.prelude.x_stride, dtype)
        self._batch_weight = cupy.empty(rows, dtype)
        self._batch_t = cupy.empty(rows * n_targets, np.int64 if LOSSES[network.loss.kind].index_target else dtype)
        self._part_losses = cupy.empty(self._n_parts, np.float64)
        self._number = cupy.zeros(1, np.int64)

    def _launcher(self, vectors: Vectors, epochs: Epochs, losses: DeviceArray) -> Callable[[Any, Any], None]:
        arrays, (_, n_visits, _, _, own_order, _) = self._arguments(vectors, epochs, losses)
        parameters, moments, held, x, t, weight, order, _, numbers, counters, _ = arrays
        rates = cupy.asarray(rates_of(self.network, epochs, self.batch, int(vectors.counters[0, 0])))
        self._number.fill(0)
        arguments = (
            *(parameters, moments, held, x, t, weight, order, numbers, counters, rates, losses),
            *(
                self._memory,
                self._batch_x,
                self._batch_weight,
                self._batch_t,
                self._part_losses,
                self._number,
                n_visits,
                np.int32(own_order >= 0),
            ),
        )
        names = tuple(dict.fromkeys([launch.name for launch in self._launches] + ["graph_finish"]))
        kernels = {name: kernel("graph.cu", name, self.prelude, names) for name in names}
        block = (self.shape.threads,)

        def updates(count: int) -> None:
            for _ in range(count):
                for name, grid in self._launches:
                    kernels[name](grid, block, arguments)
                kernels["graph_finish"]((1,), block, (*arguments, np.int32(self._n_parts)))

        repeat = Repeated(updates, GRAPH_UPDATES)
        return lambda first, last: repeat(int(last - first))


def _parts(launches: list[Launch]) -> int:
    """Return how many parts the loss is made of: blocks of the last launch on the way up."""
    upward = ("graph_up", "graph_enter", "graph_softmax_up", "graph_row_loss")
    last = [launch for launch in launches if launch.name.split("<")[0] in upward][-1]
    return last.grid[0] * last.grid[1]
