"""Forward, loss and backward of a block of models, for the samples of one tile."""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.many.forms import Form, Index
from tinynet_kernels.cpu.fused.many.losses import Terms, loss
from tinynet_kernels.cpu.fused.many.unrolled import Unrolled
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES
from tinynet_kernels.network import Loss


class Passes:
    """Writes what happens to a tile of samples.

    Parameters
    ----------
    form : Form
    order, weight : {"none", "shared", "own"}
        Whether samples are taken by an index, whether they have weights, and whether each model has its own.
    """

    def __init__(self, form: Form, order: str, weight: str) -> None:
        self.form, self.layers, self.order, self.weight = form, form.layers, order, weight

    # -- samples -----------------------------------------------------------------------------------------------------

    def each_tile(self, body: Callable[[], None], *, single: bool = False) -> None:
        """Write a loop over tiles of the samples from ``start`` to ``stop``, with the rows of each."""
        form, lanes, n = self.form, self.form.lanes, self.form.rows
        form("s = start" if single else f"for s in range(start, stop, {n}):")
        form.depth += not single
        for r in range(n):
            # The last tile is filled up with its last sample, whose copies count for nothing.
            at = "s" if n == 1 else f"min(s + {r}, stop - 1)"
            if self.order == "own":
                form(f"row{r} = rows[{r * lanes} : {(r + 1) * lanes}]")
                form(f"blocks.own_rows(order, e, {at}, first, last, row{r})")
            else:
                form(f"row{r} = order[e, {at}]" if self.order == "shared" else f"row{r} = {at}")
            form.take_input(r, self.order == "own")
        body()
        form.depth -= not single

    def _each(self, i: int, body: Callable[[Index, int], None]) -> None:
        """Write ``body`` for each output of layer ``i`` of each row."""
        for r in range(self.form.rows):
            self.form.each(self.form.width(i), lambda k, r=r: body(k, r))  # type: ignore[misc]

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(self) -> None:
        """Write the forward pass."""
        for i, layer in enumerate(self.layers):
            _FORWARD[layer.kind](self, i)

    def _linear(self, i: int) -> None:
        self.form.product(i)
        self._activate(i)

    def _activation(self, i: int) -> None:
        form = self.form
        self._each(i, lambda k, r: form.put(f"z{i}", form.at(i, k, r), form.source(i, k, r)))
        self._activate(i)

    def _activate(self, i: int) -> None:
        form, kind = self.form, self.layers[i].activation
        if not ACTIVATIONS[kind].elementwise:
            for r in range(form.rows):
                self._softmax(i, r)
        elif kind != "identity":
            form.activate(i)
        elif isinstance(form, Unrolled):
            form.each(form.width(i), lambda k: form.put(f"y{i}", k, form.get(f"z{i}", k)))

    def _softmax(self, i: int, r: int) -> None:
        form, size = self.form, self.form.width(i)

        def z(k: Index) -> str:
            return form.get(f"z{i}", form.at(i, k, r))

        def y(k: Index) -> str:
            return form.get(f"y{i}", form.at(i, k, r))

        form(f"peak = lanes.full(like, {z(0)}, {form.lanes})")
        form.each(size, lambda k: form(f"v = {z(k)}", "peak = select(v > peak, v, peak)"))
        form(f"total_e = {form.zeros()}")

        def exponential(k: Index) -> None:
            form(f"v = exp({z(k)} - peak)", "total_e = total_e + v")
            form.put(f"y{i}", form.at(i, k, r), "v")

        form.each(size, exponential)
        form.each(size, lambda k: form.put(f"y{i}", form.at(i, k, r), f"{y(k)} / total_e"))

    def _dropout(self, i: int) -> None:
        form, layer = self.form, self.layers[i]
        rates = f"numbers[{form.setting(layer.alpha)[1:]}, first : first + {form.lanes}]"
        place = f"e * n_updates + u, {layer.place}, (s - start) * {form.width(i)}"
        form(f"blocks.draw_masks(seed, drawn, {rates}, {place}, mask{i})")

        def body(k: Index, r: int) -> None:
            at = form.at(i, k, r)
            form.put(f"y{i}", at, f"{form.source(i, k, r)} * {form.load(f'mask{i}', at)}")

        self._each(i, body)

    def _normalize(self, i: int) -> None:
        form = self.form

        def body(k: Index, r: int) -> None:
            shifted = f"({form.source(i, k, r)} - {self._held(i, k, 0)})"
            form.put(f"y{i}", form.at(i, k, r), f"{shifted} / {self._held(i, k, 1)}")

        self._each(i, body)

    def _held(self, i: int, k: Index, which: int) -> str:
        """Return the mean (0) or the scale (1) of a column."""
        form = self.form
        before = [j for j in range(i) if self.layers[j].kind == "normalize"]
        sizes = [f"2 * {form.width(j)}" for j in before] + [str(form.width(i))] * which
        return form.load("held", " + ".join([*sizes, str(k)]))

    # -- loss --------------------------------------------------------------------------------------------------------

    def loss(self, spec: Loss, *, gradient: bool) -> None:
        """Add the losses of the tile to ``total``; write the gradient, times ``factor``, to that of the last output."""
        parameter = self.form.setting(spec.parameter)
        for r in range(self.form.rows):
            self._loss_of_row(spec.kind, parameter, r, gradient)

    def _loss_of_row(self, kind: str, parameter: str, r: int, gradient: bool) -> None:
        form, last, own = self.form, len(self.layers) - 1, self.order == "own"
        weighted, live = self._weight(r), r > 0
        if LOSSES[kind].index_target:
            gathered = f"lanes.gather(like, y, row{r}, 1, 0, {form.lanes})"
            form(f"label = {gathered if own else f'lanes.full(like, y[row{r}], {form.lanes})'}")
        if live:
            form(f"live = one if s + {r} < stop else zero")
        if gradient:
            form("scaled = factor" + " * weight" * weighted + " * live" * live)

        def put(k: Index, slope: str) -> None:
            form.put(f"d{last}", form.at(last, k, r), f"{slope} * scaled")

        def output(k: Index) -> str:
            return form.get(f"y{last}", form.at(last, k, r))

        def target(k: Index) -> str:
            gathered = f"lanes.gather(like, y, row{r}, y.shape[1], {k}, {form.lanes})"
            return gathered if own else f"real(y[row{r}, {k}])"

        loss(kind, parameter, Terms(form, form.width(last), output, target, put if gradient else None))
        counted = f"lanes.full(losses, value, {form.lanes})"
        counted += f" * lanes.full(losses, weight, {form.lanes})" * weighted + " * live" * live
        form(f"total = total + {counted}")

    def _weight(self, r: int) -> bool:
        """Write the weight of a row; tell whether there is one."""
        form = self.form
        if self.weight == "shared" and self.order != "own":
            form(f"weight = sample_weight[row{r}]")
        elif self.weight == "shared":
            form(f"weight = lanes.gather(like, sample_weight, row{r}, 1, 0, {form.lanes})")
        elif self.weight == "own":
            name = "own_weights_of" if self.order == "own" else "own_weights"
            form(f"spots = rows[{form.rows * form.lanes} : {(form.rows + 1) * form.lanes}]")
            form(f"blocks.{name}(row{r}, sample_weight.shape[1], members, first, last, spots)")
            form(f"weight = lanes.gather(like, sample_weight, spots, 1, 0, {form.lanes})")
        return self.weight != "none"

    # -- backward ----------------------------------------------------------------------------------------------------

    def backward(self, mode: str) -> None:
        """Write the way back; see ``Form.gradient`` for what becomes of the gradient."""
        linear = [i for i, layer in enumerate(self.layers) if layer.kind == "linear"]
        for i in range(len(self.layers) - 1, linear[0] - 1, -1):
            _BACKWARD[self.layers[i].kind](self, i)
            if self.layers[i].kind == "linear":
                if i > linear[0]:  # Before the weights change.
                    self.form.product_transposed(i)
                self.form.gradient(i, mode)

    def _activate_backward(self, i: int) -> None:
        if not ACTIVATIONS[self.layers[i].activation].elementwise:
            for r in range(self.form.rows):
                self._softmax_backward(i, r)
        elif self.layers[i].activation != "identity":
            self.form.activate_backward(i)

    def _activation_backward(self, i: int) -> None:
        form = self.form
        self._activate_backward(i)
        self._each(i, lambda k, r: form.put(f"d{i - 1}", form.at(i, k, r), form.get(f"d{i}", form.at(i, k, r))))

    def _softmax_backward(self, i: int, r: int) -> None:
        """``y * (dy - <dy, y>)``."""
        form, size = self.form, self.form.width(i)

        def at(name: str, k: Index) -> str:
            return form.get(f"{name}{i}", form.at(i, k, r))

        form(f"dot = {form.zeros()}")
        form.each(size, lambda k: form(f"dot = dot + {at('d', k)} * {at('y', k)}"))
        form.each(size, lambda k: form.put(f"d{i}", form.at(i, k, r), f"{at('y', k)} * ({at('d', k)} - dot)"))

    def _dropout_backward(self, i: int) -> None:
        form = self.form

        def body(k: Index, r: int) -> None:
            at = form.at(i, k, r)
            form.put(f"d{i - 1}", at, f"{form.get(f'd{i}', at)} * {form.load(f'mask{i}', at)}")

        self._each(i, body)

    def _normalize_backward(self, i: int) -> None:
        form = self.form

        def body(k: Index, r: int) -> None:
            at = form.at(i, k, r)
            form.put(f"d{i - 1}", at, f"{form.get(f'd{i}', at)} / {self._held(i, k, 1)}")

        self._each(i, body)


_FORWARD: dict[str, Callable[[Passes, int], None]] = {
    "linear": Passes._linear,
    "activation": Passes._activation,
    "dropout": Passes._dropout,
    "normalize": Passes._normalize,
}
_BACKWARD: dict[str, Callable[[Passes, int], None]] = {
    "linear": Passes._activate_backward,
    "activation": Passes._activation_backward,
    "dropout": Passes._dropout_backward,
    "normalize": Passes._normalize_backward,
}
