"""Builder: writes the steps of many models of a network into a table, pass by pass."""

from __future__ import annotations

from typing import NamedTuple

from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import check, keeps_z
from tinynet_kernels.cpu.generated.small import float_of
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, n_targets
from tinynet_kernels.network import Layer, Loss, Optimizer, Setting

BLOCK_BYTES = 1 << 17
"""What the numbers between the layers may take while rows go through: a quarter of a common second-level cache, of
which the parameters may take as much."""

UNIT = "many"
WIDE = "wide:"
"""What the name of a unit begins with whose groups of models fill two registers; see ``units``."""


class Sharing(NamedTuple):
    """What all models have in common: the order of the rows, and the weights of the samples."""

    order: bool = True
    weight: bool = True


class Rows(NamedTuple):
    """Numbers of rows in the lanes: where, and the bytes from a row to the next."""

    place: int
    step: int


def parameters_of(layers: tuple[Layer, ...]) -> tuple[list[int], int]:
    """Return where the parameters of each layer begin in the flat vector, and its length."""
    offsets, n = [], 0
    for layer in layers:
        offsets.append(n)
        n += (layer.n_in + layer.bias) * layer.n_out if layer.kind == "linear" else 0
    return offsets, n


def block_rows(layers: tuple[Layer, ...], dtype: str, target: Target, batch: int | None = None) -> int:
    """Return how many rows go through at a time: a multiple of four, or all of a batch."""
    width = layers[0].n_in + sum(3 * layer.n_out + 2 for layer in layers)
    rows = max(BLOCK_BYTES // (width * target.vector_bytes) // 12 * 12, 12)
    return rows if batch is None else min(batch, rows)


class Builder:
    """Writes the table of a network, pass by pass."""

    def __init__(
        self,
        layers: tuple[Layer, ...],
        dtype: str,
        target: Target,
        block: int,
        sharing: Sharing,
        *,
        wide: bool = False,
    ) -> None:
        check(layers, dtype, block)
        self.layers, self.sharing, self.vector = layers, sharing, target.vector_bytes * (2 if wide else 1)
        self.table = Table(dtype, target, block)
        self.lanes = self.vector // self.table.arena.bytes
        self.prefix = WIDE * wide
        self.table.entry = (self.prefix + UNIT, "each_group")
        self.arena = self.table.arena
        self.offsets, self.n = parameters_of(layers)
        self.settings: list[Setting] = []
        """Of all models, in the order of their numbers."""
        self.parameters = self.take(self.n)
        self.totals, self.mass = self.take(2), self.take(2)
        """Of each model, in float64: the sum of its losses, and what a mean over the batch divides by."""
        self.inputs: list[Rows] = []
        self.outputs: list[Rows] = []
        self.pre: list[Rows] = []
        self.masks: dict[int, Rows] = {}
        self.columns: dict[int, tuple[int, int]] = {}

    # -- memory ------------------------------------------------------------------------------------------------------

    def take(self, n: int) -> int:
        """Return the place of so many numbers."""
        return self.arena.take(max(n, 1) * self.vector)

    def rows(self, n: int) -> Rows:
        """Return the place of the rows in hand.

        An odd number of registers lies between them, so that they do not all fall into the same sets of a cache.
        """
        step = (n | 1) * self.vector
        return Rows(self.arena.take(self.table.block * step), step)

    def before_linear(self, n: int) -> Rows:
        """Return the place of what may go into a linear layer: a column of ones behind it, for the bias."""
        found = self.rows(n + 1)
        self.add("prologue", "ones", found.place + n * self.vector, found.step, self.table.block)
        return found

    def setting(self, value: Setting) -> int:
        """Return the number of a setting."""
        self.settings.append(value)
        return len(self.settings) - 1

    def add(self, part: str, kernel: str, *arguments: int | float, unit: str = UNIT) -> None:
        """Append a step."""
        self.table.add(part, self.prefix + unit, kernel, *arguments)

    # -- once --------------------------------------------------------------------------------------------------------

    def enter(self, vector: str, place: int, n: int, row: int = 0) -> None:
        """Bring a vector of each model into the lanes."""
        self.add("prologue", "enter", place, n, PLACES[vector], row)

    def leave(self, vector: str, place: int, n: int, row: int = 0) -> None:
        """Bring it back at the end."""
        self.add("epilogue", "leave", place, n, PLACES[vector], row)

    def enter_state(self, moments: int, count: int) -> None:
        """Bring parameters and moments into the lanes."""
        self.enter("parameters", self.parameters, self.n)
        for row in range(count):
            self.enter("moments", moments + row * self.n * self.vector, self.n, row)

    def leave_state(self, moments: int, count: int) -> None:
        """Bring parameters and moments back at the end."""
        self.leave("parameters", self.parameters, self.n)
        for row in range(count):
            self.leave("moments", moments + row * self.n * self.vector, self.n, row)

    def enter_columns(self) -> None:
        """Bring means and scales into the lanes."""
        widths = {i: layer.n_out for i, layer in enumerate(self.layers) if layer.kind == "normalize"}
        if not widths:
            return
        total = 2 * sum(widths.values())
        place = self.take(total)
        self.enter("buffers", place, total)
        for i, n in widths.items():
            self.columns[i] = place, place + n * self.vector
            place += 2 * n * self.vector

    # -- data --------------------------------------------------------------------------------------------------------

    def gather(self, name: str, dtype: str, into: Rows, n: int, *, labels: bool = False, part: str = "rows") -> None:
        """Bring the rows in hand of a source into the lanes."""
        shared = self.sharing.order and (name != "weight" or self.sharing.weight)
        kind = f"{'shared' if shared else 'own'}{'_labels' * labels}"
        own = int(name == "weight")
        self.add(part, "gather", *into, n, PLACES[name], own, unit=f"many_gather:{kind}:{dtype}")

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(self, dtype: str) -> Rows:
        """Write the forward pass; return where its result is."""
        x = self.before_linear(self.layers[0].n_in)
        self.gather("x", dtype, x, self.layers[0].n_in)
        for i, layer in enumerate(self.layers):
            y = self.before_linear(layer.n_out)
            self.inputs.append(x)
            pre = y
            if layer.kind == "linear":
                pre = self._forward_linear(i, layer, x, y)
            elif layer.kind == "activation":
                pre = x
                self._activate(layer, x, y)
            elif layer.kind == "dropout":
                mask = self.masks[i] = Rows(self.take(self.table.block * layer.n_out + 4), layer.n_out * self.vector)
                rate = self.setting(layer.alpha)
                self.add("rows", "draw_mask", mask.place, layer.n_out, layer.place, rate, unit="many_dropout")
                self.add("rows", "multiply", *x, *y, *mask, layer.n_out, unit="many_dropout")
            else:
                self.add("rows", "forward", *x, *y, layer.n_out, *self.columns[i], unit="many_normalize")
            self.outputs.append(y)
            self.pre.append(pre)
            x = y
        return x

    def _forward_linear(self, i: int, layer: Layer, x: Rows, y: Rows) -> Rows:
        z = self.rows(layer.n_out) if keeps_z(layer) else y
        weight = self.parameters + self.offsets[i] * self.vector
        across = layer.n_out * self.vector
        start = (weight + layer.n_in * across, 0, self.vector) if layer.bias else (self.arena.zeros, 0, 0)
        self.contract("rows", (*x, self.vector), (weight, self.vector, across), start, z, 0, layer.n_out, layer.n_in)
        if layer.activation != "identity":
            self._activate(layer, z, y)
        return z

    def _activate(self, layer: Layer, z: Rows, y: Rows) -> None:
        unit = f"many_activation:{layer.activation}"
        self.add("rows", "forward", *z, *y, layer.n_out, float_of(layer.alpha), unit=unit)

    def contract(
        self,
        part: str,
        a: tuple[int, int, int],
        b: tuple[int, int, int],
        start: tuple[int, int, int],
        out: Rows,
        rows: int,
        columns: int,
        inner: int,
    ) -> None:
        """Write a product; see ``contraction``."""
        self.add(part, "contraction", *a, *b, *start, *out, rows, columns, inner, unit="many_products")

    def begin(self, loss: Loss, weight: str = "", batch: int = 0) -> None:
        """Write how a batch begins; the mean of ``loss`` may be over the weights of its samples."""
        self.add("begin", "begin", self.totals, self.mass)
        if weight and loss.by_weight and loss.mean:
            whole = Rows(self.take(batch), self.vector)
            self.gather("weight", weight, whole, 1, part="begin")
            self.add("begin", "weigh", whole.place, self.mass)

    # -- loss and backward -------------------------------------------------------------------------------------------

    def loss(self, loss: Loss, sources: Sources, p: Rows, *, mean: bool, step: bool = False) -> Rows:
        """Write the loss; return where its gradient is, which is a step of gradient descent with ``step``."""
        n, labels = self.layers[-1].n_out, LOSSES[loss.kind].index_target
        n_of_row = n_targets(loss.kind, n)
        targets = self.rows(n_of_row)
        self.gather("y", sources.y, targets, n_of_row, labels=labels)
        weights = Rows(self.take(self.table.block), self.vector)
        if sources.weight:
            self.gather("weight", sources.weight, weights, 1)
        else:
            self.add("prologue", "ones", *weights, self.table.block)
        d = self.rows(n)
        parameter = self.setting(loss.parameter)
        numbers = (loss.scale, loss.report, parameter, int(mean), int(step), self.totals, self.mass)
        self.add("rows", "loss", *p, *targets, *d, weights.place, n, *numbers, unit=f"many_loss:{loss.kind}")
        return d

    def backward(self, d: Rows, gradients: int, start: str) -> None:
        """Write the way back to the gradients of all parameters.

        ``start`` says what is added to: "zero", or what is "there" already; for gradient descent, where the gradient
        is a step, that is the parameters themselves.
        """
        linear = [i for i, layer in enumerate(self.layers) if layer.kind == "linear"]
        for i in range(len(self.layers) - 1, min(linear, default=len(self.layers)) - 1, -1):
            layer = self.layers[i]
            if layer.activation != "identity":
                self._backward_activation(i, layer, d)
            if layer.kind == "linear":
                below = self.rows(layer.n_in) if i > linear[0] else None
                self._backward_linear(i, layer, d, below, gradients, start)
                d = below or d
            elif layer.kind == "dropout":
                self.add("rows", "multiply", *d, *d, *self.masks[i], layer.n_out, unit="many_dropout")
            elif layer.kind == "normalize":
                self.add("rows", "backward", *d, *d, layer.n_out, *self.columns[i], unit="many_normalize")

    def _backward_activation(self, i: int, layer: Layer, d: Rows) -> None:
        y = self.outputs[i]
        z = self.pre[i] if ACTIVATIONS[layer.activation].reads_z else y
        unit = f"many_activation:{layer.activation}"
        self.add("rows", "backward", *z, *y, *d, layer.n_out, float_of(layer.alpha), unit=unit)

    def _backward_linear(self, i: int, layer: Layer, d: Rows, below: Rows | None, gradients: int, start: str) -> None:
        vector, across, offset = self.vector, layer.n_out * self.vector, self.offsets[i] * self.vector
        weight, zero = self.parameters + offset, (self.arena.zeros, 0, 0)
        if below is not None:
            self.contract("rows", (*d, vector), (weight, across, vector), zero, below, 0, layer.n_in, layer.n_out)
        x, out = self.inputs[i], gradients + offset
        from_ = zero if start == "zero" else (out, across, vector)
        rows = layer.n_in + layer.bias
        self.contract(
            "rows", (x.place, vector, x.step), (d.place, vector, d.step), from_, Rows(out, across), rows, layer.n_out, 0
        )

    # -- update ------------------------------------------------------------------------------------------------------

    def update(self, optimizer: Optimizer, on: tuple[str, ...], gradients: int, moments: int) -> None:
        """Write clipping, the weight decay of parameters that have their own, and the step of an optimizer."""
        if optimizer.clip_value is not None:
            self.add("update", "clip_value", gradients, self.n, self.setting(optimizer.clip_value), unit="many_updates")
        if optimizer.clip_norm is not None:
            place = self.arena.take(self.vector * 2)
            limit = self.setting(optimizer.clip_norm)
            self.add("update", "clip_norm", gradients, self.n, limit, place, unit="many_updates")
        self._decay(gradients, "shrink" if optimizer.decoupled else "decay")
        first = len(self.settings)
        self.settings += optimizer.settings
        unit = ":".join(["many_step", optimizer.kind, *on])
        self.add("update", "step", self.parameters, gradients, moments, self.n, first, unit=unit)

    def _decay(self, gradients: int, kernel: str) -> None:
        for i, layer in enumerate(self.layers):
            n_weights, start = layer.n_in * layer.n_out, self.offsets[i]
            parts = (start, n_weights, layer.decay[0]), (start + n_weights, layer.n_out, layer.decay[1])
            for first, n, decay in parts:
                if decay:
                    places = (self.parameters + first * self.vector, gradients + first * self.vector, n)
                    self.add("update", kernel, *places, decay, unit="many_updates")

    def penalize(self, loss: Loss, gradients: int) -> None:
        """Write the L2 penalty of all weights."""
        for i, layer in enumerate(self.layers):
            if layer.kind == "linear":
                at, n = self.offsets[i] * self.vector, layer.n_in * layer.n_out
                arguments = (
                    self.parameters + at,
                    gradients + at,
                    n,
                    float(loss.l2),
                    int(loss.mean),
                    self.totals,
                    self.mass,
                )
                self.add("update", "l2", *arguments, unit="many_updates")
