"""Slopes in a table: the derivatives by the inputs go forward beside the values, and their gradients back with them.

Each input is a direction, whose derivatives are an array of panels like that of the values, and take the same products:
see ``tinynet_kernels.reference.activation_curvature`` for what they add to the gradient of the values.
"""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.builder import Builder
from tinynet_kernels.cpu.generated.elementwise import each_column
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.layout import Panels, is_large
from tinynet_kernels.cpu.generated.small import float_of
from tinynet_kernels.cpu.generated.table import Sources
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.network import Layer, Loss

Directions = list[Panels]
"""An array for each input."""


def fits(layers: tuple[Layer, ...], *, standardised: bool = False) -> bool:
    """Whether slopes of these layers go through a table: no layer is large, and directions begin at the first product.

    They are by what a first ``normalize`` makes of the inputs; samples that are ``standardised`` have gone through it.

    Examples
    --------
    >>> linear, softmax = Layer("linear", 2, 3), Layer("activation", 3, 3, activation="softmax")
    >>> fits((linear,)), fits((linear, softmax)), fits((Layer("dropout", 2, 2), linear))
    (True, False, False)
    >>> normalize = Layer("normalize", 2, 2)
    >>> fits((normalize, linear)), fits((normalize, linear), standardised=True)
    (True, False)
    """
    inner = layers[1:] if layers[0].kind == "normalize" and not standardised else layers
    known = all(ACTIVATIONS[layer.activation].elementwise and not is_large(layer) for layer in layers)
    return known and bool(inner) and inner[0].kind == "linear"


def curvature(kind: str) -> Callable[[Frame], None]:
    """``dz = dz + f''(z) t ds``, of one direction. Arguments: z, y, t, ds, dz, bytes between panels, columns, alpha."""

    def body(frame: Frame) -> None:
        code = frame.code
        pointers = [frame.place(i) for i in range(5)]
        step, n, alpha = frame.size(5), frame.size(6), frame.spread(7)

        def column(p: Value, offset: Value, mask: Value, rows: Callable[..., None]) -> None:
            def row(*here: Value) -> None:
                z, y, t, ds, dz = (code.load(pointer, frame.row) for pointer in here)
                curve = Writer(code, {"z": z, "y": y, "alpha": alpha})(formulas.ACTIVATIONS[kind].curvature)
                code.store(code.fma(frame.kept(mask, curve), t * ds, dz), here[4])

            rows(row, *(code.at(code.at(pointer, p * step), offset) for pointer in pointers))

        each_column(frame, n, column)

    return body


def curvatures(kind: str) -> list[Kernel]:
    """Return the kernel of an activation."""
    return [Kernel(f"{kind}_curvature", curvature(kind))]


class SlopesBuilder(Builder):
    """Writes the table of a network whose loss reads its derivatives by the inputs, too."""

    def forward(self, x: Panels) -> Panels:
        """Write the way forward, of the values and then of each direction; return where the values end."""
        end = super().forward(x)
        self.start = int(self.layers[0].kind == "normalize")
        self.before: list[Directions] = []
        """Of each layer, the directions that go into its activation."""
        self.behind: list[Directions] = []
        for i, layer in enumerate(self.layers[self.start :], self.start):
            above = self.behind[-1] if self.behind else []
            before = [self._along(i, layer, above, j) for j in range(self.layers[0].n_in)]
            behind = before
            if layer.activation != "identity":
                behind = [self._bent(i, layer, t) for t in before]
            self.before.append(before)
            self.behind.append(behind)
        return end

    def _along(self, i: int, layer: Layer, above: Directions, j: int) -> Panels:
        """Lead a direction through a layer without its activation; the first product is a row of its weights."""
        arena, t = self.arena, self.arena.activation(layer.n_out)
        if layer.kind == "linear":
            own = self.weights[i]
            weights = Panels(self.parameters + own.place + arena.row_bytes, own.step)
            if above:
                self._product(layer, above[j], weights, Panels(arena.zeros, 0), t)
            else:
                row = Panels(weights.place + j * arena.row_bytes, own.step)
                self._product(layer._replace(n_in=0), t, weights, row, t)
        elif layer.kind == "dropout":
            self.table.add("rows", "dropout", "multiply", above[j].place, t.place, t.step, layer.n_out, self.masks[i])
        elif layer.kind == "normalize":
            arguments = (above[j].place, t.place, above[j].step, t.step, layer.n_out, self.columns[i])
            self.table.add("rows", "normalize", "normalize_backward", *arguments)
        else:
            return above[j]
        return t

    def _bent(self, i: int, layer: Layer, t: Panels) -> Panels:
        out = self.arena.activation(layer.n_out)
        self._slope(i, layer, t, out)
        return out

    def _slope(self, i: int, layer: Layer, t: Panels, out: Panels) -> None:
        """Multiply by the slope of an activation."""
        kind = layer.activation
        self._each(
            layer, f"activation:{kind}", f"{kind}_backward", (*self._point(i, layer), t, out), float_of(layer.alpha)
        )

    def _point(self, i: int, layer: Layer) -> tuple[Panels, Panels]:
        y = self.outputs[i]
        return (self.pre[i] if ACTIVATIONS[layer.activation].reads_z else y), y

    def loss(self, loss: Loss, sources: Sources, y: Panels, *, mean: bool, n: int, batch: int) -> Panels:
        """Write the loss of the values, and of each direction; return where the gradient of the values is."""
        of_values = super().loss(loss, sources, y, mean=mean, n=n, batch=batch)
        assert loss.slopes is not None
        target, self.gradients = self.arena.activation(n), []
        for j, t in enumerate(self.behind[-1]):
            self.gather_into(target, "y", sources.y, n, first=(1 + j) * n)
            d = self.arena.activation(n)
            self._compare(loss.slopes, t, target, d, mean=mean, n=n)
            self.gradients.append(d)
        return of_values

    def backward(self, d: Panels, gradients: int, *, fold: bool) -> None:
        """Write the way back of the values and of all directions; see ``Builder.backward``."""
        first = min(self.trained, default=len(self.layers))
        passed = [i for i in self.weights if i > first]
        transposed = self.arena.take_own(max((self._transposed_bytes(i) for i in passed), default=0))
        directions = self.gradients
        for i in range(len(self.layers) - 1, first - 1, -1):
            layer, place = self.layers[i], i - self.start
            if layer.activation != "identity":
                self._backward_activation(i, layer, d)
                for t, ds in zip(self.before[place], directions, strict=True):
                    self._curve(i, layer, t, ds, d)
                    self._slope(i, layer, ds, ds)
            every = [d, *directions]
            if layer.kind == "linear":
                below = [self.arena.activation(layer.n_in) for _ in every] if i > first else []
                if below:
                    self._transpose(i, layer, transposed)
                    for one, under in zip(every, below, strict=True):
                        self._lead_back(layer, one, under, transposed)
                self._add_gradients(i, layer, every, gradients, fold)
                every = below or every
            else:
                for one in every:
                    self._backward_columns(i, layer, one)
            d, *directions = every

    def _curve(self, i: int, layer: Layer, t: Panels, ds: Panels, d: Panels) -> None:
        kind, panels = layer.activation, (*self._point(i, layer), t, ds, d)
        self._each(layer, f"curvature_of:{kind}", f"{kind}_curvature", panels, float_of(layer.alpha))

    def _add_gradients(self, i: int, layer: Layer, every: Directions, gradients: int, fold: bool) -> None:
        """Write the gradient of a layer's parameters, to which each direction adds."""
        if layer.frozen:
            return
        d, *directions = every
        x = self.outputs[i - 1] if i else self.x
        self._gradient(i, layer, x, d, gradients, fold=fold)
        for j, ds in enumerate(directions):
            if i > self.start:
                x = self.behind[i - 1 - self.start][j]
                # A bias moves no direction.
                self._gradient(i, layer._replace(bias=False), x, ds, gradients, fold=fold, adds=True)
            else:
                # What went in is 1 at input j for all rows: the sum of the rows, as of a bias, but of this weight.
                row = gradients + (1 + j) * self.arena.row_bytes
                self._gradient(i, layer._replace(n_in=0, bias=True), ds, ds, row, fold=fold, adds=True)
