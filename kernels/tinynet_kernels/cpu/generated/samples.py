"""Small networks, batches of several samples: the samples lie side by side in the lanes.

Every number of the algorithm for one sample is a vector here, over the samples of a group: inputs are gathered into
lanes, weights are spread over them, and a group goes forward and back without a loop. The products that make the
gradient of a weight are summed over the lanes, a register of weights at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinynet_kernels.cpu.generated.elementary import exp_nonpositive, log
from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, lanes_of, vector, with_element
from tinynet_kernels.cpu.generated.small import (
    Small,
    activate,
    blocks_loss,
    elementwise_loss,
    is_plain,
    label_at,
    n_parameters,
    number_at,
    slope,
)
from tinynet_kernels.cpu.generated.target import VECTORS
from tinynet_kernels.kinds import LOSSES, n_targets
from tinynet_kernels.network import Network

MAX_PARAMETERS = 160
"""Each takes several instructions; from about here on tiles are as quick (measured)."""

MIN_ROWS = 2
"""A batch of one sample has nothing to put side by side."""


def fits(network: Network, batch: int) -> bool:
    """Whether a network is small and plain enough."""
    return is_plain(network) and batch >= MIN_ROWS and n_parameters(network.layers) <= MAX_PARAMETERS


def lanes_for(batch: int, lanes: int) -> int:
    """Return how many samples go side by side: while one register waits for a result, a second one goes on.

    Examples
    --------
    >>> lanes_for(10, 8), lanes_for(3, 8), lanes_for(100, 8)
    (16, 4, 16)
    """
    return min(1 << (batch - 1).bit_length(), VECTORS * lanes)


def samples(net: Small) -> Callable[[Frame], None]:
    """Return what writes the pass of a block of rows. Its loss and gradient go to ``total`` and to the arena.

    Arguments: parameters, gradients, both as one flat vector; sums, a vector for each parameter; the factor of one
    element of the loss, that of what is reported, whether a batch's mean is meant.
    """

    def body(frame: Frame) -> None:
        _Pass(frame, net).write()

    return body


class _Pass:
    def __init__(self, frame: Frame, net: Small) -> None:
        self.frame, self.code, self.net = frame, frame.code, net
        self.count = lanes_for(net.batch, frame.lanes)
        self.used = min(net.batch, self.count)
        self.kind = vector(frame.real, self.count)
        self.parameters, self.gradients, self.sums = (frame.place(i) for i in range(3))
        self.gradients = frame.code.at(self.gradients, frame.whole("range_gradient"))
        self.n = n_parameters(net.layers)
        self.several = net.batch > self.count

    def write(self) -> None:
        frame, code = self.frame, self.code
        self.order = code.at(frame.pointer("order"), frame.whole("epoch") * frame.whole("order_step"))
        self.order = code.at(self.order, frame.whole("start") + frame.whole("first"), I64)
        self.rows = frame.whole("rows")
        self.sources = {name: (frame.pointer(name), frame.whole(f"{name}_row")) for name in self._names()}
        scale, mean = frame.double(3), code.compare("!=", frame.size(5), 0)
        # A mean over the batch counts for all rows of it, of which a range has some.
        rows = code.convert("sitofp", frame.whole("batch_rows"), DOUBLE)
        mass = frame.state("mass")
        self.factor = code.spread(code.resize(scale / code.select(mean, mass, 1.0), frame.real), self.count)
        counted = scale * frame.double(4) * code.select(mean, rows / mass, 1.0)
        zero = code.constant(self.kind, 0.0)
        if self.several:
            code.loop(0, self.n, 1, lambda i: code.store(zero, code.at(self.sums, i, self.kind)))
        wide = with_element(self.kind, DOUBLE)
        (total,) = code.loop(0, self.rows, self.count, self._group, code.constant(wide, 0.0))
        if self.several:
            self._reduce([code.load(code.at(self.sums, i, self.kind), self.kind) for i in range(self.n)])
        frame.put("total", code.fma(counted, code.total(total), frame.state("total")))

    def _names(self) -> list[str]:
        return ["x", "y", *(["weight"] if self.net.weight else [])]

    def _group(self, first: Value, total: Value) -> list[Value]:
        """Take samples from ``first`` on forward and back; return the sum of their losses.

        The last group of a batch may be smaller: lanes beyond it repeat its last sample, and count for nothing.
        """
        code, net, frame = self.code, self.net, self.frame
        last = self.rows - 1
        places = [code.smaller(first + lane, last) for lane in range(self.used)]
        self.index = [code.load(code.at(self.order, place, I64), I64) for place in places]
        bits = f"i{8 * frame.bytes}"
        left = code.convert("trunc", self.rows - first, bits)
        self.valid = code.compare("<", code.counting(vector(bits, self.count)), code.spread(left, self.count))
        x = [self._column("x", k, net.x) for k in range(net.layers[0].n_in)]
        weight = self._column("weight", 0, net.weight) if net.weight else None
        inputs, pre, outputs = [], [], []
        offset, offsets = 0, []
        for layer in net.layers:
            inputs.append(x)
            offsets.append(offset)
            z = self._affine(layer.n_in, layer.n_out, layer.bias, offset, x)
            x = z if layer.activation == "identity" else [activate(code, layer, one) for one in z]
            pre.append(z)
            outputs.append(x)
            offset += (layer.n_in + layer.bias) * layer.n_out
        value, d = self._loss(x)
        factor = self.factor if weight is None else self.factor * weight
        zero = code.constant(self.kind, 0.0)
        d = [code.select(self.valid, one * factor, zero) for one in d]
        value = code.select(self.valid, value if weight is None else value * weight, zero)
        found: dict[int, Value] = {}
        for i in range(len(net.layers) - 1, -1, -1):
            layer = net.layers[i]
            if layer.activation != "identity":
                d = [one * slope(code, layer, z, y) for one, z, y in zip(d, pre[i], outputs[i], strict=True)]
            self._gradients(found, offsets[i], inputs[i], d, layer.bias)
            if i:
                d = self._back(layer.n_in, layer.n_out, offsets[i], d)
        if not self.several:
            self._reduce([found[i] for i in range(self.n)])
        return [total + code.resize(value, DOUBLE)]

    def _column(self, name: str, k: int, dtype: str) -> Value:
        """Gather a column of a source into the lanes."""
        code, frame = self.code, self.frame
        origin, step = self.sources[name]
        found = code.constant(self.kind, 0.0)
        for lane, index in enumerate(self.index):
            number = number_at(frame, code.at(code.at(origin, index * step), k * int(dtype[2:])), dtype)
            found = code.op(self.kind, f"insertelement {found}, {number}, i64 {lane}")
        return found

    def _labels(self) -> Value:
        """Gather class numbers into the lanes, in numbers of the arrays' type: there are few classes."""
        code, frame = self.code, self.frame
        origin, step = self.sources["y"]
        found = code.constant(self.kind, 0.0)
        for lane, index in enumerate(self.index):
            label = code.convert("sitofp", label_at(frame, code.at(origin, index * step), self.net.y), frame.real)
            found = code.op(self.kind, f"insertelement {found}, {label}, i64 {lane}")
        return found

    def _parameter(self, place: int) -> Value:
        number = self.code.load(self.code.at(self.parameters, place, self.frame.real), self.frame.real)
        return self.code.spread(number, self.count)

    def _affine(self, n_in: int, n_out: int, bias: bool, offset: int, x: Sequence[Value]) -> list[Value]:
        code, found = self.code, []
        for j in range(n_out):
            z = self._parameter(offset + n_in * n_out + j) if bias else code.constant(self.kind, 0.0)
            for k, one in enumerate(x):
                z = code.fma(one, self._parameter(offset + k * n_out + j), z)
            found.append(z)
        return found

    def _back(self, n_in: int, n_out: int, offset: int, d: Sequence[Value]) -> list[Value]:
        code, found = self.code, []
        for k in range(n_in):
            total = d[0] * self._parameter(offset + k * n_out)
            for j in range(1, n_out):
                total = code.fma(d[j], self._parameter(offset + k * n_out + j), total)
            found.append(total)
        return found

    def _gradients(
        self, found: dict[int, Value], offset: int, x: Sequence[Value], d: Sequence[Value], bias: bool
    ) -> None:
        """Add the products to the sums of several groups, or keep those of the only one."""
        code, n_out = self.code, len(d)
        products = {offset + k * n_out + j: (one, slope) for k, one in enumerate(x) for j, slope in enumerate(d)}
        if not self.several:
            found |= {place: a * b for place, (a, b) in products.items()}
            found |= {offset + len(x) * n_out + j: slope for j, slope in enumerate(d)} if bias else {}
            return
        for place, (a, b) in products.items():
            there = code.at(self.sums, place, self.kind)
            code.store(code.fma(a, b, code.load(there, self.kind)), there)
        for j, slope_ in enumerate(d) if bias else ():
            there = code.at(self.sums, offset + len(x) * n_out + j, self.kind)
            code.store(code.load(there, self.kind) + slope_, there)

    def _reduce(self, sums: Sequence[Value]) -> None:
        """Sum each gradient over the lanes, as many gradients at a time as there are lanes."""
        code, lanes = self.code, min(self.count, self.frame.lanes)
        if self.count > lanes:
            low, high = range(lanes), range(lanes, 2 * lanes)
            sums = [code.shuffle(one, one, low) + code.shuffle(one, one, high) for one in sums]
        for at in range(0, len(sums), lanes):
            group = list(sums[at : at + lanes])
            totals = totals_of(group + [code.constant(group[0].kind, 0.0)] * (lanes - len(group)))
            if self.net.step:
                # Plain gradient descent needs no gradients but these.
                place = code.at(self.parameters, at, self.frame.real)
                rate = code.spread(code.resize(self.frame.state("rate"), self.frame.real), lanes)
                code.store(code.load(place, totals.kind) - rate * totals, place)
                continue
            # What is beyond the last parameter is padding of the vector of gradients.
            code.store(totals, code.at(self.gradients, at, self.frame.real))

    def _loss(self, p: list[Value]) -> tuple[Value, list[Value]]:
        """Return the loss of each sample, and its derivative by each prediction."""
        code, net = self.code, self.net
        if LOSSES[net.loss].elementwise:
            parts = [elementwise_loss(code, net, one, self._column("y", j, net.y)) for j, one in enumerate(p)]
            value = parts[0][0]
            for other, _ in parts[1:]:
                value = value + other
            return value, [slope for _, slope in parts]
        if LOSSES[net.loss].outputs > 1:
            t = [self._column("y", j, net.y) for j in range(n_targets(net.loss, len(p)))]
            return blocks_loss(code, net, p, t)
        return self._cross_entropy(p)

    def _cross_entropy(self, p: list[Value]) -> tuple[Value, list[Value]]:
        code, net = self.code, self.net
        one, zero = code.constant(self.kind, 1.0), code.constant(self.kind, 0.0)
        if net.loss == "cross_entropy_index":
            label = self._labels()
            t = [code.select(code.compare("==", label, float(j)), one, zero) for j in range(len(p))]
            mass = one
        else:
            t = [self._column("y", j, net.y) for j in range(len(p))]
            mass = _sum(t)
        peak = p[0]
        for other in p[1:]:
            peak = code.select(code.compare(">", peak, other), peak, other)
        shifted = [z - peak for z in p]
        e = [exp_nonpositive(z) for z in shifted]
        total = _sum(e)
        share = mass / total
        value = log(total) * mass - _sum([a * b for a, b in zip(t, shifted, strict=True)])
        return value, [a * share - b for a, b in zip(e, t, strict=True)]


def _sum(values: Sequence[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def totals_of(rows: Sequence[Value]) -> Value:
    """Return the sums over the lanes of as many vectors as there are lanes: that of vector j in lane j."""
    code, n, found = rows[0].code, len(rows), list(rows)
    assert n == lanes_of(rows[0].kind)
    size = n // 2
    while size:
        low = [lane if not lane & size else n + lane - size for lane in range(n)]
        high = [lane + size if not lane & size else n + lane for lane in range(n)]
        found = [
            code.shuffle(found[r], found[r + size], low) + code.shuffle(found[r], found[r + size], high)
            for r in range(size)
        ]
        size //= 2
    return found[0]
