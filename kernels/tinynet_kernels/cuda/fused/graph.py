"""Networks of middling size: a kernel for each product, many updates in one CUDA graph."""

from __future__ import annotations

import cupy
import numpy as np

from tinynet_kernels.cuda.fused.build import kernel
from tinynet_kernels.cuda.fused.graphs import places_of
from tinynet_kernels.cuda.fused.prelude import prelude
from tinynet_kernels.cuda.fused.sequence import Launch, update_of
from tinynet_kernels.cuda.fused.shapes import Limits, graph_shape
from tinynet_kernels.cuda.fused.training import Call, RepeatedTraining, Vectors
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.kinds import n_targets as n_targets_of
from tinynet_kernels.network import Network


class GraphTraining(RepeatedTraining):
    """A kernel for each product of an update."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        shape = graph_shape(network, batch)
        if shape is None:
            raise ValueError(
                "clipping by norm needs the whole gradient at once, which the kernels of a graph never have."
            )
        self.shape, self.prelude = shape, prelude(network, shape)
        self._launches = update_of(network, batch)
        self._n_parts = _parts(self._launches)
        dtype, rows = network.dtype, self.prelude.row_slots
        n_targets = n_targets_of(network.loss.kind, network.layers[-1].n_out)
        self._memory = cupy.empty(max(1, self.prelude.n_memory), dtype)
        self._batch_x = cupy.empty(rows * self.prelude.x_stride, dtype)
        self._batch_weight = cupy.empty(rows, dtype)
        self._batch_t = cupy.empty(rows * n_targets, np.int64 if LOSSES[network.loss.kind].index_target else dtype)
        self._part_losses = cupy.empty(self._n_parts, np.float64)

    def _launch(self, vectors: Vectors, call: Call, n_updates: int) -> None:
        parameters, moments, held, x, t, weight, order, rates, numbers, counters, losses = call.arrays
        _, n_visits, batch, _, _, own_order, _ = call.sizes
        places = (
            *(parameters, moments, held, x, t, weight, order, numbers, counters, rates, losses),
            *(
                self._memory,
                self._batch_x,
                self._batch_weight,
                self._batch_t,
                self._part_losses,
                call.progress,
                n_visits,
                batch,
                np.int32(own_order >= 0),
            ),
        )
        arguments = (*places, self.prelude.argument())
        names = tuple(dict.fromkeys([launch.name for launch in self._launches] + ["graph_finish"]))
        kernels = {name: kernel("graph.cu", name, self.prelude, names) for name in names}
        block = (self.shape.threads,)

        def updates(count: int) -> None:
            for _ in range(count):
                for name, grid in self._launches:
                    kernels[name](grid, block, arguments)
                kernels["graph_finish"]((1,), block, (*arguments, np.int32(self._n_parts)))

        self._repeated(updates, places_of(places), n_updates)


def _parts(launches: list[Launch]) -> int:
    """Return how many parts the loss is made of: blocks of the last launch on the way up."""
    upward = ("graph_up", "graph_enter", "graph_softmax_up", "graph_row_loss")
    last = [launch for launch in launches if launch.name.split("<")[0] in upward][-1]
    return last.grid[0] * last.grid[1]
