"""Builder: writes the steps of a network into a table, pass by pass."""

from __future__ import annotations

from tinynet_kernels.cpu.generated import large, norms
from tinynet_kernels.cpu.generated.cross_entropy import TURNED
from tinynet_kernels.cpu.generated.data import is_exact
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.ir_types import BYTES, DOUBLE
from tinynet_kernels.cpu.generated.layout import Panels, is_large, keeps_z
from tinynet_kernels.cpu.generated.random import SLACK
from tinynet_kernels.cpu.generated.small import float_of
from tinynet_kernels.cpu.generated.table import Sources
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.cpu.generated.vectors import Vectors
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, n_targets
from tinynet_kernels.network import Layer, Loss


class Builder(Vectors):
    """Writes the table of a network, pass by pass.

    See ``Vectors`` for its parameters.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        dtype: str,
        target: Target,
        rows: int,
        *,
        few: bool = False,
        reads: bool = False,
    ) -> None:
        super().__init__(layers, dtype, target, rows, few=few, reads=reads)
        is_any = not few and any(map(is_large, layers))
        self.scratch = self.arena.take_scratch(large.scratch_bytes(self.arena) if is_any else 0)
        self.outputs: list[Panels] = []
        self.pre: list[Panels] = []
        """Of each layer, what goes into its activation: the output's place, or one of its own."""
        self.masks: dict[int, int] = {}
        self.standardised: dict[int, Panels] = {}
        self.inverse: dict[int, int] = {}
        """Of each layer that standardises rows, where 1 by their roots are."""
        self.beside: dict[int, Panels] = {}
        self.forks: dict[int, tuple[int, Panels]] = {}
        """By their places, the numbers of the layers, and what passes."""
        self.columns: dict[int, int] = {}
        """Of each layer that normalises, where its means are among what is stored untrained, in bytes."""
        stored = 0
        for i, layer in enumerate(layers):
            if layer.kind == "normalize":
                self.columns[i] = stored
                stored += 2 * BYTES[DOUBLE] * layer.n_in

    # -- forward -----------------------------------------------------------------------------------------------------

    def gather(self, name: str, dtype: str, n: int, part: str = "rows", rows: int = 0) -> Panels:
        """Gather the rows of a source; with ``rows`` as a vector of so many numbers."""
        arena = self.arena
        if rows:
            into, row_step = Panels(arena.take_own(rows * arena.bytes), 0), arena.bytes
        else:
            into, row_step = arena.activation(n), arena.row_bytes
        self.table.add(part, f"gather:{dtype}", "gather", into.place, row_step, into.step, n, PLACES[name])
        return into

    def gather_into(self, into: Panels, name: str, dtype: str, n: int, *, first: int) -> None:
        """Gather some columns of the rows of a source, from one on."""
        places = (into.place, self.arena.row_bytes, into.step, n, PLACES[name], first)
        self.table.add("rows", f"gather:{dtype}", "gather", *places)

    def samples(self, dtype: str) -> Panels:
        """Gather samples; where they are standardised first, exactly."""
        n = self.layers[0].n_in
        self.wide = self.layers[0].kind == "normalize" and not is_exact(dtype, self.table.dtype)
        if not self.wide:
            return self.gather("x", dtype, n)
        into, row_bytes = self.arena.doubles(n), self.arena.width * BYTES[DOUBLE]
        self.table.add("rows", f"doubles:{dtype}", "doubles", into.place, row_bytes, into.step, n, PLACES["x"])
        return into

    def forward(self, x: Panels) -> Panels:
        """Write the forward pass from what ``samples`` has gathered; return where its result is."""
        self.x = x
        for i, layer in enumerate(self.layers):
            y = x if layer.kind == "fork" else self.arena.activation(layer.n_out)
            pre = self.arena.activation(layer.n_out) if keeps_z(layer) and layer.kind == "linear" else y
            getattr(self, f"_forward_{layer.kind}")(i, layer, x, pre, y)
            self.outputs.append(y)
            self.pre.append(x if layer.kind == "activation" else pre)
            x = y
        return x

    def _forward_linear(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        own, arena = self.weights[i], self.arena
        if self.few:
            flat = (own.flat_weight, own.flat_bias, layer.n_in, layer.n_out, int(layer.bias))
            self.table.add("rows", "few", "few_rows", x.place, z.place, self.room, x.step, z.step, *flat)
        elif is_large(layer) and self.reads:
            large.product_flat(self.table, x, layer, own, z, self.scratch)
        else:
            start = Panels(self.parameters + own.place, own.step)
            weights = Panels(start.place + arena.row_bytes, own.step)
            self._product(layer, x, weights, start, z)
        if layer.activation != "identity":
            self._forward_activation(i, layer, z, z, y)

    def _product(self, layer: Layer, x: Panels, weights: Panels, start: Panels, z: Panels) -> None:
        if is_large(layer):
            large.product(self.table, x, layer.n_in, weights, start, z, layer.n_out)
        else:
            places = (x.place, weights.place, start.place, z.place, x.step, weights.step, start.step, z.step)
            self.table.add("rows", "products", "product_rows", *places, layer.n_in, layer.n_out)

    def _forward_activation(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        kind = layer.activation
        self._each(layer, f"activation:{kind}", f"{kind}_forward", (x, y), float_of(layer.alpha))

    def _each(self, layer: Layer, unit: str, kernel: str, arrays: tuple[Panels, ...], alpha: float) -> None:
        """Write a step over all outputs of a layer."""
        if is_large(layer) and ACTIVATIONS[layer.activation].elementwise:
            large.elementwise(self.table, unit, kernel, arrays, layer.n_out, alpha)
        else:
            places = (array.place for array in arrays)
            self.table.add("rows", unit, kernel, *places, arrays[-1].step, layer.n_out, alpha)

    def _forward_dropout(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        arena, n, rate = self.arena, layer.n_out, float_of(layer.alpha)
        rows = self.table.block
        mask = arena.take_own(rows * n * arena.bytes + (4 + SLACK) * arena.vector_bytes)
        self.masks[i] = mask
        threshold, keep = int(rate * 2**32), 1.0 / (1.0 - rate)
        self.table.add("rows", "dropout", "draw_mask", mask, n, layer.place, threshold, keep)
        self.table.add("rows", "dropout", "multiply", x.place, y.place, y.step, n, mask)

    def _forward_normalize(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        kernel = "standardize" if i == 0 and self.wide else "normalize_forward"
        self.table.add("rows", "normalize", kernel, x.place, y.place, x.step, y.step, layer.n_out, self.columns[i])

    def _forward_layer_norm(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        arena, n = self.arena, layer.n_out
        xhat, self.inverse[i] = arena.activation(n), arena.take_own(arena.rows * norms.INVERSE_BYTES)
        self.standardised[i] = xhat
        place, step = self._norm_parameters(i)
        places = (x.place, xhat.place, y.place, place, self.inverse[i], y.step, step)
        self.table.add("rows", "layer_norm", "layer_norm_forward", *places, n, float_of(layer.alpha), int(layer.bias))

    def _forward_batch_norm(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        arena, n, running = self.arena, layer.n_out, self.running[i]
        place, step = self._norm_parameters(i)
        held, eps = self.parameters + running.place, float_of(layer.alpha)
        if self.reads:
            read = (x.place, y.place, place, held, y.step, step, running.step)
            self.table.add("rows", "batch_norm", "batch_norm_predict", *read, n, eps, int(layer.bias))
            return
        xhat, self.inverse[i] = arena.activation(n), arena.take_own(arena.panels(n) * arena.row_bytes)
        self.standardised[i] = xhat
        places = (x.place, xhat.place, y.place, place, held, self.inverse[i], y.step, step, running.step)
        numbers = (eps, layer.momentum, int(layer.bias))
        self.table.add("rows", "batch_norm", "batch_norm_forward", *places, n, *numbers)

    def _norm_parameters(self, i: int) -> tuple[int, int]:
        """Return where the parameters of a norm are, and the bytes between their panels; without some, zeros."""
        own = self.weights.get(i)
        return (self.arena.zeros, 0) if own is None else (self.parameters + own.place, own.step)

    def _forward_fork(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        self.forks[layer.place] = i, x

    def _forward_join(self, i: int, layer: Layer, x: Panels, z: Panels, y: Panels) -> None:
        passed = self.forks[layer.place][1]
        if not layer.beside:
            self.table.add("rows", "skip", "add", x.place, passed.place, y.place, y.step, layer.n_out)
            return
        own = self.weights[i]
        weight = self.parameters + own.place + self.arena.row_bytes
        self.table.add("rows", "skip", "copy", x.place, y.place, y.step, layer.n_out)
        places = (passed.place, weight, self.arena.zeros, y.place, passed.step, own.step, 0, y.step)
        self.table.add("rows", "projection", "product_added", *places, layer.beside, layer.n_out)

    # -- loss and backward -------------------------------------------------------------------------------------------

    def loss(self, loss: Loss, sources: Sources, y: Panels, *, mean: bool, n: int, batch: int) -> Panels:
        """Write the loss; return where its gradient is. ``mean`` says whether it is the mean of a batch."""
        arena, rows = self.arena, self.arena.rows
        if LOSSES[loss.kind].index_target:
            target = Panels(arena.take_own(8 * rows), 0)
            self.table.add("rows", f"labels:{sources.y}", "labels", target.place)
        else:
            target = self.gather("y", sources.y, n_targets(loss.kind, n))
        size = -(-rows * arena.bytes // arena.vector_bytes) * arena.vector_bytes
        if sources.weight:
            if loss.by_weight and mean:
                whole = self.gather("weight", sources.weight, 1, "begin", batch)
                self.table.add("begin", "core", "weigh", whole.place)
            self.masses = self.gather("weight", sources.weight, 1, "rows", rows).place
        else:
            self.masses = arena.take_own(size)
            self.table.add("prologue", "core", "fill_ones", self.masses, size)
        d = arena.activation(n)
        self._compare(loss, y, target, d, mean=mean, n=n)
        return d

    def _compare(self, loss: Loss, y: Panels, target: Panels, d: Panels, *, mean: bool, n: int) -> None:
        """Write a loss that reads ``y``, and its gradient to ``d``."""
        places = (y.place, target.place, d.place, self.masses, y.step, target.step, n)
        numbers = (loss.scale, loss.report, int(mean), float_of(loss.parameter))
        turned = [self.arena.columns(n) for _ in range(TURNED.get(loss.kind, 0))]
        self.table.add("rows", f"loss:{loss.kind}", f"loss_{loss.kind}", *places, *numbers, *turned)

    def backward(self, d: Panels, gradients: int, *, fold: bool) -> None:
        """Write the way back, to the gradients of what is trained; with ``fold`` to a step of gradient descent.

        It ends at the first layer that is trained.
        """
        first = min(self.trained, default=len(self.layers))
        passed = [i for i in self.weights if i > first]
        transposed = self.arena.take_own(max((self._transposed_bytes(i) for i in passed), default=0))
        for i in range(len(self.layers) - 1, first - 1, -1):
            layer = self.layers[i]
            if layer.activation != "identity":
                self._backward_activation(i, layer, d)
            if layer.kind == "linear":
                below = self.arena.activation(layer.n_in) if i > first else None
                self._backward_linear(i, layer, d, below, transposed, gradients, fold)
                d = below or d
            elif layer.kind == "layer_norm":
                self._backward_layer_norm(i, layer, d, gradients, passes=i > first)
            elif layer.kind == "batch_norm":
                self._backward_batch_norm(i, layer, d, gradients, passes=i > first)
            elif layer.kind == "join":
                self._backward_join(i, layer, d, transposed, gradients, fold, passes=self.forks[layer.place][0] > first)
            elif layer.kind == "fork":
                beside = self.beside[layer.place]
                self.table.add("rows", "skip", "add", d.place, beside.place, d.place, d.step, layer.n_out)
            else:
                self._backward_columns(i, layer, d)

    def _backward_join(
        self, i: int, layer: Layer, d: Panels, transposed: int, gradients: int, fold: bool, *, passes: bool
    ) -> None:
        """Write what is added to the gradient where the way around layers begins, and the gradient of its matrix."""
        if passes:
            self.beside[layer.place] = beside = self.arena.activation(layer.beside or layer.n_out)
            if layer.beside:
                matrix = layer._replace(kind="linear", n_in=layer.beside)
                self._transpose(i, matrix, transposed)
                self._lead_back(matrix, d, beside, transposed)
            else:
                self.table.add("rows", "skip", "copy", d.place, beside.place, d.step, layer.n_out)
        if layer.beside and not layer.frozen:
            matrix = layer._replace(kind="linear", n_in=layer.beside)
            self._gradient(i, matrix, self.forks[layer.place][1], d, gradients, fold=fold)

    def _backward_layer_norm(self, i: int, layer: Layer, d: Panels, gradients: int, *, passes: bool) -> None:
        xhat = self.standardised[i]
        place, step = self._norm_parameters(i)
        if i in self.trained:
            own = self.weights[i]
            places = (xhat.place, d.place, gradients + own.place, d.step, own.step)
            self.table.add("rows", "layer_norm", "layer_norm_gradient", *places, layer.n_out)
        if passes:
            back = (xhat.place, d.place, place, self.inverse[i], d.step, step)
            self.table.add("rows", "layer_norm", "layer_norm_backward", *back, layer.n_out, int(layer.bias))

    def _backward_batch_norm(self, i: int, layer: Layer, d: Panels, gradients: int, *, passes: bool) -> None:
        xhat, trained = self.standardised[i], i in self.trained
        place, step = self._norm_parameters(i)
        out = gradients + self.weights[i].place if trained else self.arena.zeros
        places = (xhat.place, d.place, place, out, self.inverse[i], d.step, step)
        flags = (int(layer.bias), int(trained), int(passes))
        self.table.add("rows", "batch_norm", "batch_norm_backward", *places, layer.n_out, *flags)

    def _backward_columns(self, i: int, layer: Layer, d: Panels) -> None:
        """Write the way back through a layer that treats each column by itself, but for its activation."""
        if layer.kind == "dropout":
            self.table.add("rows", "dropout", "multiply", d.place, d.place, d.step, layer.n_out, self.masks[i])
        elif layer.kind == "normalize":
            arguments = (d.place, d.place, d.step, d.step, layer.n_out, self.columns[i])
            self.table.add("rows", "normalize", "normalize_backward", *arguments)

    def _transposed_bytes(self, i: int) -> int:
        arena, layer = self.arena, self.layers[i]
        whole = arena.panels(layer.weight_rows) * arena.panels(layer.n_out) * arena.width * arena.row_bytes
        return whole if layer.kind in ("linear", "join") and not is_large(layer) else 0

    def _backward_activation(self, i: int, layer: Layer, d: Panels) -> None:
        kind, y = layer.activation, self.outputs[i]
        z = self.pre[i] if ACTIVATIONS[kind].reads_z else y
        self._each(layer, f"activation:{kind}", f"{kind}_backward", (z, y, d, d), float_of(layer.alpha))

    def _backward_linear(
        self, i: int, layer: Layer, d: Panels, below: Panels | None, transposed: int, gradients: int, fold: bool
    ) -> None:
        own = self.weights[i]
        weights = Panels(self.parameters + own.place + self.arena.row_bytes, own.step)
        if below is not None and is_large(layer):
            large.product_transposed(self.table, d, layer.n_out, weights, below, layer.n_in, self.scratch)
        elif below is not None:
            self._transpose(i, layer, transposed)
            self._lead_back(layer, d, below, transposed)
        if not layer.frozen:
            x = self.outputs[i - 1] if i else self.x
            self._gradient(i, layer, x, d, gradients, fold=fold)

    def _transpose(self, i: int, layer: Layer, transposed: int) -> None:
        own, arena = self.weights[i], self.arena
        step = arena.panels(layer.n_out) * arena.width * arena.row_bytes
        source = self.parameters + own.place + arena.row_bytes
        sizes = (arena.panels(layer.n_in), arena.panels(layer.n_out))
        self.table.add("rows", "products", "transposition", source, transposed, own.step, step, *sizes)

    def _lead_back(self, layer: Layer, d: Panels, below: Panels, transposed: int) -> None:
        """Write the product of a gradient with transposed weights."""
        step = self.arena.panels(layer.n_out) * self.arena.width * self.arena.row_bytes
        factors = (d.place, transposed, self.arena.zeros, below.place, d.step, step, 0, below.step)
        self.table.add("rows", "products", "product_rows", *factors, layer.n_out, layer.n_in)

    def _gradient(
        self, i: int, layer: Layer, x: Panels, d: Panels, gradients: int, *, fold: bool, adds: bool = False
    ) -> None:
        """Write the gradient of the parameters of a layer; with ``adds`` it is added to what is there."""
        out = Panels(gradients + self.weights[i].place, self.weights[i].step)
        if is_large(layer):
            large.gradient(self.table, x, layer.n_in, d, layer.n_out, out, bias=layer.bias, fold=fold)
            return
        places = (x.place, d.place, out.place, self.arena.zeros, x.step, d.step, out.step)
        sizes = (layer.n_in, layer.n_out, int(layer.bias), int(fold), int(adds))
        self.table.add("rows", "products", "gradient", *places, *sizes)
