"""The launches of one update, where each product of a network is a kernel of its own (graph.cu)."""

from __future__ import annotations

from typing import NamedTuple

from tinynet_kernels.kinds import LOSSES, n_targets
from tinynet_kernels.network import Network

TILE, WARPS = 32, 8
"""Outputs of a block in each direction, and rows that a block takes at a time, as in graph.cu."""

SLAB = 64
"""Terms of a product that are in shared memory at a time, as in graph.cu."""

ELEMENTS = 1024
"""Elements of a block that only copies or applies a function."""


class Launch(NamedTuple):
    """A kernel and its grid."""

    name: str
    grid: tuple[int, int]


def update_of(network: Network, batch: int) -> list[Launch]:
    """Return the launches of an update, in their order, but for the one that ends it."""
    sequence = _Sequence(network, batch)
    n_columns = network.layers[0].n_in + sequence.n_targets + 1
    sequence.add("graph_gather", -(-batch * n_columns // ELEMENTS))
    sequence.up_from(0)
    sequence.down_from(sequence.rest_of_gradient(len(network.layers) - 1))
    for i, layer in enumerate(network.layers):
        if layer.kind == "linear":
            sequence.add(f"graph_change<{i}>", _tiles(layer.n_out), _tiles(layer.n_in + layer.bias))
    return sequence.launches


class _Sequence:
    """Walks through the stages as tile.cuh does, where a step is a call."""

    def __init__(self, network: Network, batch: int) -> None:
        self.layers, self.batch, self.launches = network.layers, batch, list[Launch]()
        self.loss = LOSSES[network.loss.kind]
        self.n_targets = n_targets(network.loss.kind, network.layers[-1].n_out)
        self.first_linear = next(i for i, layer in enumerate(network.layers) if layer.kind == "linear")

    def add(self, name: str, x: int, y: int = 1) -> None:
        self.launches.append(Launch(name, (x, y)))

    def up_from(self, i: int) -> None:
        layer = self.layers[i]
        if layer.kind == "linear":
            self.add(_product("graph_up", i, layer.n_in), _tiles(layer.n_out), _tiles(self.batch))
        else:
            self.add(f"graph_enter<{i}>", -(-self.batch * layer.n_in // ELEMENTS))
        self._up_after(self._end_of_chain(i))

    def _up_after(self, i: int) -> None:
        above = self.layers[i + 1] if i + 1 < len(self.layers) else None
        if self._softmax(i):
            self.add(f"graph_softmax_up<{i}>", self._row_blocks())
            if above is not None and above.kind != "linear":
                self._up_after(self._end_of_chain(i + 1))
                return
        if above is not None:
            self.up_from(i + 1)
        elif not self.loss.elementwise:
            self.add("graph_row_loss<0>", self._row_blocks())

    def down_from(self, i: int) -> None:
        if self._softmax(i):
            self.add(f"graph_softmax_down<{i}>", self._row_blocks())
        if i > self.first_linear:
            if self.layers[i].kind == "linear":
                layer = self.layers[i]
                self.add(_product("graph_down", i, layer.n_out), _tiles(layer.n_in), _tiles(self.batch))
            self.down_from(self.rest_of_gradient(i - 1))

    def rest_of_gradient(self, i: int) -> int:
        while self.layers[i].kind != "linear" and not self._softmax(i):
            i -= 1
        return i

    def _end_of_chain(self, i: int) -> int:
        while not self._softmax(i) and i + 1 < len(self.layers) and self.layers[i + 1].kind != "linear":
            i += 1
        return i

    def _softmax(self, i: int) -> bool:
        return self.layers[i].activation == "softmax"

    def _row_blocks(self) -> int:
        return -(-self.batch // WARPS)


def _product(name: str, i: int, terms: int) -> str:
    """Return the kernel of a product: there is another one for few terms."""
    return f"{name}<{i}, {str(terms <= SLAB).lower()}>"


def _tiles(n: int) -> int:
    return -(-n // TILE)
