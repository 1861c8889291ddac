"""The source of a fused function for a small network and batches of several samples: the samples lie in the lanes.

Every number of the algorithm for one sample is a vector here, over the samples of a group: inputs are gathered into
lanes, weights are read from memory and spread over all lanes, and a group goes forward and back without a loop. The
products that make the gradient of a weight are summed over the lanes, eight weights at a time. Sizes are part of the
source: there is one function for each architecture.

A batch of 10 through the notebook's 4-5-3 net takes half of the time that ``tiny`` needs, whose samples go through one
by one with most lanes idle.
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused import lanes, medium, tiny
from tinynet_kernels.cpu.fused.writer import HEAD, SIGNATURE, Writer
from tinynet_kernels.kinds import LOSSES
from tinynet_kernels.network import Layer, Network

MAX_PARAMETERS = 160
"""Most parameters. Each takes several instructions, and from here on compiling takes more than a few seconds."""

MIN_ROWS = 4
"""Smallest batch that is quicker here than one sample after the other with its weights in registers (measured)."""

_ACTIVATIONS = {"identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu", "softplus"}


def fits(network: Network, batch_size: int) -> bool:
    """Whether a network is made of what this module can write, small enough, and its batches are large enough."""
    if any(layer.kind != "linear" or layer.activation not in _ACTIVATIONS for layer in network.layers):
        return False
    n_parameters = sum((layer.n_in + layer.bias) * layer.n_out for layer in network.layers)
    return batch_size >= MIN_ROWS and network.loss.kind in _LOSSES and n_parameters <= MAX_PARAMETERS


def source_of(network: Network, batch_size: int) -> tuple[str, list[float]]:
    """Return the source of the module with the function ``run``, and the settings that go with it."""
    write = Writer()
    # Two registers for each vector: while one waits for a result, the other goes on.
    count = min(tiny.lanes(batch_size), 2 * lanes.native(network.dtype))
    several = batch_size > count
    gradients = _gradient_names(network.layers)
    write("real = parameters.dtype.type", "batch = places[0]", f"zero = lanes.zeros(parameters, {count})")
    write("n_visits = order.shape[1]" if network.ordered else "n_visits = x.shape[0]")
    if not LOSSES[network.loss.kind].index_target:
        write("targets = y.reshape((y.shape[0], -1))")
    write(f"parameter = real({write.number(network.loss.parameter)})")
    write(*(f"alpha{i} = real({write.number(layer.alpha)})" for i, layer in enumerate(network.layers)))
    write("for e in range(rates.shape[0]):")
    write.depth += 1
    write("total = 0.0", "for u in range((n_visits + batch - 1) // batch):")
    write.depth += 1
    write("start = u * batch", "n_rows = min(batch, n_visits - start)")
    medium.name_mass(write, network)
    scale = write.number(network.loss.scale)
    write(f"factor = real({scale} / mass)" if network.loss.mean else f"factor = real({scale})")
    tiny.begin_value(write, network)
    if several:
        write(*(f"{name} = zero" for name in gradients))
        write(f"for first in range(start, start + n_rows, {count}):")
        write.depth += 1
    else:
        write("first = start")
    _group(write, network, count, min(batch_size, count), add=several)
    if several:
        write.depth -= 1
    tiny.end_value(write, network)
    _store_gradients(write, gradients)
    write("step += 1")
    medium.penalize(write, network, _weights(network.layers), network.loss.scale)
    medium.update(write, network)
    write.depth -= 1
    write(f"losses[e, 0] = {scale} * {medium.epoch_value(write, network)}")
    return write.module(SIGNATURE, HEAD), write.numbers


def _gradient_names(layers: tuple[Layer, ...]) -> list[str]:
    """Return the names of the gradients, in the order in which the parameters lie in the flat vector."""
    names = []
    for i, layer in enumerate(layers):
        names += [f"g_w{i}_{k}_{j}" for k in range(layer.n_in) for j in range(layer.n_out)]
        names += [f"g_b{i}_{j}" for j in range(layer.n_out)] * layer.bias
    return names


def _weights(layers: tuple[Layer, ...]) -> list[tuple[str, str]]:
    """Return the expressions for the weights and their gradients."""
    ends = (
        (offset, offset + layer.n_in * layer.n_out) for offset, layer in zip(_offsets(layers), layers, strict=False)
    )
    return [(f"parameters[{start}:{stop}]", f"gradients[{start}:{stop}]") for start, stop in ends]


def _offsets(layers: tuple[Layer, ...]) -> list[int]:
    """Return where the parameters of each layer begin."""
    offsets = [0]
    for layer in layers:
        offsets.append(offsets[-1] + (layer.n_in + layer.bias) * layer.n_out)
    return offsets


def _group(write: Writer, network: Network, count: int, used: int, *, add: bool) -> None:
    """Take ``used`` samples from ``first`` on forward and back; ``add`` says that gradients add up over groups.

    The last group of a batch may be smaller: lanes beyond it repeat its last sample, and what they lead to is masked.
    """
    layers, offsets = network.layers, _offsets(network.layers)
    end = "start + n_rows - 1"
    if network.ordered:
        write(f"row = lanes.visits(order, e, first, {end}, {used}, {count})")
    else:
        write(f"row = lanes.sequence(first, {end}, {used}, {count})")
    write(f"valid = lanes.below(start + n_rows - first, {count})")
    write(*(f"x_{k} = lanes.column(parameters, x, row, {k})" for k in range(layers[0].n_in)))
    below = "x"
    for i, layer in enumerate(layers):
        _forward(write, i, layer, offsets[i], below)
        below = f"y{i}"
    _LOSSES[network.loss.kind](write, network)
    for i in range(len(layers) - 1, -1, -1):
        _backward(write, i, layers[i], offsets[i], f"y{i - 1}" if i else "x", add)


def _forward(write: Writer, i: int, layer: Layer, offset: int, below: str) -> None:
    for j in range(layer.n_out):
        bias = f"parameters[{offset + layer.n_in * layer.n_out + j}]"
        write(f"z{i}_{j} = lanes.spread({bias}, zero)" if layer.bias else f"z{i}_{j} = zero")
    for k in range(layer.n_in):
        weights = [f"parameters[{offset + k * layer.n_out + j}]" for j in range(layer.n_out)]
        write(*(f"z{i}_{j} = lanes.multiply_add({below}_{k}, {w}, z{i}_{j})" for j, w in enumerate(weights)))
    for j in range(layer.n_out):
        value = f"activations._{layer.activation}(z{i}_{j}, alpha{i})"
        write(f"y{i}_{j} = {value}" if layer.activation != "identity" else f"y{i}_{j} = z{i}_{j}")


def _backward(write: Writer, i: int, layer: Layer, offset: int, below: str, add: bool) -> None:
    """Write the way back through a layer, from ``d`` of its outputs to that of its inputs."""
    for j in range(layer.n_out):
        if layer.activation != "identity":
            slope = f"activations._{layer.activation}_derivative(z{i}_{j}, y{i}_{j}, alpha{i})"
            write(f"d{i}_{j} = d{i}_{j} * {slope}")
        for k in range(layer.n_in):
            name = f"g_w{i}_{k}_{j}"
            if add:
                write(f"{name} = lanes.multiply_add({below}_{k}, d{i}_{j}, {name})")
            else:
                write(f"{name} = {below}_{k} * d{i}_{j}")
        if layer.bias:
            write(f"g_b{i}_{j} = g_b{i}_{j} + d{i}_{j}" if add else f"g_b{i}_{j} = d{i}_{j}")
    if i == 0:
        return
    for k in range(layer.n_in):
        weights = [f"parameters[{offset + k * layer.n_out + j}]" for j in range(layer.n_out)]
        write(f"d{i - 1}_{k} = d{i}_0 * {weights[0]}")
        write(
            *(f"d{i - 1}_{k} = lanes.multiply_add(d{i}_{j}, {weights[j]}, d{i - 1}_{k})" for j in range(1, layer.n_out))
        )


def _store_gradients(write: Writer, names: list[str]) -> None:
    """Sum each gradient over the lanes, eight at a time."""
    for at in range(0, len(names), 8):
        group = names[at : at + 8]
        padded = group + ["zero"] * (8 - len(group))
        write(f"lanes.store(lanes.totals({', '.join(padded)}), gradients, {at}, 1, {len(group)})")


def _elementwise(write: Writer, network: Network) -> None:
    """The losses that are a sum over outputs."""
    last, n_out = len(network.layers) - 1, network.layers[-1].n_out
    _weight(write, network)
    for j in range(n_out):
        write(f"t_{j} = lanes.column(parameters, targets, row, {j})")
        write(f"v_{j}, s_{j} = losses_of._{network.loss.kind}(y{last}_{j}, t_{j}, parameter)")
        write(f"d{last}_{j} = select(valid, s_{j} * weight, zero)")
    _add_value(write, network, " + ".join(f"v_{j}" for j in range(n_out)))


def _cross_entropy(write: Writer, network: Network) -> None:
    """Cross-entropy of logits: ``-sum_j t_j log softmax(z)_j``, with gradient ``softmax(z) * sum(t) - t``."""
    last, n_out = len(network.layers) - 1, network.layers[-1].n_out
    outputs = range(n_out)
    _weight(write, network)
    write(f"top = y{last}_0")
    write(*(f"top = select(y{last}_{j} > top, y{last}_{j}, top)" for j in range(1, n_out)))
    for j in outputs:
        write(f"shifted_{j} = y{last}_{j} - top", f"e_{j} = elementary.exp(shifted_{j})")
    write(f"sum_e = {' + '.join(f'e_{j}' for j in outputs)}", "log_sum = lanes.log(sum_e)")
    if LOSSES[network.loss.kind].index_target:
        write("label = lanes.column(parameters, y, row, 0)")
        write(*(f"t_{j} = select(abs(label - real({j})) < real(0.5), real(1), zero)" for j in outputs))
        write("inverse = real(1) / sum_e", "value = log_sum")
    else:
        write(*(f"t_{j} = lanes.column(parameters, targets, row, {j})" for j in outputs))
        write(f"sum_t = {' + '.join(f't_{j}' for j in outputs)}")
        write("inverse = sum_t / sum_e", "value = log_sum * sum_t")
    for j in outputs:
        write(f"value = value - t_{j} * shifted_{j}")
        write(f"d{last}_{j} = select(valid, (e_{j} * inverse - t_{j}) * weight, zero)")
    _add_value(write, network, "value")


def _weight(write: Writer, network: Network) -> None:
    """Name what the gradient of a sample's loss is multiplied by."""
    if network.weighted:
        write("own_weight = lanes.column(parameters, sample_weight, row, 0)", "weight = own_weight * factor")
    else:
        write("weight = factor")


def _add_value(write: Writer, network: Network, value: str) -> None:
    weighted = f"({value}) * own_weight" if network.weighted else value
    write(f"{tiny.value_name(network)} += lanes.total(select(valid, {weighted}, zero))")


_LOSSES: dict[str, Callable[[Writer, Network], None]] = {
    "mse": _elementwise,
    "mae": _elementwise,
    "huber": _elementwise,
    "bce_logits": _elementwise,
    "cross_entropy": _cross_entropy,
    "cross_entropy_index": _cross_entropy,
}
