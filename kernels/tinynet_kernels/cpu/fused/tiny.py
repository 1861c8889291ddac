"""The source of a fused function for a tiny network: every weight in a register, every layer a few SIMD instructions.

Outputs of a layer lie in the lanes of one vector. The first layer's weight is a vector for each input, ``z = b + sum_i
x_i w_i``; that of a later layer is a vector over its inputs for each output, so that the forward pass sums lanes and
the backward pass, ``dx = sum_k d_k w_k``, needs no transposition. Sizes are part of the source: there is one function
for each architecture. Lanes beyond a layer's width hold zeros in every parameter; gradients are kept out of them by a
mask.

A step of the notebook's 4-5-3 net is a chain of about 180 cycles, each waiting for the one before; what counts is the
length of that chain, so sums are split in two and polynomials are short (see ``elementary``).
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused import medium
from tinynet_kernels.cpu.fused.writer import HEAD, SIGNATURE, Writer
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Layer, Network

MAX_ELEMENTS = 320
"""Most numbers in registers, padding included. Beyond it the compiler spills, and compiling takes many seconds."""

MAX_LANES = 16

_ACTIVATIONS = {"identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu", "softplus"}
_LOSSES = {"mse", "mae", "huber", "bce_logits", "cross_entropy", "cross_entropy_index"}


def fits(network: Network) -> bool:
    """Whether a network is made of what this module can write, and small enough."""
    layers, optimizer = network.layers, network.optimizer
    if any(layer.kind != "linear" or layer.activation not in _ACTIVATIONS for layer in layers):
        return False
    if network.loss.kind not in _LOSSES or optimizer.clip_norm is not None:
        return False
    # An epsilon of 0 would make 0 / 0 of the lanes that are not used.
    if optimizer.kind != "sgd" and optimizer.settings[_EPSILON[optimizer.kind]] == 0.0:
        return False
    if any(layer.n_out > MAX_LANES for layer in layers):
        return False
    return sum(_count(layer, i) * _lanes_of(layer, i) + lanes(layer.n_out) for i, layer in enumerate(layers)) <= (
        MAX_ELEMENTS
    )


_EPSILON = {"adam": 2, "adamw": 2, "rmsprop": 1}


def lanes(n: int) -> int:
    """Return the lanes that hold ``n`` numbers: the next power of two."""
    return 1 << (n - 1).bit_length()


def _count(layer: Layer, i: int) -> int:
    """Return the number of vectors that hold a layer's weight."""
    return layer.n_in if i == 0 else layer.n_out


def _lanes_of(layer: Layer, i: int) -> int:
    """Return the lanes of each of them."""
    return lanes(layer.n_out if i == 0 else layer.n_in)


class Vector:
    """A vector of parameters: its name, and where its lanes lie in the flat vector."""

    def __init__(self, name: str, offset: int, stride: int, used: int) -> None:
        self.name, self.offset, self.stride, self.used, self.count = name, offset, stride, used, lanes(used)


def vectors(network: Network) -> list[Vector]:
    """Return all vectors of parameters of a network."""
    found, offset = [], 0
    for i, layer in enumerate(network.layers):
        for k in range(_count(layer, i)):
            if i == 0:
                found.append(Vector(f"w{i}_{k}", offset + k * layer.n_out, 1, layer.n_out))
            else:
                found.append(Vector(f"w{i}_{k}", offset + k, layer.n_out, layer.n_in))
        offset += layer.n_in * layer.n_out
        if layer.bias:
            found.append(Vector(f"b{i}", offset, 1, layer.n_out))
            offset += layer.n_out
    return found


def source_of(network: Network, *, single: bool) -> tuple[str, list[float]]:
    """Return the source of the module with the function ``run``, and the settings that go with it.

    ``single`` says that a batch is one sample: then the gradient goes straight into the update.
    """
    write = Writer()
    parameters = vectors(network)
    _load(write, network, parameters)
    write("for e in range(rates.shape[0]):")
    write.depth += 1
    write("total = 0.0", "for u in range((n_visits + batch - 1) // batch):")
    write.depth += 1
    write("rate = real(rates[e, min(u, rates.shape[1] - 1)])", "start = u * batch")
    write("n_rows = min(batch, n_visits - start)")
    medium.name_mass(write, network)
    scale = write.number(network.loss.scale)
    write(f"factor = real({scale} / mass)" if network.loss.mean else f"factor = real({scale})")
    begin_value(write, network)
    if single:
        write("s = start")
        _sample(write, network, add="")
    else:
        write(*(f"g_{vector.name} = lanes.zeros(parameters, {vector.count})" for vector in parameters))
        write("for s in range(start, start + n_rows):")
        write.depth += 1
        _sample(write, network, add="g_{0} + ")
        write.depth -= 1
    end_value(write, network)
    _penalize(write, network, parameters)
    _update(write, network, parameters)
    write.depth -= 1
    write(f"losses[e, 0] = {scale} * {medium.epoch_value(write, network)}")
    write.depth -= 1
    _store(write, network, parameters)
    return write.module(SIGNATURE, HEAD), write.numbers


def value_name(network: Network) -> str:
    """Return where the values of samples are added up: those of a batch apart if each batch has its own divisor."""
    loss = network.loss
    return "part" if loss.mean and loss.by_weight and network.weighted else "total"


def begin_value(write: Writer, network: Network) -> None:
    """Begin the value of a batch."""
    if value_name(network) == "part":
        write("part = 0.0")


def end_value(write: Writer, network: Network) -> None:
    """Add the value of a batch to that of the epoch, in which a batch counts by its rows."""
    if value_name(network) == "part":
        write("total += part * n_rows / mass")


def _load(write: Writer, network: Network, parameters: list[Vector]) -> None:
    """Bring the parameters, and what the optimizer remembers, into vectors."""
    write("real = parameters.dtype.type", "batch = places[0]")
    write("n_visits = order.shape[1]" if network.ordered else "n_visits = x.shape[0]")
    sources = [("", "parameters")] + [(f"m{r}_", f"moments[{r}]") for r in range(n_moments(network))]
    for prefix, source in sources:
        for v in parameters:
            write(f"{prefix}{v.name} = lanes.load(parameters, {source}, {v.offset}, {v.stride}, {v.used}, {v.count})")
    for i, layer in enumerate(network.layers):
        write(f"used{i} = lanes.first({layer.n_out}, {lanes(layer.n_out)})")
        if not layer.bias:
            write(f"b{i} = lanes.zeros(parameters, {lanes(layer.n_out)})")
        write(f"alpha{i} = real({write.number(layer.alpha)})")
    if not LOSSES[network.loss.kind].index_target:
        write("targets = y.reshape(-1)")
    write("zero = real(0)", f"parameter = real({write.number(network.loss.parameter)})")


def _store(write: Writer, network: Network, parameters: list[Vector]) -> None:
    targets = [("", "parameters")] + [(f"m{r}_", f"moments[{r}]") for r in range(n_moments(network))]
    for prefix, target in targets:
        for v in parameters:
            write(f"lanes.store({prefix}{v.name}, {target}, {v.offset}, {v.stride}, {v.used})")


def n_moments(network: Network) -> int:
    """Return how many vectors the optimizer remembers for each parameter."""
    kind, settings = network.optimizer.kind, network.optimizer.settings
    if kind == "sgd":
        return int(settings[0] != 0)
    if kind == "rmsprop":
        return 1 + int(settings[3] != 0) + int(settings[4] != 0)
    return 2


def _sample(write: Writer, network: Network, add: str) -> None:
    """Write the forward and backward pass of sample ``s``; ``add`` is what a gradient is added to."""
    layers = network.layers
    write("row = order[e, s]" if network.ordered else "row = s")
    write(*(f"x{i} = real(x[row, {i}])" for i in range(layers[0].n_in)))
    for i, layer in enumerate(layers):
        count = _count(layer, i)
        if i == 0:
            terms = [f"x{k} * w0_{k}" for k in range(count)]
            half = (count + 1) // 2
            write(f"z0 = (b0 + {' + '.join(terms[:half])})" + (f" + ({' + '.join(terms[half:])})" if count > 1 else ""))
        else:
            write(f"z{i} = b{i}")
            write(*(f"s{i}_{k} = lanes.total(y{i - 1} * w{i}_{k})" for k in range(count)))
            write(f"sums{i} = lanes.zeros(parameters, {lanes(count)})")
            write(*(f"sums{i} = lanes.put(sums{i}, {k}, s{i}_{k})" for k in range(count)))
            write(f"z{i} = b{i} + sums{i}")
        if layer.activation == "identity":
            write(f"y{i} = z{i}")
        else:
            write(f"y{i} = activations._{layer.activation}(z{i}, alpha{i})")
    _loss(write, network)
    for i in range(len(layers) - 1, -1, -1):
        _backward(write, layers[i], i, add)


def _loss(write: Writer, network: Network) -> None:
    last = len(network.layers) - 1
    n = network.layers[last].n_out
    index = LOSSES[network.loss.kind].index_target
    if index:
        write(f"wanted = lanes.only(y[row], {lanes(n)})")
    else:
        write(f"t = lanes.load(parameters, targets, row * {n}, 1, {n}, {lanes(n)})")
    if LOSSES[network.loss.kind].elementwise:
        write(f"value, slope = losses_of._{network.loss.kind}(y{last}, t, parameter)")
        write(f"value = lanes.total(select(used{last}, value, zero))")
    else:
        write(f"value, slope = softmax.{network.loss.kind}(y{last}, {'wanted' if index else 't'}, used{last})")
    if network.weighted:
        write("weight = sample_weight[row]", f"{value_name(network)} += float(value) * weight")
        write(f"d{last} = select(used{last}, slope * (factor * weight), zero)")
    else:
        write(f"{value_name(network)} += value", f"d{last} = select(used{last}, slope * factor, zero)")


def _backward(write: Writer, layer: Layer, i: int, add: str) -> None:
    """Write the way back through a layer, from ``d`` of its output to that of its input."""
    if layer.activation != "identity":
        write(f"d{i} = d{i} * activations._{layer.activation}_derivative(z{i}, y{i}, alpha{i})")
    count = _count(layer, i)
    if i == 0:
        write(*(f"g_w0_{k} = {add.format(f'w0_{k}')}x{k} * d0" for k in range(count)))
    else:
        below = i - 1
        write(*(f"d{i}_{k} = lanes.lane(d{i}, {k})" for k in range(count)))
        terms = [f"d{i}_{k} * w{i}_{k}" for k in range(count)]
        write(f"d{below} = {' + '.join(terms)}", f"h{below} = select(used{below}, y{below}, zero)")
        write(*(f"g_w{i}_{k} = {add.format(f'w{i}_{k}')}d{i}_{k} * h{below}" for k in range(count)))
    if layer.bias:
        write(f"g_b{i} = {add.format(f'b{i}')}d{i}")


def _penalize(write: Writer, network: Network, parameters: list[Vector]) -> None:
    """Add the L2 penalty to the gradients and to ``total``; see ``medium.penalize``."""
    loss = network.loss
    if not loss.l2:
        return
    write(f"strength = {write.number(loss.l2)}" + " / mass" * loss.mean, "decay = real(strength)", "squares = 0.0")
    for v in parameters:
        if v.name.startswith("w"):
            write(f"squares += lanes.total({v.name} * {v.name})", f"g_{v.name} = g_{v.name} + decay * {v.name}")
    write(f"total += squares * strength * {write.number(0.5 / (loss.report * loss.scale))}" + " * n_rows" * loss.mean)


def _update(write: Writer, network: Network, parameters: list[Vector]) -> None:
    optimizer = network.optimizer
    write("step += 1")
    clip = optimizer.clip_value
    if clip is not None:
        write(f"limit = real({write.number(clip)})")
        for v in parameters:
            write(f"g_{v.name} = select(g_{v.name} > limit, limit, g_{v.name})")
            write(f"g_{v.name} = select(g_{v.name} < -limit, -limit, g_{v.name})")
    _UPDATES[optimizer.kind](write, parameters, *optimizer.settings)


def _sgd(write: Writer, parameters: list[Vector], momentum: float, nesterov: float, decay: float) -> None:
    write(f"momentum = real({write.number(momentum)})", f"decay = real({write.number(decay)})")
    for v in parameters:
        p, g, m = v.name, f"g_{v.name}", f"m0_{v.name}"
        if decay:
            write(f"{g} = {g} + decay * {p}")
        if momentum:
            write(f"{m} = momentum * {m} + {g}")
            write(f"{g} = {g} + momentum * {m}" if nesterov else f"{g} = {m}")
        write(f"{p} = {p} - rate * {g}")


def _adam(
    write: Writer, parameters: list[Vector], beta1: float, beta2: float, epsilon: float, decay: float, hat: float
) -> None:
    if decay:
        write(f"decay = real({write.number(decay)})")
        write(*(f"g_{v.name} = g_{v.name} + decay * {v.name}" for v in parameters))
    _adam_rest(write, parameters, beta1, beta2, epsilon, "_hat" if hat else "")


def _adamw(write: Writer, parameters: list[Vector], beta1: float, beta2: float, epsilon: float, decay: float) -> None:
    write(f"keep = real(1.0 - rate * {write.number(decay)})")
    write(*(f"{v.name} = keep * {v.name}" for v in parameters))
    _adam_rest(write, parameters, beta1, beta2, epsilon)


def _adam_rest(
    write: Writer, parameters: list[Vector], beta1: float, beta2: float, epsilon: float, form: str = ""
) -> None:
    one, two = write.number(beta1), write.number(beta2)
    rate = "rates[e, min(u, rates.shape[1] - 1)]"
    write(f"corrected, root = optimizers._bias_correction{form}(step, {rate}, {one}, {two})")
    write("corrected_rate = real(corrected)", "inverse_root = real(1.0 / root)")
    write(f"new1 = real(1.0 - {one})", f"old2 = real({two})", f"new2 = real(1.0 - {two})")
    write(f"epsilon = real({write.number(epsilon)})")
    for v in parameters:
        p, g, first, second = v.name, f"g_{v.name}", f"m0_{v.name}", f"m1_{v.name}"
        write(f"{first} = {first} + new1 * ({g} - {first})", f"{second} = old2 * {second} + new2 * {g} * {g}")
        write(f"{p} = {p} - corrected_rate * ({first} / (sqrt({second}) * inverse_root + epsilon))")


def _rmsprop(
    write: Writer,
    parameters: list[Vector],
    alpha: float,
    epsilon: float,
    decay: float,
    momentum: float,
    centered: float,
) -> None:
    a = write.number(alpha)
    write(f"old = real({a})", f"new = real(1.0 - {a})", f"epsilon = real({write.number(epsilon)})")
    write(f"decay = real({write.number(decay)})", f"momentum = real({write.number(momentum)})")
    last = 1 + int(momentum != 0)
    for v in parameters:
        p, g, square, mean = v.name, f"g_{v.name}", f"m0_{v.name}", f"m{last}_{v.name}"
        if decay:
            write(f"{g} = {g} + decay * {p}")
        write(f"{square} = old * {square} + new * {g} * {g}", f"variance = {square}")
        if centered:
            write(f"{mean} = {mean} + new * ({g} - {mean})", f"variance = variance - {mean} * {mean}")
            write("variance = select(variance < 0, zero, variance)")
        write(f"direction = {g} / (sqrt(variance) + epsilon)")
        if momentum:
            write(f"direction = direction + momentum * m1_{v.name}", f"m1_{v.name} = direction")
        write(f"{p} = {p} - rate * direction")


_UPDATES: dict[str, Callable[..., None]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop}
