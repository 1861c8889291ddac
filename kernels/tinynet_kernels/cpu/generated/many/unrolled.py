"""Whole epochs of many small models in one kernel, whose products are written out for the sizes of the network.

A batch of a few samples of a net of a hundred parameters takes less time to compute than the steps of a table take to
be called. Some samples go through at a time, so that a parameter which is loaded is used for each of them; what is not
a product is a loop over all numbers of a layer. A batch of one sample stays in registers from one end to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels import formulas
from tinynet_kernels.cpu.generated.emit import Writer
from tinynet_kernels.cpu.generated.frame import PLACES, Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64
from tinynet_kernels.cpu.generated.layout import keeps_z
from tinynet_kernels.cpu.generated.many.grids import Grid, Held, product
from tinynet_kernels.cpu.generated.many.groups import write_losses
from tinynet_kernels.cpu.generated.many.lanes import doubles, own, rate_of, setting, wholes
from tinynet_kernels.cpu.generated.many.losses import row_of
from tinynet_kernels.cpu.generated.many.rows import Reader
from tinynet_kernels.cpu.generated.many.small import Options, is_short
from tinynet_kernels.cpu.generated.many.updates import write_clip_norm, write_clip_value, write_step
from tinynet_kernels.cpu.generated.small import Small, activate, n_parameters, slope
from tinynet_kernels.expressions import Term
from tinynet_kernels.kinds import LOSSES, n_targets

MAX_WRITTEN = 48
"""Most numbers of the rows in hand that short formulas are written out for: a loop takes longer than these do."""

MAX_HELD = 50
"""Most parameters that are values of the code from one single sample to the next: 8% quicker than in memory, though the
most of them are spilled (measured with 43; part of them in memory was slower than all)."""


Finish = Callable[[int, int, Value], Value]
"""Makes of the gradient by a number behind an activation, of a row and a column, that by the number before it."""


def unrolled(net: Small, options: Options) -> Callable[[Frame], None]:
    """Return what writes all epochs of a group of models: it counts them itself, as ``laps``.

    Arguments: parameters, gradients, moments; numbers between the layers; a place for the losses, one for norms; the
    factor of one element of the loss, that of what is reported; the settings that are the loss's parameter, the limits
    of clipping, and the first one of the optimizer; a place for rates.
    """
    return lambda frame: _Epochs(frame, net, options).write()


class _Epochs:
    def __init__(self, frame: Frame, net: Small, options: Options) -> None:
        self.frame, self.code, self.net, self.options = frame, frame.code, net, options
        self.parameters, self.gradients, self.moments, self.work, self.slot, self.norms = map(frame.place, range(6))
        self.scale, self.rates = frame.double(6), frame.place(12)
        self.n = n_parameters(net.layers)
        self.parameter = frame.code.resize(setting(frame, frame.size(8)), frame.real)
        self.single = net.batch == 1
        self.holds = self.single and options.descent and self.n <= MAX_HELD
        self.held: list[Value] = []
        """The parameters, if they are values."""
        labels = LOSSES[net.loss].index_target
        self.n_targets = n_targets(net.loss, net.layers[-1].n_out)
        separate = options.own_order
        self.x = self._reader("x", net.x, labels=False, separate=separate)
        self.y = self._reader("y", net.y, labels=labels, separate=separate)
        self.weight = None
        if net.weight:
            self.weight = self._reader("weight", net.weight, labels=False, separate=separate or options.own_weight)

    def _reader(self, name: str, dtype: str, *, labels: bool, separate: bool) -> Reader:
        aside = self.frame.whole("weight_model") if name == "weight" else 0
        words = self.code.at(self.frame.context, PLACES[name], I64)
        return Reader(self.frame, dtype, words, labels=labels, separate=separate, aside=aside)

    # -- epochs ------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        frame, code = self.frame, self.code
        n_visits, batch = frame.whole("n_visits"), frame.whole("batch")
        changing = code.compare(">", frame.whole("n_rates"), 1)
        zero = code.constant(doubles(frame), 0.0)
        self._clear()

        def epoch(e: Value, count: Value, *held: Value) -> list[Value]:
            order = code.at(frame.pointer("order"), e * frame.whole("order_step"))
            self._look_up(e, code.whole(0))

            def update(start: Value, total: Value, number: Value, count: Value, *held: Value) -> list[Value]:
                self.held = list(held)
                rows = code.smaller(n_visits - start, batch)
                code.when(changing, lambda: self._look_up(e, number))
                total = total + self._batch(code.at(order, start, I64), rows)
                count = count + 1
                self._update(count)
                return [total, number + 1, count, *self.held]

            total, _, count, *now = code.loop(0, n_visits, batch, update, zero, code.whole(0), count, *held)
            write_losses(frame, e, total, self.scale * frame.double(7), self.slot)
            return [count, *now]

        everything = Grid(frame, self.parameters, self.n)
        held = [everything.get(0, place) for place in range(self.n if self.holds else 0)]
        _, *held = code.loop(0, frame.whole("laps"), 1, epoch, own(frame, "counts", wholes(frame)), *held)
        for place, value in enumerate(held):
            everything.put(0, place, value)

    def _look_up(self, epoch: Value, update: Value) -> None:
        """Write the rates of an update to memory, and before them those that go into gradients of single samples."""
        code, frame = self.code, self.frame
        rate = rate_of(frame, epoch, update)
        code.store(rate, self._rates())
        code.store(code.resize(code.spread(self.scale) * -rate, frame.real), self.rates)

    def _rates(self) -> Value:
        return self.code.at(self.rates, self.frame.vector_bytes)

    def _batch(self, visits: Value, rows: Value) -> Value:
        """Write a batch to the gradients, or for single samples to the parameters; return the losses."""
        code, frame, zero = self.code, self.frame, self.code.constant(doubles(self.frame), 0.0)
        if self.single and self.options.descent:
            self.factor = code.load(self.rates, frame.row)
            return self._tile(visits, 1)
        factor = code.spread(self.scale)
        if self.options.mean:
            factor = factor / code.spread(code.convert("sitofp", rows, DOUBLE))
        if self.options.descent:
            factor = factor * -code.load(self._rates(), doubles(frame))
        self.factor = code.resize(factor, frame.real)
        if self.single:
            return self._tile(visits, 1)
        total, done = zero, code.whole(0)
        for high in (self.net.batch, 1):

            def tile(s: Value, total: Value, high: int = high) -> list[Value]:
                return [total + self._tile(code.at(visits, s, I64), high)]

            (total,) = code.loop(done, rows - (high - 1), high, tile, total)
            done = rows / high * high
        return total

    def _clear(self) -> None:
        code, zero = self.code, self.code.constant(self.frame.row, 0.0)

        def number(_: Value, g: Value) -> list[Value]:
            code.store(zero, g)
            return [code.at(g, self.frame.vector_bytes)]

        code.loop(0, self.n, 1, number, self.gradients)

    def _update(self, count: Value) -> None:
        """Write the update from the gradients, and zeros to them."""
        frame, code, n, vector = self.frame, self.code, self.code.whole(self.n), self.frame.vector_bytes
        if self.options.descent:
            if not self.single:
                zero = code.constant(frame.row, 0.0)

                def descend(_: Value, p: Value, g: Value) -> list[Value]:
                    code.store(code.load(p, frame.row) + code.load(g, frame.row), p)
                    code.store(zero, g)
                    return [code.at(p, vector), code.at(g, vector)]

                code.loop(0, n, 1, descend, self.parameters, self.gradients)
            return
        if self.options.clip_value:
            write_clip_value(frame, self.gradients, n, frame.size(9))
        if self.options.clip_norm:
            write_clip_norm(frame, self.gradients, n, frame.size(10), self.norms)
        kind, *on = self.net.step
        places = (self.parameters, self.gradients, self.moments)
        rate = code.load(self._rates(), doubles(frame))
        write_step(frame, kind, tuple(on), rate, count, frame.size(11), n, *places)
        if not self.single:
            self._clear()

    # -- some samples ------------------------------------------------------------------------------------------------

    def _tile(self, visits: Value, rows: int) -> Value:
        """Take some samples forward and back; return the sum of their losses."""
        code, layers = self.code, self.net.layers
        self.rows, self.used = rows, 0
        x = self._taken(self.x, visits, layers[0].n_in)
        t = self._taken(self.y, visits, self.n_targets)
        weights = self._taken(self.weight, visits, 1) if self.weight else None
        self.pre: list[Grid] = []
        self.outputs = [x]
        offset, offsets = 0, []
        for layer in layers:
            offsets.append(offset)
            z = self._forward(layer.n_in, layer.n_out, layer.bias, offset, self.outputs[-1])
            y = z
            if layer.activation != "identity":
                y = self._grid(layer.n_out) if keeps_z(layer) or self.single else z
                self._map(lambda z, layer=layer: activate(code, layer, z), [z], y)
            self.pre.append(z)
            self.outputs.append(y)
            offset += (layer.n_in + layer.bias) * layer.n_out
        total, d, finished = self._loss(self.outputs[-1], t, weights, self._finish(len(layers) - 1))
        for i in range(len(layers) - 1, -1, -1):
            layer = layers[i]
            if not finished:
                sources = [d, self.pre[i], self.outputs[i + 1]]
                self._map(lambda d, z, y, layer=layer: d * slope(code, layer, z, y), sources, d)
            below = d
            if i:
                finish = self._finish(i - 1)
                below, finished = self._back(layer.n_in, layer.n_out, offsets[i], d, finish), finish is not None
            self._gradients(layer.n_in, layer.n_out, layer.bias, offsets[i], self.outputs[i], d)
            d = below
        return total

    def _finish(self, i: int) -> Finish | None:
        """Return what multiplies a gradient by the derivative of an activation; None where a loop does better."""
        layer, code = self.net.layers[i], self.code
        if layer.activation == "identity":
            return lambda r, k, value: value
        formula, symbols = formulas.ACTIVATIONS[layer.activation], map(formulas.symbol, ("z", "y", "alpha"))
        if not self._writes_out(layer.n_out, formula.derivative(*symbols)):
            return None
        z, y = self.pre[i] if keeps_z(layer) else self.outputs[i + 1], self.outputs[i + 1]
        return lambda r, k, value: value * slope(code, layer, z.get(r, k), y.get(r, k))

    def _writes_out(self, n: int, *terms: Term) -> bool:
        """Whether formulas are written for each of ``n`` numbers of the rows, and not in a loop."""
        return self.single or (self.rows * n <= MAX_WRITTEN and all(map(is_short, terms)))

    def _place(self, n: int) -> Value:
        """Return a place for ``n`` numbers of each row."""
        place = self.code.at(self.work, self.used * self.frame.vector_bytes)
        self.used += self.rows * n
        return place

    def _grid(self, n: int) -> Grid:
        return (Held if self.single else Grid)(self.frame, self._place(n), n)

    def _taken(self, reader: Reader, visits: Value, n: int) -> Grid:
        grid = self._grid(n)
        if isinstance(grid, Held):
            grid.values = dict(enumerate(reader.take(visits, n)))
        else:
            reader.bring(visits, self.rows, grid.place, n * self.frame.vector_bytes, n)
        return grid

    def _map(self, function: Callable[..., Value], sources: Sequence[Grid], target: Grid) -> None:
        """Apply a function to all numbers of some grids: one by one in registers, else in a loop."""
        code, frame, count = self.code, self.frame, target.n
        if self.single:
            for j in range(count):
                target.put(0, j, function(*(source.get(0, j) for source in sources)))
            return

        def number(_: Value, *places: Value) -> list[Value]:
            *inputs, output = places
            code.store(function(*(code.load(place, frame.row) for place in inputs)), output)
            return [code.at(place, frame.vector_bytes) for place in places]

        code.loop(0, self.rows * count, 1, number, *(grid.place for grid in (*sources, target)))

    def _parameter(self, place: int) -> Value:
        if self.holds:
            return self.held[place]
        return self.code.load(self.code.at(self.parameters, place * self.frame.vector_bytes), self.frame.row)

    def _forward(self, n_in: int, n_out: int, bias: bool, offset: int, x: Grid) -> Grid:
        z = self._grid(n_out)
        biases: dict[int, Value] = {}

        def start(i: int, j: int) -> Value | None:
            if bias and j not in biases:
                biases[j] = self._parameter(offset + n_in * n_out + j)
            return biases.get(j)

        product(
            self.frame,
            self.rows,
            n_out,
            n_in,
            x.get,
            lambda k, j: self._parameter(offset + k * n_out + j),
            start,
            z.put,
        )
        return z

    def _back(self, n_in: int, n_out: int, offset: int, d: Grid, finish: Finish | None) -> Grid:
        below = self._grid(n_in)

        def weight(j: int, k: int) -> Value:
            return self._parameter(offset + k * n_out + j)

        def put(r: int, k: int, value: Value) -> None:
            below.put(r, k, finish(r, k, value) if finish else value)

        product(self.frame, self.rows, n_in, n_out, d.get, weight, lambda i, j: None, put)
        return below

    def _gradients(self, n_in: int, n_out: int, bias: bool, offset: int, x: Grid, d: Grid) -> None:
        """Add to the gradients; of a single sample write them, or take the step at once."""
        descends = self.single and self.options.descent
        target = Grid(self.frame, self.parameters if descends else self.gradients, n_out)
        target.place = self.code.at(target.place, offset * self.frame.vector_bytes)

        def start(k: int, j: int) -> Value | None:
            place = offset + k * n_out + j
            if self.holds:
                return self.held[place]
            return None if self.single and not descends else target.get(k, j)

        def put(k: int, j: int, value: Value) -> None:
            place = offset + k * n_out + j
            if self.holds:
                self.held[place] = value
            else:
                target.put(k, j, value)

        product(
            self.frame, n_in + bias, n_out, self.rows, lambda k, r: x.get(r, k) if k < n_in else None, d.get, start, put
        )

    # -- loss --------------------------------------------------------------------------------------------------------

    def _loss(self, p: Grid, t: Grid, weights: Grid | None, finish: Finish | None) -> tuple[Value, Grid, bool]:
        """Return the sum of the losses, the grid of their gradients, and whether these are finished."""
        d = self._grid(p.n)
        if LOSSES[self.net.loss].elementwise:
            formula, symbols = formulas.LOSSES[self.net.loss], list(map(formulas.symbol, ("p", "t", "parameter")))
            terms = formula.value(*symbols), formula.derivative(*symbols)
            if self._writes_out(p.n, *terms):
                return self._loss_written_out(terms, p, t, weights, d, finish), d, finish is not None
        for grid in (p, t, weights):
            if isinstance(grid, Held):
                grid.spill()
        total = self._loss_in_rows(p, t, weights, d)
        if isinstance(d, Held):
            d.fill()
        return total, d, False

    def _loss_in_rows(self, p: Grid, t: Grid, weights: Grid | None, d: Grid) -> Value:
        code, frame = self.code, self.frame
        write, step = row_of(self.net.loss), frame.vector_bytes

        def row(_: Value, total: Value, p_: Value, t_: Value, d_: Value, w_: Value) -> list[Value]:
            weight = code.load(w_, frame.row) if weights else None
            factor = self.factor if weight is None else self.factor * weight
            value = code.resize(write(frame, code.whole(p.n), self.parameter, p_, t_, d_, factor), DOUBLE)
            total = total + value if weight is None else code.fma(code.resize(weight, DOUBLE), value, total)
            following = ((p_, p.n), (t_, t.n), (d_, d.n), (w_, int(weights is not None)))
            return [total, *(code.at(place, n * step) for place, n in following)]

        starts = [grid.place for grid in (p, t, d, weights or p)]
        return code.loop(0, self.rows, 1, row, code.constant(doubles(frame), 0.0), *starts)[0]

    def _loss_written_out(
        self, terms: tuple[Term, Term], p: Grid, t: Grid, weights: Grid | None, d: Grid, finish: Finish | None
    ) -> Value:
        code, total = self.code, self.code.constant(doubles(self.frame), 0.0)
        for r in range(self.rows):
            weight = weights.get(r, 0) if weights else None
            factor = self.factor if weight is None else self.factor * weight
            value = code.constant(self.frame.row, 0.0)
            for j in range(p.n):
                write = Writer(code, {"p": p.get(r, j), "t": t.get(r, j), "parameter": self.parameter})
                value = value + write(terms[0])
                gradient = factor * write(terms[1])
                d.put(r, j, finish(r, j, gradient) if finish else gradient)
            wide = code.resize(value, DOUBLE)
            total = total + wide if weight is None else code.fma(wide, code.resize(weight, DOUBLE), total)
        return total
