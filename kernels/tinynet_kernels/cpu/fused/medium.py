"""The source of a fused function: Python for Numba, written for one kind of network.

Sizes and settings are arguments, so that one function serves all networks of a kind. ``places`` holds the batch size,
then for every parameter its offset, rows and columns, then for every scratch array its offset and columns; ``numbers``
holds the settings in the order in which the source reads them.
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.network import Layer, Network
from tinynet_kernels.cpu.fused.writer import HEAD, SIGNATURE, Writer
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES


def source_of(network: Network) -> tuple[str, list[float]]:
    """Return the source of the module with the function ``run``, and the settings that go with it."""
    write = Writer()
    layout = Layout(network)
    _preamble(write, network, layout)
    write("for e in range(rates.shape[0]):")
    write.depth += 1
    write("total = 0.0", "for u in range((n_visits + batch - 1) // batch):")
    write.depth += 1
    _batch(write, network)
    _forward(write, network)
    _loss(write, network)
    _backward(write, network)
    _update(write, network)
    write.depth -= 1
    write("losses[e, 0] = total / n_visits" if network.loss.mean else "losses[e, 0] = total")
    return write.module(SIGNATURE, HEAD), write.numbers


class Layout:
    """Where the parameters, buffers and scratch arrays of a network lie."""

    def __init__(self, network: Network) -> None:
        self.parameters: list[tuple[int, int]] = []
        """Layer and rank (2 a weight, 1 a bias) of each parameter, in the order of the flat vector."""
        self.scratch: list[str] = []
        """Names of the scratch arrays."""
        for i, layer in enumerate(network.layers):
            if layer.kind == "linear":
                self.parameters += [(i, 2), (i, 1)] if layer.bias else [(i, 2)]
            if layer.kind == "dropout":
                self.scratch.append(f"mask{i}")
            if keeps_z(layer):
                self.scratch.append(f"z{i}")
            self.scratch.append(f"y{i}")
            self.scratch.append(f"d{i}")

    def places(self, network: Network, batch_size: int) -> list[int]:
        """Return the numbers of ``places`` for a batch size, and the length of the scratch as the last."""
        numbers, offset = [batch_size], 0
        for i, rank in self.parameters:
            layer = network.layers[i]
            rows, columns = (layer.n_in if rank == 2 else 1), layer.n_out
            numbers += [offset, rows, columns]
            offset += rows * columns
        offset = 0
        for name in self.scratch:
            columns = network.layers[int(name.lstrip("maskzyd"))].n_out
            numbers += [offset, columns]
            # A cache line apart, so that rows of different arrays do not share one.
            offset += -(-batch_size * columns // 16) * 16
        return [*numbers, offset]


def keeps_z(layer: Layer) -> bool:
    """Whether the backward pass of a layer's activation reads the pre-activation."""
    return layer.kind in ("linear", "activation") and ACTIVATIONS[layer.activation].reads_z


def _preamble(write: Writer, network: Network, layout: Layout) -> None:
    """Name the pieces of the flat vectors."""
    write("batch = places[0]", "n_visits = order.shape[1]" if network.ordered else "n_visits = x.shape[0]")
    at = 1
    for i, rank in layout.parameters:
        name = f"w{i}" if rank == 2 else f"b{i}"
        shape = f".reshape((places[{at + 1}], places[{at + 2}]))" if rank == 2 else ""
        extent = f"places[{at}] : places[{at}] + places[{at + 1}] * places[{at + 2}]"
        write(f"{name} = parameters[{extent}]{shape}", f"d{name} = gradients[{extent}]{shape}")
        at += 3
    for name in layout.scratch:
        extent = f"places[{at}] : places[{at}] + batch * places[{at + 1}]"
        write(f"{name}_all = scratch[{extent}].reshape((batch, places[{at + 1}]))")
        at += 2
    offset = "0"
    for i, layer in enumerate(network.layers):
        if layer.kind == "normalize":
            write(f"columns{i} = y{i}_all.shape[1]", f"at{i} = {offset}")
            write(f"mean{i} = buffers[at{i} : at{i} + columns{i}]")
            write(f"scale{i} = buffers[at{i} + columns{i} : at{i} + 2 * columns{i}]")
            offset = f"at{i} + 2 * columns{i}"


def _batch(write: Writer, network: Network) -> None:
    """Name the rows of a batch, or gather them."""
    write("start = u * batch", "rows = min(batch, n_visits - start)")
    names = [("x", "x_rows", "x_batch"), ("y", "targets", "y_batch")]
    names += [("sample_weight", "weights", "weight_batch")] * network.weighted
    for source, rows, buffer in names:
        if network.ordered:
            flat = source == "sample_weight" or (source == "y" and LOSSES[network.loss.kind].index_target)
            gather = "data._gather" if flat else "data._gather_rows"
            write(f"{rows} = {buffer}[:rows]", f"{gather}({source}, order[e, start : start + rows], {rows})")
        else:
            write(f"{rows} = {source}[start : start + rows]")


def _forward(write: Writer, network: Network) -> None:
    before = "x_rows"
    for i, layer in enumerate(network.layers):
        write(f"y{i} = y{i}_all[:rows]")
        if keeps_z(layer):
            write(f"z{i} = z{i}_all[:rows]")
        _FORWARD[layer.kind](write, i, layer, before)
        before = f"y{i}"


def _forward_linear(write: Writer, i: int, layer: Layer, before: str) -> None:
    z = f"z{i}" if keeps_z(layer) else f"y{i}"
    bias = f"b{i}" if layer.bias else "None"
    write(f"product({before}, w{i}, {z})")
    _activate(write, i, layer, z, bias)


def _forward_activation(write: Writer, i: int, layer: Layer, before: str) -> None:
    z = f"z{i}" if keeps_z(layer) else f"y{i}"
    write(f"activations.copy({before}, {z})")
    _activate(write, i, layer, z, "None")


def _activate(write: Writer, i: int, layer: Layer, z: str, bias: str) -> None:
    kind = layer.activation
    if keeps_z(layer):
        kernel = write.kernel(f"forward_{kind}", f'activations._forward("{kind}")')
        write(f"{kernel}({z}, {bias}, y{i}, {write.number(layer.alpha)})")
    elif kind != "identity":
        kernel = write.kernel(f"in_place_{kind}", f'activations._in_place("{kind}")')
        write(f"{kernel}(y{i}, {bias}, {write.number(layer.alpha)})")
    elif bias != "None":
        write(f"linear._add_bias(y{i}, {bias})")


def _forward_dropout(write: Writer, i: int, layer: Layer, before: str) -> None:
    write(f"mask{i} = mask{i}_all[:rows]")
    write(f"random.dropout_mask(seed, draws, {layer.place}, {write.number(layer.alpha)}, mask{i})")
    write(f"data._multiply({before}, mask{i}, y{i})")


def _forward_normalize(write: Writer, i: int, layer: Layer, before: str) -> None:
    write(f"data._normalize({before}, mean{i}, scale{i}, y{i})")


_FORWARD = {
    "linear": _forward_linear,
    "activation": _forward_activation,
    "dropout": _forward_dropout,
    "normalize": _forward_normalize,
}


def _loss(write: Writer, network: Network) -> None:
    loss, last = network.loss, len(network.layers) - 1
    kernel = write.kernel("loss", f'losses_of._loss("{loss.kind}")')
    weights = "weights" if network.weighted else "None"
    scale = write.number(loss.scale) + " / rows" * loss.mean
    write(f"d = d{last}_all[:rows]")
    write(f"value = {kernel}(y{last}, targets, {weights}, d, {scale}, {write.number(loss.parameter)})")
    write("total += value * rows" if loss.mean else "total += value")


def _backward(write: Writer, network: Network) -> None:
    """Go back through the layers; ``d`` is the gradient with respect to the output of the layer in hand."""
    first = next((i for i, layer in enumerate(network.layers) if layer.kind == "linear"), len(network.layers))
    for i in range(len(network.layers) - 1, first - 1, -1):
        layer = network.layers[i]
        before = f"y{i - 1}" if i else "x_rows"
        below = f"d{i - 1}_all[:rows]" if i > first else ""
        _BACKWARD[layer.kind](write, i, layer, before, below, folds_update(network))


def folds_update(network: Network) -> bool:
    """Whether the update of a weight is folded into the product that makes its gradient: plain gradient descent."""
    optimizer = network.optimizer
    clipped = optimizer.clip_norm is not None or optimizer.clip_value is not None
    return optimizer.kind == "sgd" and not any(optimizer.settings) and not clipped


def _backward_activation(write: Writer, i: int, layer: Layer, before: str, below: str, folded: bool) -> None:
    if layer.activation != "identity":
        z = f"z{i}" if keeps_z(layer) else f"y{i}"
        maker = f'activations._backward_in_place("{layer.activation}")'
        kernel = write.kernel(f"backward_{layer.activation}", maker)
        write(f"{kernel}({z}, y{i}, d, {write.number(layer.alpha)})")
    if layer.kind == "activation" and below:
        write(f"d_below = {below}", "activations.copy(d, d_below)", "d = d_below")


def _backward_linear(write: Writer, i: int, layer: Layer, before: str, below: str, folded: bool) -> None:
    _backward_activation(write, i, layer, before, "", folded)
    if below:
        write(f"d_below = {below}", f"product_transposed_right(d, w{i}, d_below)")
    if folded:
        write("rate = rates[e, min(u, rates.shape[1] - 1)]")
        write(f"add_product_transposed_left(-rate, {before}, d, 1.0, w{i})")
    else:
        write(f"add_product_transposed_left(1.0, {before}, d, 0.0, dw{i})")
    if layer.bias:
        write(f"linear._sum_rows(d, db{i})")
        if folded:
            kernel = write.kernel("descend", "optimizers._sgd(False, False, False)")
            write(f"{kernel}(b{i}, db{i}, moments, rate, 0.0, 0.0)")
    if below:
        write("d = d_below")


def _backward_dropout(write: Writer, i: int, layer: Layer, before: str, below: str, folded: bool) -> None:
    write(f"d_below = {below}", f"data._multiply(d, mask{i}, d_below)", "d = d_below")


def _backward_normalize(write: Writer, i: int, layer: Layer, before: str, below: str, folded: bool) -> None:
    write(f"d_below = {below}", f"data._divide(d, scale{i}, d_below)", "d = d_below")


_BACKWARD = {
    "linear": _backward_linear,
    "activation": _backward_activation,
    "dropout": _backward_dropout,
    "normalize": _backward_normalize,
}


def _update(write: Writer, network: Network) -> None:
    write("step += 1", "draws += 1")
    if folds_update(network):
        return
    optimizer = network.optimizer
    if optimizer.clip_value is not None:
        write(f"optimizers._clip(gradients, {write.number(optimizer.clip_value)})")
    if optimizer.clip_norm is not None:
        write(f"optimizers.clip_by_norm(gradients, {write.number(optimizer.clip_norm)})")
    write("rate = rates[e, min(u, rates.shape[1] - 1)]")
    _OPTIMIZERS[optimizer.kind](write, *optimizer.settings)


def _sgd(write: Writer, momentum: float, nesterov: float, decay: float) -> None:
    kernel = write.kernel("update", f"optimizers._sgd({momentum != 0}, {bool(nesterov)}, {decay != 0})")
    _call_update(write, kernel, "rate", momentum, decay)


def _adam(write: Writer, beta1: float, beta2: float, epsilon: float, decay: float) -> None:
    kernel = write.kernel("update", f"optimizers._adam({decay != 0}, False)")
    _correct_bias(write, beta1, beta2)
    _call_update(write, kernel, "corrected_rate, correction", beta1, beta2, epsilon, decay)


def _adamw(write: Writer, beta1: float, beta2: float, epsilon: float, decay: float) -> None:
    kernel = write.kernel("update", "optimizers._adam(False, True)")
    _correct_bias(write, beta1, beta2)
    write(f"keep = 1.0 - rate * {write.number(decay)}")
    settings = ", ".join(write.number(value) for value in (beta1, beta2, epsilon))
    write(f"{kernel}(parameters, gradients, moments, corrected_rate, correction, {settings}, keep)")


def _rmsprop(write: Writer, alpha: float, epsilon: float, decay: float, momentum: float, centered: float) -> None:
    kernel = write.kernel("update", f"optimizers._rmsprop({decay != 0}, {momentum != 0}, {bool(centered)})")
    _call_update(write, kernel, "rate", alpha, epsilon, decay, momentum)


def _correct_bias(write: Writer, beta1: float, beta2: float) -> None:
    betas = f"{write.number(beta1)}, {write.number(beta2)}"
    write(f"corrected_rate, correction = optimizers._bias_correction(step, rate, {betas})")


def _call_update(write: Writer, kernel: str, rate: str, *settings: float) -> None:
    numbers = ", ".join(write.number(value) for value in settings)
    write(f"{kernel}(parameters, gradients, moments, {rate}, {numbers})")


_OPTIMIZERS: dict[str, Callable[..., None]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop}
