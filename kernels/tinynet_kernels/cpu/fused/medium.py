"""The source of a fused function: Python for Numba, written for one kind of network.

Sizes and settings are arguments, so that one function serves all networks of a kind. ``places`` holds the batch size
and the number of rows in a block, then for every parameter its offset, rows and columns, then for every scratch array
its offset and columns; ``numbers`` holds the settings in the order in which the source reads them.
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.writer import HEAD, PREDICT_SIGNATURE, SIGNATURE, Writer
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES
from tinynet_kernels.network import Layer, Network


def source_of(network: Network) -> tuple[str, list[float]]:
    """Return the source of the module with the function ``run``, and the settings that go with it."""
    write = Writer()
    layout = Layout(network.layers)
    write("batch, block = places[0], places[1]")
    write("n_visits = order.shape[1]" if network.ordered else "n_visits = x.shape[0]")
    name_parameters(write, network.layers, layout, gradients=True)
    name_scratch(write, layout)
    write("for e in range(rates.shape[0]):")
    write.depth += 1
    write("total = 0.0", "for u in range((n_visits + batch - 1) // batch):")
    write.depth += 1
    write("start = u * batch", "n_rows = min(batch, n_visits - start)")
    name_mass(write, network)
    write("first, rows = start, n_rows")
    folded = folds_update(network)
    pass_rows(write, network, mode="fold" if folded else "set")
    write("step += 1", "draws += 1")
    if not folded:
        penalize(write, network, weights_of(network.layers))
        update(write, network)
    write.depth -= 1
    write(f"losses[e, 0] = {epoch_value(write, network)}")
    return write.module(SIGNATURE, HEAD), write.numbers


def predict_source_of(layers: tuple[Layer, ...]) -> tuple[str, list[float]]:
    """Return the source of the module with the function ``run`` that predicts, and the settings that go with it."""
    assert all(layer.kind != "dropout" for layer in layers), "predictions leave dropout out"
    write = Writer()
    layout = Layout(layers)
    write("block = min(places[1], x.shape[0])", "finite = True")
    write("scratch = np.empty(places[-1], parameters.dtype)")
    write("x_block = np.empty((block, x.shape[1]), parameters.dtype)")
    name_parameters(write, layers, layout, gradients=False)
    name_scratch(write, layout)
    write("for first in range(0, x.shape[0], block):")
    write.depth += 1
    write("rows = min(block, x.shape[0] - first)", "x_rows = x_block[:rows]")
    write("finite &= data._take_finite(x, first, x_rows)")
    _forward(write, layers)
    write(f"data._put_rows(y{len(layers) - 1}, out, first)")
    write.depth -= 1
    write("return finite")
    return write.module(PREDICT_SIGNATURE, HEAD), write.numbers


def pass_rows(write: Writer, network: Network, mode: str) -> None:
    """Take ``rows`` rows from ``first`` on forward and back, and add their loss to ``total``.

    ``mode`` says what becomes of the gradient of a weight: "set", or "fold" into the update.
    """
    _batch(write, network)
    _forward(write, network.layers)
    _loss(write, network)
    _backward(write, network, mode)


class Layout:
    """Where the parameters, buffers and scratch arrays of a network lie."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        self.parameters: list[tuple[int, int]] = []
        """Layer and rank (2 a weight, 1 a bias) of each parameter, in the order of the flat vector."""
        self.scratch: list[str] = []
        """Names of the scratch arrays."""
        for i, layer in enumerate(layers):
            if layer.kind == "linear":
                self.parameters += [(i, 2), (i, 1)] if layer.bias else [(i, 2)]
            if layer.kind == "dropout":
                self.scratch.append(f"mask{i}")
            if keeps_z(layer):
                self.scratch.append(f"z{i}")
            self.scratch.append(f"y{i}")
            self.scratch.append(f"d{i}")

    def places(self, batch_size: int, block: int) -> list[int]:
        """Return the numbers of ``places``, and the length of the scratch as the last."""
        numbers, offset = [batch_size, block], 0
        for i, rank in self.parameters:
            layer = self.layers[i]
            rows, columns = (layer.n_in if rank == 2 else 1), layer.n_out
            numbers += [offset, rows, columns]
            offset += rows * columns
        offset = 0
        for name in self.scratch:
            columns = self.layers[int(name.lstrip("maskzyd"))].n_out
            numbers += [offset, columns]
            # A cache line apart, so that rows of different arrays do not share one.
            offset += -(-block * columns // 16) * 16
        return [*numbers, offset]


def keeps_z(layer: Layer) -> bool:
    """Whether the backward pass of a layer's activation reads the pre-activation."""
    return layer.kind in ("linear", "activation") and ACTIVATIONS[layer.activation].reads_z


def name_parameters(write: Writer, layers: tuple[Layer, ...], layout: Layout, *, gradients: bool) -> None:
    """Name the pieces of the flat vectors."""
    at = 2
    for i, rank in layout.parameters:
        name = f"w{i}" if rank == 2 else f"b{i}"
        shape = f".reshape((places[{at + 1}], places[{at + 2}]))" if rank == 2 else ""
        extent = f"places[{at}] : places[{at}] + places[{at + 1}] * places[{at + 2}]"
        write(f"{name} = parameters[{extent}]{shape}")
        if gradients:
            write(f"d{name} = gradients[{extent}]{shape}")
        at += 3
    offset = "0"
    for i, layer in enumerate(layers):
        if layer.kind == "normalize":
            write(f"at{i} = {offset}", f"columns{i} = places[{at + 1 + 2 * layout.scratch.index(f'y{i}')}]")
            write(f"mean{i} = buffers[at{i} : at{i} + columns{i}]")
            write(f"scale{i} = buffers[at{i} + columns{i} : at{i} + 2 * columns{i}]")
            offset = f"at{i} + 2 * columns{i}"


def name_scratch(write: Writer, layout: Layout) -> None:
    """Name the scratch arrays, each of a block's rows."""
    at = 2 + 3 * len(layout.parameters)
    for name in layout.scratch:
        extent = f"places[{at}] : places[{at}] + block * places[{at + 1}]"
        write(f"{name}_all = scratch[{extent}].reshape((block, places[{at + 1}]))")
        at += 2


def _batch(write: Writer, network: Network) -> None:
    """Name the rows of a block, or gather them."""
    names = [("x", "x_rows", "x_batch"), ("y", "targets", "y_batch")]
    names += [("sample_weight", "weights", "weight_batch")] * network.weighted
    for source, rows, buffer in names:
        if network.ordered:
            flat = source == "sample_weight" or (source == "y" and LOSSES[network.loss.kind].index_target)
            gather = "data._gather" if flat else "data._gather_rows"
            write(f"{rows} = {buffer}[:rows]", f"{gather}({source}, order[e, first : first + rows], {rows})")
        else:
            write(f"{rows} = {source}[first : first + rows]")


def _forward(write: Writer, layers: tuple[Layer, ...]) -> None:
    before = "x_rows"
    for i, layer in enumerate(layers):
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
    scale = write.number(loss.scale) + " / mass" * loss.mean
    write(f"d = d{last}_all[:rows]")
    write(f"value = {kernel}(y{last}, targets, {weights}, d, {scale}, {write.number(loss.parameter)})")
    write("total += value * n_rows" if loss.mean else "total += value")


def _backward(write: Writer, network: Network, mode: str) -> None:
    """Go back through the layers; ``d`` is the gradient with respect to the output of the layer in hand."""
    first = next((i for i, layer in enumerate(network.layers) if layer.kind == "linear"), len(network.layers))
    for i in range(len(network.layers) - 1, first - 1, -1):
        layer = network.layers[i]
        before = f"y{i - 1}" if i else "x_rows"
        below = f"d{i - 1}_all[:rows]" if i > first else ""
        _BACKWARD[layer.kind](write, i, layer, before, below, mode)


def folds_update(network: Network) -> bool:
    """Whether the update of a weight is folded into the product that makes its gradient: plain gradient descent."""
    optimizer = network.optimizer
    clipped = optimizer.clip_norm is not None or optimizer.clip_value is not None
    return optimizer.kind == "sgd" and not any(optimizer.settings) and not clipped and not network.loss.l2


def name_mass(write: Writer, network: Network) -> None:
    """Name what the mean over the batch in hand divides by."""
    if not (network.loss.by_weight and network.weighted):
        write("mass = n_rows")
    elif network.ordered:
        write("mass = data._mass_of(sample_weight, order, e, start, n_rows)")
    else:
        write("mass = data._mass(sample_weight, start, n_rows)")


def epoch_value(write: Writer, network: Network) -> str:
    """Return the expression for what is reported of an epoch, from ``total``."""
    report = f" * {write.number(network.loss.report)}" if network.loss.report != 1.0 else ""
    return f"total{report}" + " / n_visits" * network.loss.mean


def weights_of(layers: tuple[Layer, ...]) -> list[tuple[str, str]]:
    """Return the names of the weights and of their gradients."""
    return [(f"w{i}", f"dw{i}") for i, layer in enumerate(layers) if layer.kind == "linear"]


def penalize(write: Writer, network: Network, weights: list[tuple[str, str]], scale: float = 1.0) -> None:
    """Add the L2 penalty to the gradients, and to ``total``, which ``epoch_value`` and ``scale`` still multiply."""
    loss = network.loss
    if not loss.l2:
        return
    write(f"strength = {write.number(loss.l2)}" + " / mass" * loss.mean, "squares = 0.0")
    write(*(f"squares += optimizers._l2_penalty({w}, {dw}, strength)" for w, dw in weights))
    write(f"total += squares * strength * {write.number(0.5 / (loss.report * scale))}" + " * n_rows" * loss.mean)


def _backward_activation(write: Writer, i: int, layer: Layer, before: str, below: str, mode: str) -> None:
    if layer.activation != "identity":
        z = f"z{i}" if keeps_z(layer) else f"y{i}"
        maker = f'activations._backward_in_place("{layer.activation}")'
        kernel = write.kernel(f"backward_{layer.activation}", maker)
        write(f"{kernel}({z}, y{i}, d, {write.number(layer.alpha)})")
    if layer.kind == "activation" and below:
        write(f"d_below = {below}", "activations.copy(d, d_below)", "d = d_below")


def _backward_linear(write: Writer, i: int, layer: Layer, before: str, below: str, mode: str) -> None:
    _backward_activation(write, i, layer, before, "", mode)
    if below:
        write(f"d_below = {below}", f"product_transposed_right(d, w{i}, d_below)")
    if mode == "fold":
        write("rate = rates[e, min(u, rates.shape[1] - 1)]")
        write(f"add_product_transposed_left(-rate, {before}, d, 1.0, w{i})")
    else:
        write(f"add_product_transposed_left(1.0, {before}, d, 0.0, dw{i})")
    if layer.bias:
        write(f"linear._sum_rows(d, db{i})")
        if mode == "fold":
            kernel = write.kernel("descend", "optimizers._sgd(False, False, False)")
            write(f"{kernel}(b{i}, db{i}, moments, rate, 0.0, 0.0)")
    if below:
        write("d = d_below")


def _backward_dropout(write: Writer, i: int, layer: Layer, before: str, below: str, mode: str) -> None:
    write(f"d_below = {below}", f"data._multiply(d, mask{i}, d_below)", "d = d_below")


def _backward_normalize(write: Writer, i: int, layer: Layer, before: str, below: str, mode: str) -> None:
    write(f"d_below = {below}", f"data._divide(d, scale{i}, d_below)", "d = d_below")


_BACKWARD = {
    "linear": _backward_linear,
    "activation": _backward_activation,
    "dropout": _backward_dropout,
    "normalize": _backward_normalize,
}


def update(write: Writer, network: Network) -> None:
    """Clip the gradients and make one update from them; ``step`` counts it already."""
    optimizer = network.optimizer
    if optimizer.clip_value is not None:
        write(f"optimizers._clip(gradients, {write.number(optimizer.clip_value)})")
    if optimizer.clip_norm is not None:
        write(f"optimizers.shrink_to_norm(gradients, {write.number(optimizer.clip_norm)})")
    write("rate = rates[e, min(u, rates.shape[1] - 1)]")
    _OPTIMIZERS[optimizer.kind](write, *optimizer.settings)


def _sgd(write: Writer, momentum: float, nesterov: float, decay: float) -> None:
    kernel = write.kernel("update", f"optimizers._sgd({momentum != 0}, {bool(nesterov)}, {decay != 0})")
    _call_update(write, kernel, "rate", momentum, decay)


def _adam(write: Writer, beta1: float, beta2: float, epsilon: float, decay: float, hat: float) -> None:
    kernel = write.kernel("update", f"optimizers._adam({decay != 0}, False)")
    _correct_bias(write, beta1, beta2, hat)
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


def _correct_bias(write: Writer, beta1: float, beta2: float, hat: float = 0.0) -> None:
    betas = f"{write.number(beta1)}, {write.number(beta2)}"
    write(f"corrected_rate, correction = optimizers._bias_correction{'_hat' if hat else ''}(step, rate, {betas})")


def _call_update(write: Writer, kernel: str, rate: str, *settings: float) -> None:
    numbers = ", ".join(write.number(value) for value in settings)
    write(f"{kernel}(parameters, gradients, moments, {rate}, {numbers})")


_OPTIMIZERS: dict[str, Callable[..., None]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop}
