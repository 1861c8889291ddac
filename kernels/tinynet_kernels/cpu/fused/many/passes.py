"""Forward, loss and backward of a block of models, for the samples of one tile."""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.many.forms import Form, Index, Looped, keeps_z
from tinynet_kernels.cpu.fused.many.losses import Terms, loss
from tinynet_kernels.cpu.fused.network import Loss
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES

Take = Callable[[Index, str], None]
"""Does something with an element of the gradient, given its place in the flat vector and the expression for it."""


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
        self.looped = isinstance(form, Looped)
        self.stores_input = self.looped and (order == "own" or form.layers[0].kind != "linear")
        """Whether samples are brought into scratch, because each is read several times and is dear to get at."""

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
            for k in range(0 if self.looped else self.layers[0].n_in):
                form(f"x_{k} = {self._sample(k, r)}")
            if self.stores_input:
                value, width = f"lanes.full(like, {self._sample('k', r)}, {lanes})", "n0"
                form(f"for k in range({width}):")
                form.depth += 1
                form.store("x_in", f"{r} * n0 + k", value)
                form.depth -= 1
        body()
        form.depth -= not single

    def _sample(self, k: Index, r: int) -> str:
        if self.order == "own":
            return f"lanes.gather(like, x, row{r}, x.shape[1], {k}, {self.form.lanes})"
        return f"real(x[row{r}, {k}])"

    def _source(self, i: int) -> Callable[[Index, int], str]:
        """Return how to read an element of the input of layer ``i``, of row ``r`` of the tile."""
        if i:
            return lambda k, r: self.form.get(f"y{i - 1}", self._at(i - 1, k, r))
        if self.stores_input:
            return lambda k, r: self.form.get("x_in", f"{r} * n0 + {k}")
        return self._sample if self.looped else lambda k, r: f"x_{k}"

    def _at(self, i: int, k: Index, r: int) -> Index:
        """Return the index of element ``k`` of row ``r`` among the outputs of layer ``i``."""
        return f"{r} * n{i + 1} + {k}" if self.looped and r else k

    def _each(self, i: int, body: Callable[[Index, int], None]) -> None:
        """Write ``body`` for each output of layer ``i`` of each row."""
        for r in range(self.form.rows):
            self.form.each(self._size(i), lambda k, r=r: body(k, r))  # type: ignore[misc]

    def _each_at_once(self, i: int, body: Callable[[Index], None]) -> None:
        """Write ``body`` for each output of layer ``i``, all rows in one."""
        size = self._size(i)
        self.form.each(f"{self.form.rows} * {size}" if self.form.rows > 1 else size, body)

    def _size(self, i: int) -> Index:
        return f"n{i + 1}" if self.looped else self.layers[i].n_out

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(self) -> None:
        """Write the forward pass."""
        for i, layer in enumerate(self.layers):
            _FORWARD[layer.kind](self, i)

    def _linear(self, i: int) -> None:
        self.form.product(i, self._source(i))
        self._activate(i)

    def _activation(self, i: int) -> None:
        source = self._source(i)
        self._each(i, lambda k, r: self.form.put(f"z{i}", self._at(i, k, r), source(k, r)))
        self._activate(i)

    def _activate(self, i: int) -> None:
        form, kind = self.form, self.layers[i].activation
        if not ACTIVATIONS[kind].elementwise:
            for r in range(form.rows):
                self._softmax(i, r)
        elif kind != "identity":
            alpha = form.setting(self.layers[i].alpha)
            self._each_at_once(
                i, lambda k: form.put(f"y{i}", k, f"activations._{kind}({form.get(f'z{i}', k)}, {alpha})")
            )
        elif not self.looped:
            self._each_at_once(i, lambda k: form.put(f"y{i}", k, form.get(f"z{i}", k)))

    def _softmax(self, i: int, r: int) -> None:
        form, size = self.form, self._size(i)

        def z(k: Index) -> str:
            return form.get(f"z{i}", self._at(i, k, r))

        def y(k: Index) -> str:
            return form.get(f"y{i}", self._at(i, k, r))

        form(f"peak = lanes.full(like, {z(0)}, {form.lanes})")
        form.each(size, lambda k: form(f"v = {z(k)}", "peak = select(v > peak, v, peak)"))
        form(f"total_e = {form.zeros()}")

        def exponential(k: Index) -> None:
            form(f"v = exp({z(k)} - peak)", "total_e = total_e + v")
            form.put(f"y{i}", self._at(i, k, r), "v")

        form.each(size, exponential)
        form.each(size, lambda k: form.put(f"y{i}", self._at(i, k, r), f"{y(k)} / total_e"))

    def _dropout(self, i: int) -> None:
        form, layer, source = self.form, self.layers[i], self._source(i)
        rate = form.setting(layer.alpha)[1:]
        rates = f"numbers[{rate}, first : first + {form.lanes}]"
        place = f"e * n_updates + u, {layer.place}, (s - start) * {self._size(i)}"
        form(f"blocks.draw_masks(seed, drawn, {rates}, {place}, mask{i})")

        def body(k: Index, r: int) -> None:
            at = self._at(i, k, r)
            form.put(f"y{i}", at, f"{source(k, r)} * {form.load(f'mask{i}', at)}")

        self._each(i, body)

    def _normalize(self, i: int) -> None:
        form, source = self.form, self._source(i)

        def body(k: Index, r: int) -> None:
            form.put(f"y{i}", self._at(i, k, r), f"({source(k, r)} - {self._held(i, k, 0)}) / {self._held(i, k, 1)}")

        self._each(i, body)

    def _held(self, i: int, k: Index, which: int) -> str:
        """Return the mean (0) or the scale (1) of a column."""
        before = [j for j in range(i) if self.layers[j].kind == "normalize"]
        sizes = [f"2 * {self._size(j)}" for j in before] + [str(self._size(i))] * which
        return self.form.load("held", " + ".join([*sizes, str(k)]))

    # -- loss --------------------------------------------------------------------------------------------------------

    def loss(self, spec: Loss, *, gradient: bool) -> None:
        """Add the losses of the tile to ``total``; write the gradient, times ``factor``, to that of the last output."""
        form, last = self.form, len(self.layers) - 1
        parameter = form.setting(spec.parameter)
        for r in range(form.rows):
            weight = self._weight(r)
            if LOSSES[spec.kind].index_target:
                own = f"lanes.gather(like, y, row{r}, 1, 0, {form.lanes})"
                form(f"label = {own if self.order == 'own' else f'lanes.full(like, y[row{r}], {form.lanes})'}")
            live = r > 0
            if live:
                form(f"live = one if s + {r} < stop else zero")
            if gradient:
                form("scaled = factor" + " * weight" * weight + " * live" * live)

            def put(k: Index, slope: str, r: int = r) -> None:
                form.put(f"d{last}", self._at(last, k, r), f"{slope} * scaled")

            def output(k: Index, r: int = r) -> str:
                return form.get(f"y{last}", self._at(last, k, r))

            def target(k: Index, r: int = r) -> str:
                if self.order == "own":
                    return f"lanes.gather(like, y, row{r}, y.shape[1], {k}, {form.lanes})"
                return f"real(y[row{r}, {k}])"

            loss(spec.kind, parameter, Terms(form, self._size(last), output, target, put if gradient else None))
            counted = f"lanes.full(losses, value, {form.lanes})"
            counted += f" * lanes.full(losses, weight, {form.lanes})" * weight + " * live" * live
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
            form(f"blocks.{name}(row{r}, sample_weight.shape[1], first, last, spots)")
            form(f"weight = lanes.gather(like, sample_weight, spots, 1, 0, {form.lanes})")
        return self.weight != "none"

    # -- backward ----------------------------------------------------------------------------------------------------

    def backward(self, take: Take) -> None:
        """Write the way back; each element of the gradient of the parameters goes to ``take``."""
        linear = [i for i, layer in enumerate(self.layers) if layer.kind == "linear"]
        for i in range(len(self.layers) - 1, linear[0] - 1, -1):
            _BACKWARD[self.layers[i].kind](self, i, take, i > linear[0])

    def _linear_backward(self, i: int, take: Take, need_dx: bool) -> None:
        self._activate_backward(i)
        if need_dx:  # Before the weights change.
            self.form.product_transposed(i)
        self.form.outer(i, self._source(i), take)

    def _activation_backward(self, i: int, take: Take, need_dx: bool) -> None:
        self._activate_backward(i)
        self._each_at_once(i, lambda k: self.form.put(f"d{i - 1}", k, self.form.get(f"d{i}", k)))

    def _activate_backward(self, i: int) -> None:
        form, kind, d = self.form, self.layers[i].activation, f"d{i}"
        if not ACTIVATIONS[kind].elementwise:
            for r in range(form.rows):
                self._softmax_backward(i, r)
        elif kind != "identity":
            alpha, z = form.setting(self.layers[i].alpha), f"z{i}" if keeps_z(self.layers[i]) else f"y{i}"

            def body(k: Index) -> None:
                slope = f"activations._{kind}_derivative({form.get(z, k)}, {form.get(f'y{i}', k)}, {alpha})"
                form.put(d, k, f"{form.get(d, k)} * {slope}")

            self._each_at_once(i, body)

    def _softmax_backward(self, i: int, r: int) -> None:
        """``y * (dy - <dy, y>)``."""
        form, size = self.form, self._size(i)

        def at(name: str, k: Index) -> str:
            return form.get(f"{name}{i}", self._at(i, k, r))

        form(f"dot = {form.zeros()}")
        form.each(size, lambda k: form(f"dot = dot + {at('d', k)} * {at('y', k)}"))
        form.each(size, lambda k: form.put(f"d{i}", self._at(i, k, r), f"{at('y', k)} * ({at('d', k)} - dot)"))

    def _dropout_backward(self, i: int, take: Take, need_dx: bool) -> None:
        form = self.form
        self._each_at_once(
            i, lambda k: form.put(f"d{i - 1}", k, f"{form.get(f'd{i}', k)} * {form.load(f'mask{i}', k)}")
        )

    def _normalize_backward(self, i: int, take: Take, need_dx: bool) -> None:
        form = self.form

        def body(k: Index, r: int) -> None:
            at = self._at(i, k, r)
            form.put(f"d{i - 1}", at, f"{form.get(f'd{i}', at)} / {self._held(i, k, 1)}")

        self._each(i, body)


_FORWARD: dict[str, Callable[[Passes, int], None]] = {
    "linear": Passes._linear,
    "activation": Passes._activation,
    "dropout": Passes._dropout,
    "normalize": Passes._normalize,
}
_BACKWARD: dict[str, Callable[[Passes, int, Take, bool], None]] = {
    "linear": Passes._linear_backward,
    "activation": Passes._activation_backward,
    "dropout": Passes._dropout_backward,
    "normalize": Passes._normalize_backward,
}
