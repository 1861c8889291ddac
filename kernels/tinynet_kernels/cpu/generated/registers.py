"""Tiny networks, one sample after the other: every weight in a register, from the first sample to the last.

Outputs of a layer lie in the lanes of one vector. The first layer's weight is a vector for each input, ``z = b +
sum_k x_k w_k``; that of a later layer is a vector over its inputs for each output, so that the forward pass sums
lanes and the backward pass, ``dx = sum_j d_j w_j``, needs no transposition. Lanes beyond a layer's width hold zeros
in every parameter; gradients are kept out of them by a mask.

A step of a 4-5-3 network is a chain of about 180 cycles, each waiting for the one before; what counts is the length of
that chain, so sums are split in two and polynomials are short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinynet_kernels.cpu.generated.elementary import exp_nonpositive, log
from tinynet_kernels.cpu.generated.frame import Frame
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import DOUBLE, I64, lanes_of, vector
from tinynet_kernels.cpu.generated.small import (
    Small,
    activate,
    blocks_loss,
    elementwise_loss,
    is_plain,
    label_at,
    number_at,
    slope,
)
from tinynet_kernels.cpu.generated.updates import numbers_of, settings_of, updated
from tinynet_kernels.kinds import LOSSES, n_targets
from tinynet_kernels.network import Layer, Network
from tinynet_kernels.updates import SETTINGS, n_moments

MAX_ELEMENTS = 320
"""Most numbers in registers, padding included. Beyond it the compiler spills, and takes long."""

MAX_LANES = 16


def fits(network: Network, batch: int) -> bool:
    """Whether a network is tiny and plain enough, and its batches are single samples."""
    optimizer, layers = network.optimizer, network.layers
    if batch != 1 or not is_plain(network) or (network.loss.by_weight and network.loss.mean):
        return False
    if optimizer.clip_norm is not None or optimizer.clip_value is not None:
        return False
    # An epsilon of 0 would make 0 / 0 of the lanes that are not used.
    epsilon = dict(zip(SETTINGS[optimizer.kind], optimizer.settings, strict=True)).get("epsilon")
    if epsilon == 0.0 or any(layer.n_out > MAX_LANES for layer in layers):
        return False
    return sum(place.lanes for place in places_of(layers)) <= MAX_ELEMENTS


class Place(NamedTuple):
    """A vector of parameters: where its lanes lie in the flat vector."""

    offset: int
    stride: int
    used: int
    lanes: int


def lanes_for(n: int) -> int:
    """Return the lanes that hold ``n`` numbers: the next power of two."""
    return 1 << (n - 1).bit_length()


def places_of(layers: Sequence[Layer]) -> list[Place]:
    """Return all vectors of parameters: of each layer those of its weight, and its bias."""
    found, offset = [], 0
    for i, layer in enumerate(layers):
        n_in, n_out = layer.n_in, layer.n_out
        if i == 0:
            found += [Place(offset + k * n_out, 1, n_out, lanes_for(n_out)) for k in range(n_in)]
        else:
            found += [Place(offset + j, n_out, n_in, lanes_for(n_in)) for j in range(n_out)]
        offset += n_in * n_out
        if layer.bias:
            found.append(Place(offset, 1, n_out, lanes_for(n_out)))
            offset += n_out
    return found


def registers(net: Small) -> Callable[[Frame], None]:
    """Return what writes all epochs: it counts them itself, as ``laps``.

    Arguments: bytes of the flat vector; the factor of one element of the loss, that of what is reported; one that is
    not used; then the settings of the optimizer.
    """

    def body(frame: Frame) -> None:
        _Epochs(frame, net).write()

    return body


class _Epochs:
    def __init__(self, frame: Frame, net: Small) -> None:
        self.frame, self.code, self.net = frame, frame.code, net
        self.places = places_of(net.layers)
        self.kinds = [vector(frame.real, place.lanes) for place in self.places]
        kind, *on = net.step
        self.optimizer, self.on = kind, tuple(on)
        self.moments = n_moments(kind, self.on)
        self.plain = kind == "sgd" and not on
        """Then minus the rate is in the gradient from the start, and an update is one multiply-add."""
        self.x, self.x_row = frame.pointer("x"), frame.whole("x_row")
        self.y, self.y_row = frame.pointer("y"), frame.whole("y_row")
        self.weight, self.weight_row = frame.pointer("weight"), frame.whole("weight_row")
        self.scale = frame.double(1)

    def write(self) -> None:
        frame, code = self.frame, self.code
        sources = [frame.pointer("parameters")]
        sources += [code.at(frame.pointer("moments"), frame.size(0) * i) for i in range(self.moments)]
        values = [self._fetch(source, *place) for source in sources for place in self.places]
        n_visits, counted, divisor = frame.whole("n_visits"), self.scale * frame.double(2), frame.state("divisor")
        n_rates, losses = frame.whole("n_rates"), frame.pointer("losses")

        def epoch(e: Value, step: Value, *values: Value) -> list[Value]:
            order = code.at(frame.pointer("order"), e * frame.whole("order_step"))
            rates = code.at(frame.pointer("rates"), e * n_rates, DOUBLE)

            def visit(s: Value, total: Value, step: Value, *values: Value) -> list[Value]:
                rate = code.load(code.at(rates, code.smaller(s, n_rates - 1), DOUBLE), DOUBLE)
                index = code.load(code.at(order, s, I64), I64)
                value, updated = self._sample(index, rate, step + 1, values)
                return [total + value, step + 1, *updated]

            start = code.constant(DOUBLE, 0.0)
            total, step, *after = code.loop(0, n_visits, 1, visit, start, step, *values)
            code.store(counted * total / divisor, code.at(losses, e, DOUBLE))
            return [step, *after]

        _, *after = code.loop(0, frame.whole("laps"), 1, epoch, frame.whole("step"), *values)
        for i, target in enumerate(sources):
            for value, place in zip(after[i * len(self.places) :], self.places, strict=False):
                self._put(value, target, *place)

    # -- between vectors and memory ----------------------------------------------------------------------------------

    def _fetch(self, source: Value, offset: int, stride: int, used: int, lanes: int) -> Value:
        code, frame = self.code, self.frame
        kind = vector(frame.real, lanes)
        found = code.constant(kind, 0.0)
        for lane in range(used):
            number = code.load(code.at(source, offset + lane * stride, frame.real), frame.real)
            found = self._insert(found, number, lane)
        return found

    def _insert(self, into: Value, number: Value, lane: int) -> Value:
        if lanes_of(into.kind) == 1:
            return number
        return self.code.op(into.kind, f"insertelement {into}, {number}, i64 {lane}")

    def _inserted(self, kind: str, numbers: Sequence[Value]) -> Value:
        """Return a vector with numbers in its first lanes, and zeros in the others."""
        found = self.code.constant(kind, 0.0)
        for lane, number in enumerate(numbers):
            found = self._insert(found, number, lane)
        return found

    def _lane(self, value: Value, lane: int) -> Value:
        return value if lanes_of(value.kind) == 1 else self.code.extract(value, lane)

    def _put(self, value: Value, target: Value, offset: int, stride: int, used: int, lanes: int) -> None:
        for lane in range(used):
            self.code.store(self._lane(value, lane), self.code.at(target, offset + lane * stride, self.frame.real))

    def _within(self, value: Value, used: int) -> Value:
        """Return a vector with zeros beyond the lanes in use."""
        lanes = lanes_of(value.kind)
        if used == lanes:
            return value
        mask = ", ".join(f"i1 {int(lane < used)}" for lane in range(lanes))
        condition = Value(self.code, f"<{lanes} x i1>", f"<{mask}>")
        return self.code.select(condition, value, self.code.constant(value.kind, 0.0))

    # -- one sample --------------------------------------------------------------------------------------------------

    def _sample(self, index: Value, rate: Value, step: Value, values: Sequence[Value]) -> tuple[Value, list[Value]]:
        """Return the loss of a sample, and all values after the update from it."""
        code, net, frame = self.code, self.net, self.frame
        weights, biases = self._by_layer(values[: len(self.places)])
        source = code.at(self.x, index * self.x_row)
        x = [number_at(frame, code.at(source, k * int(net.x[2:])), net.x) for k in range(net.layers[0].n_in)]
        pre: list[Value] = []
        outputs: list[Value] = []
        for i, layer in enumerate(net.layers):
            z = self._first(x, weights[0], biases[0]) if i == 0 else self._later(outputs[-1], weights[i], biases[i])
            pre.append(z)
            outputs.append(z if layer.activation == "identity" else activate(code, layer, z))
        value, d = self._loss(outputs[-1], index)
        factor = code.resize(self.scale * -rate if self.plain else self.scale, frame.real)
        if net.weight:
            weight = number_at(frame, code.at(self.weight, index * self.weight_row), net.weight)
            factor, value = factor * weight, value * code.resize(weight, DOUBLE)
        n_out = net.layers[-1].n_out
        d = self._within(d * code.spread(factor, lanes_of(d.kind)), n_out)
        pairs = self._backward(x, weights, pre, outputs, d)
        return value, self._updated(values, pairs, rate, step)

    def _by_layer(self, values: Sequence[Value]) -> tuple[list[list[Value]], list[Value | None]]:
        """Return the weights and the bias of each layer."""
        weights, biases, at = [], [], 0
        for i, layer in enumerate(self.net.layers):
            count = layer.n_in if i == 0 else layer.n_out
            weights.append(list(values[at : at + count]))
            biases.append(values[at + count] if layer.bias else None)
            at += count + layer.bias
        return weights, biases

    def _first(self, x: list[Value], weights: list[Value], bias: Value | None) -> Value:
        """Return ``z`` of the first layer, from two sums, which halves the chain."""
        code, kind = self.code, weights[0].kind
        spread = [code.spread(one, lanes_of(kind)) for one in x]
        half = (len(x) + 1) // 2
        sums = []
        for start, part in ((bias, range(half)), (None, range(half, len(x)))):
            total = start
            for k in part:
                total = spread[k] * weights[k] if total is None else code.fma(spread[k], weights[k], total)
            if total is not None:
                sums.append(total)
        return sums[0] + sums[1] if len(sums) == 2 else sums[0]

    def _later(self, y: Value, weights: list[Value], bias: Value | None) -> Value:
        """Return ``z`` of a later layer, a sum over lanes for each output."""
        code, lanes = self.code, lanes_for(len(weights))
        z = code.constant(vector(self.frame.real, lanes), 0.0)
        for j, weight in enumerate(weights):
            z = self._insert(z, code.total(y * weight), j)
        return z if bias is None else bias + z

    def _loss(self, p: Value, index: Value) -> tuple[Value, Value]:
        """Return the loss of a sample, a double, and its derivative by the prediction."""
        code, net, frame = self.code, self.net, self.frame
        n, lanes = net.layers[-1].n_out, lanes_of(p.kind)
        place = code.at(self.y, index * self.y_row)
        if net.loss == "cross_entropy_index":
            bits = f"i{8 * frame.bytes}"
            kind = vector(bits, lanes)
            label = code.spread(code.convert("trunc", label_at(frame, place, net.y), bits), lanes)
            chosen = code.compare("==", code.counting(kind) if lanes > 1 else code.constant(bits, 0), label)
            t = code.select(chosen, code.constant(p.kind, 1.0), 0.0)
        else:
            numbers = [
                number_at(frame, code.at(place, j * int(net.y[2:])), net.y) for j in range(n_targets(net.loss, n))
            ]
            if LOSSES[net.loss].outputs > 1:
                total, found = blocks_loss(code, net, [self._lane(p, j) for j in range(n)], numbers)
                return code.resize(total, DOUBLE), self._inserted(p.kind, found)
            t = self._inserted(p.kind, numbers)
        if LOSSES[net.loss].elementwise:
            value, slopes = elementwise_loss(code, net, p, t)
            return code.resize(code.total(self._within(value, n)), DOUBLE), slopes
        return self._cross_entropy(p, t, n)

    def _cross_entropy(self, z: Value, t: Value, n: int) -> tuple[Value, Value]:
        code = self.code
        peak = self._lane(z, 0)
        for j in range(1, n):
            other = self._lane(z, j)
            peak = code.select(code.compare(">", peak, other), peak, other)
        lanes = lanes_of(z.kind)
        shifted = self._within(z - code.spread(peak, lanes), n)
        e = self._within(exp_nonpositive(shifted), n)
        total = code.total(e)
        mass = code.constant(total.kind, 1.0) if self.net.loss == "cross_entropy_index" else code.total(t)
        value = log(total) * mass - code.total(t * shifted)
        return code.resize(value, DOUBLE), e * code.spread(mass / total, lanes) - t

    def _backward(
        self, x: list[Value], weights: list[list[Value]], pre: list[Value], outputs: list[Value], d: Value
    ) -> list[tuple[Value, Value | None]]:
        """Return the gradient of each vector of parameters, as the factors of a product or as one value."""
        code, net = self.code, self.net
        found: list[tuple[Value, Value | None]] = []
        for i in range(len(net.layers) - 1, -1, -1):
            layer = net.layers[i]
            if layer.activation != "identity":
                d = d * slope(code, layer, pre[i], outputs[i])
            own: list[tuple[Value, Value | None]]
            if i == 0:
                own = [(code.spread(one, lanes_of(d.kind)), d) for one in x]
                found = [*own, *([(d, None)] * layer.bias), *found]
                break
            below = net.layers[i - 1]
            lanes = lanes_for(below.n_out)
            each = [code.spread(self._lane(d, j), lanes) for j in range(layer.n_out)]
            h = self._within(outputs[i - 1], below.n_out)
            own = [(one, h) for one in each]
            found = [*own, *([(d, None)] * layer.bias), *found]
            total = each[0] * weights[i][0]
            for one, weight in zip(each[1:], weights[i][1:], strict=True):
                total = code.fma(one, weight, total)
            d = total
        return found

    def _updated(
        self, values: Sequence[Value], gradients: list[tuple[Value, Value | None]], rate: Value, step: Value
    ) -> list[Value]:
        """Return parameters and moments after a step."""
        code, n = self.code, len(self.places)
        if self.plain:
            pairs = zip(values, gradients, strict=True)
            return [p + a if b is None else code.fma(a, b, p) for p, (a, b) in pairs]
        settings = settings_of(self.frame, self.optimizer, 3)
        numbers = numbers_of(code, self.optimizer, self.on, settings, rate, step)
        found: list[list[Value]] = [[] for _ in range(1 + self.moments)]
        for i, (a, b) in enumerate(gradients):
            lanes, real = lanes_of(a.kind), self.frame.real
            spread = {name: code.spread(code.resize(value, real), lanes) for name, value in numbers.items()}
            held = [values[(m + 1) * n + i] for m in range(self.moments)]
            g = a if b is None else a * b
            for row, value in zip(
                found, updated(code, self.optimizer, self.on, spread, values[i], g, held), strict=True
            ):
                row.append(value)
        return [value for row in found for value in row]
