"""Vectors: the parameters of a network and what goes with them, in panels: how they come, change and go back."""

from __future__ import annotations

from collections.abc import Sequence

from tinynet_kernels.cpu.generated import large
from tinynet_kernels.cpu.generated.few import HIGH
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import LINE, Panels, check, is_large, weights_of
from tinynet_kernels.cpu.generated.table import Table
from tinynet_kernels.cpu.generated.target import VECTORS, Target
from tinynet_kernels.network import Layer, Loss


class Vectors:
    """Writes into the table of a network what is done with parameters, gradients and moments outside of passes.

    Parameters
    ----------
    layers : tuple of Layer
    dtype : str
    target : Target
    rows : int
        Most that go through at a time.
    few : bool
        Whether so few that the weights are read as they lie; the passes are then those of a prediction.
    reads : bool
        Whether the passes are those of a prediction; weights of large layers then stay as they lie, too.
    """

    def __init__(
        self, layers: tuple[Layer, ...], dtype: str, target: Target, rows: int, *, few: bool, reads: bool
    ) -> None:
        check(layers, dtype, rows)
        self.layers = layers
        self.table = Table(dtype, target, -(-rows // HIGH) * HIGH if few else rows)
        self.arena = self.table.arena
        self.weights, self.running, self.sizes = weights_of(self.arena, layers)
        self.few, self.reads = few, reads
        if few:
            self.room = self.arena.take_own((1 + self.arena.width // VECTORS) * self.arena.vector_bytes)
        else:
            self.parameters = self.arena.take(self.sizes.panels)
        self.trained = [i for i in self.weights if not layers[i].frozen]

    # -- once --------------------------------------------------------------------------------------------------------

    def clear(self, first: int, last: int, packed: Sequence[int]) -> None:
        """Write zeros to everything, but where packed vectors will have the panels of large layers."""
        for vector in packed:
            for i in self.weights if vector == self.parameters else self.trained:
                if is_large(self.layers[i]):
                    place, own = vector + self.weights[i].place, self.weights[i]
                    self.table.add("prologue", "core", "clear", first, place - first)
                    first = place + self.arena.panels(self.layers[i].n_out) * own.step
        self.table.add("prologue", "core", "clear", first, -(-(last - first) // LINE) * LINE)

    def pack(self, vector: str, place: int, flat: int = 0) -> None:
        """Bring parameters, or a row of the moments, into panels at the start."""
        self._transfer("prologue", "pack", vector, place, flat)

    def unpack(self, vector: str, place: int, flat: int = 0) -> None:
        """Bring them back at the end."""
        self._transfer("epilogue", "unpack", vector, place, flat)

    def _transfer(self, part: str, kernel: str, vector: str, place: int, flat: int) -> None:
        # What is frozen is read only.
        reads_all = vector == "parameters" and part == "prologue"
        for i in self.weights if reads_all else self.trained:
            layer, own = self.layers[i], self.weights[i]
            first = flat - own.frozen_before * (vector == "moments")
            weight, bias, word = first + own.flat_weight, first + own.flat_bias, PLACES[vector]
            if is_large(layer):
                if self.reads:
                    continue
                panels = Panels(place + own.place, own.step)
                large.transfer(self.table, part, kernel, panels, layer, weight, bias, word)
                continue
            sizes = (layer.weight_rows, layer.n_out, int(layer.bias))
            self.table.add(part, "core", kernel, place + own.place, own.step, weight, bias, *sizes, word)
        if vector == "parameters":
            for i, own in self.running.items():
                n, places = self.layers[i].n_out, (flat + own.flat_weight, flat + own.flat_bias)
                self.table.add(part, "core", kernel, place + own.place, own.step, *places, 1, n, 1, PLACES[vector])

    # -- update ------------------------------------------------------------------------------------------------------

    def penalize(self, loss: Loss, gradients: int) -> None:
        """Write the L2 penalty of the weights of linear layers that are trained."""
        for i in self.trained:
            own, layer = self.weights[i], self.layers[i]
            if layer.kind != "linear":
                continue
            first = own.place + self.arena.row_bytes
            places = (self.parameters + first, gradients + first, own.step)
            sizes = (self.arena.panels(layer.n_out), layer.n_in)
            self.table.add("update", "updates", "l2", *places, *sizes, float(loss.l2), int(loss.mean))

    def decay(self, gradients: int, *, decoupled: bool) -> None:
        """Write the weight decay of the parameters that have their own."""
        for i in self.trained:
            own, layer = self.weights[i], self.layers[i]
            weight = self.arena.row_bytes, layer.weight_rows, layer.decay[0]
            bias = 0, 1, layer.decay[1]
            for first, rows, decay in (weight, bias):
                if decay:
                    places = (self.parameters + own.place + first, gradients + own.place + first, own.step)
                    sizes = (self.arena.panels(layer.n_out), rows)
                    kernel = "shrink" if decoupled else "decay"
                    self.table.add("update", "updates", kernel, *places, *sizes, decay)

    def clean(self) -> None:
        """Keep the padding at zero where a step does not."""
        for i in self.trained:
            own, layer = self.weights[i], self.layers[i]
            rows = layer.weight_rows
            sizes = (rows, layer.n_out, self.arena.weight_rows(rows), int(not layer.bias))
            self.table.add("update", "updates", "clean", self.parameters + own.place, own.step, *sizes)
