"""The source of a pass, forward and back, over strips: blocks of samples in which those of one feature lie together.

It takes the place of ``medium.pass_rows`` in ``blocked`` for networks whose layers are narrow: there, passes over rows
of a few numbers cost as much as the products do, and BLAS is slower than loops over strips.
"""

from collections.abc import Callable

from tinynet_kernels.cpu.fused import lanes
from tinynet_kernels.cpu.fused.medium import Layout, keeps_z
from tinynet_kernels.cpu.fused.writer import Writer
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES
from tinynet_kernels.network import Layer, Network

MAX_WIDTH = 128
"""Widest layer; beyond it BLAS is as quick (measured on AVX-512)."""

MAX_BYTES = 1 << 18
"""What the arrays of a strip may take. Shorter strips pay for the sums over lanes at their end (measured: a sixth more
time at half of this)."""

_LOSSES = {"mse", "mae", "huber", "bce_logits", "cross_entropy", "cross_entropy_index"}


def fits(network: Network) -> bool:
    """Whether a network is narrow, and made of what this module can write."""
    if any(layer.kind == "dropout" or max(layer.n_in, layer.n_out) > MAX_WIDTH for layer in network.layers):
        return False
    elementwise = all(ACTIVATIONS[layer.activation].elementwise for layer in network.layers)
    return elementwise and network.loss.kind in _LOSSES


def block_rows(network: Network, n_rows: int) -> int:
    """Return how many samples a strip holds, so that ``n_rows`` are cut into equal ones with little left over.

    Strips from ``MAX_BYTES`` down to half of that are considered: what is left over is computed for nothing.
    """
    size = 4 if network.dtype == "float32" else 8
    step = 2 * lanes.native(network.dtype)
    columns = sum(layer.n_in + 2 * layer.n_out for layer in network.layers)
    most = max(2 * step, MAX_BYTES // (columns * size) // step * step)
    fewest = -(-n_rows // most)
    blocks = [-(-n_rows // (n_strips * step)) * step for n_strips in range(fewest, 2 * fewest + 1)]
    return min(blocks, key=lambda block: -(-n_rows // block) * block)


def name_scratch(write: Writer, network: Network, layout: Layout) -> None:
    """Name the scratch arrays: those of the layers, and the strips of samples, targets and factors."""
    at = 2 + 3 * len(layout.parameters)
    for name in layout.scratch:
        extent = f"places[{at}] : places[{at}] + block * places[{at + 1}]"
        write(f"{name} = scratch[{extent}].reshape((places[{at + 1}], block))")
        at += 2
    write("x_strip = x_batch.reshape(-1)[: x.shape[1] * block].reshape((x.shape[1], block))")
    if LOSSES[network.loss.kind].index_target:
        write("t_strip = y_batch[:block]")
    else:
        write("t_strip = y_batch.reshape(-1)[: y.shape[1] * block].reshape((y.shape[1], block))")
    write("factors = weight_batch[:block]")


def pass_rows(write: Writer, network: Network) -> None:
    """Take ``rows`` rows from ``first`` on forward and back; add to the gradients, and their loss to ``total``."""
    count = lanes.native(network.dtype)
    loss, last = network.loss, len(network.layers) - 1
    place = "order[e], " if network.ordered else "None, "
    weight = "sample_weight" if network.weighted else "None"
    write(f"strips.take(x, {place}first, rows, x_strip)")
    taken = "take_labels" if LOSSES[loss.kind].index_target else "take"
    write(f"strips.{taken}(y, {place}first, rows, t_strip)")
    scale = write.number(loss.scale) + " / mass" * loss.mean
    write(f"strips.take_factors({weight}, {place}first, rows, {scale}, factors)")
    before = "x_strip"
    for i, layer in enumerate(network.layers):
        _FORWARD[layer.kind](write, i, layer, before, count)
        before = f"y{i}"
    kernel = write.kernel("strip_loss", _loss_maker(loss.kind, count))
    write(f"value = {kernel}(y{last}, t_strip, factors, d{last}, {write.number(loss.parameter)})")
    write("total += value * n_rows" if loss.mean else "total += value")
    first = next((i for i, layer in enumerate(network.layers) if layer.kind == "linear"), last + 1)
    for i in range(last, first - 1, -1):
        below = f"d{i - 1}" if i > first else ""
        _BACKWARD[network.layers[i].kind](write, i, network.layers[i], f"y{i - 1}" if i else "x_strip", below, count)


def _loss_maker(kind: str, count: int) -> str:
    if LOSSES[kind].elementwise:
        return f'strips.elementwise_loss("{kind}", {count})'
    return f"strips.cross_entropy({LOSSES[kind].index_target}, {count})"


def _forward_linear(write: Writer, i: int, layer: Layer, before: str, count: int) -> None:
    z = f"z{i}" if keeps_z(layer) else f"y{i}"
    kernel = write.kernel("strip_product", f"strips.product({count})")
    write(f"{kernel}(w{i}, {f'b{i}' if layer.bias else 'None'}, {before}, {z})")
    _activate(write, i, layer)


def _forward_activation(write: Writer, i: int, layer: Layer, before: str, count: int) -> None:
    write(f"activations.copy({before}, {f'z{i}' if keeps_z(layer) else f'y{i}'})")
    _activate(write, i, layer)


def _activate(write: Writer, i: int, layer: Layer) -> None:
    kind = layer.activation
    if keeps_z(layer):
        kernel = write.kernel(f"forward_{kind}", f'activations._forward("{kind}")')
        write(f"{kernel}(z{i}, None, y{i}, {write.number(layer.alpha)})")
    elif kind != "identity":
        kernel = write.kernel(f"in_place_{kind}", f'activations._in_place("{kind}")')
        write(f"{kernel}(y{i}, None, {write.number(layer.alpha)})")


def _forward_normalize(write: Writer, i: int, layer: Layer, before: str, count: int) -> None:
    write(f"strips.normalize({before}, mean{i}, scale{i}, y{i})")


def _backward_activation(write: Writer, i: int, layer: Layer, before: str, below: str, count: int) -> None:
    if layer.activation != "identity":
        maker = f'activations._backward_in_place("{layer.activation}")'
        kernel = write.kernel(f"backward_{layer.activation}", maker)
        z = f"z{i}" if keeps_z(layer) else f"y{i}"
        write(f"{kernel}({z}, y{i}, d{i}, {write.number(layer.alpha)})")
    if below:
        write(f"activations.copy(d{i}, {below})")


def _backward_linear(write: Writer, i: int, layer: Layer, before: str, below: str, count: int) -> None:
    _backward_activation(write, i, layer, before, "", count)
    kernel = write.kernel("strip_gradient", f"strips.add_gradient({count})")
    write(f"{kernel}({before}, d{i}, dw{i})")
    if layer.bias:
        kernel = write.kernel("strip_sums", f"strips.add_sums({count})")
        write(f"{kernel}(d{i}, db{i})")
    if below:
        kernel = write.kernel("strip_back", f"strips.product_back({count})")
        write(f"{kernel}(w{i}, d{i}, {below})")


def _backward_normalize(write: Writer, i: int, layer: Layer, before: str, below: str, count: int) -> None:
    write(f"strips.divide(d{i}, scale{i}, {below})")


_FORWARD: dict[str, Callable[..., None]] = {
    "linear": _forward_linear,
    "activation": _forward_activation,
    "normalize": _forward_normalize,
}
_BACKWARD: dict[str, Callable[..., None]] = {
    "linear": _backward_linear,
    "activation": _backward_activation,
    "normalize": _backward_normalize,
}
