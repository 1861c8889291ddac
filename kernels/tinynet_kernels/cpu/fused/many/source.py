"""The source of a fused function for many models: one model in each lane of the SIMD registers.

Where a function for one model computes with a number, this one computes with a row of numbers, by the same formula, one
for each model of a block. So it is as quick for networks of any shape, a step never waits for a sum over lanes, and no
model sees another. The parameters of a block stay in the registers and the nearest cache for all epochs of a call.
"""

from collections.abc import Callable
from typing import NamedTuple

from tinynet_kernels.cpu.fused.many import updates
from tinynet_kernels.cpu.fused.many.forms import Form, keeps_z
from tinynet_kernels.cpu.fused.many.looped import Looped
from tinynet_kernels.cpu.fused.many.passes import Passes
from tinynet_kernels.cpu.fused.many.unrolled import Unrolled
from tinynet_kernels.network import Layer, Loss, Network, Setting

MAX_UNROLLED = 100
"""Most parameters of a network whose source is unrolled. Beyond it compiling takes long, and gains little."""

MAX_ROWS = 4
"""Most samples that a looped network takes at the same time: with each weight that is loaded it computes so often."""

SIGNATURE = (
    "parameters, moments, buffers, x, y, sample_weight, order, rates, losses, "
    "scratch, rows, places, numbers, counts, draws, seeds, members, low, high"
)
"""Arguments of the function that trains: it takes ``members[low:high]`` through all epochs."""

EVALUATE_SIGNATURE = (
    "parameters, buffers, x, y, sample_weight, losses, scratch, rows, places, numbers, members, low, high"
)
PREDICT_SIGNATURE = "parameters, buffers, x, out, scratch, rows, places, numbers, members, low, high"

HEAD = '''"""Written by tinynet; safe to delete."""

from math import inf

import numpy as np

from tinynet_kernels.cpu import activations, compiling
from tinynet_kernels.cpu import losses as losses_of
from tinynet_kernels.cpu.elementary import exp, log
from tinynet_kernels.cpu.fused import lanes
from tinynet_kernels.cpu.fused.many import blocks, products
from tinynet_kernels.cpu.generic import select, sqrt
'''


class Data(NamedTuple):
    """What the models are trained on, as far as the source depends on it.

    Attributes
    ----------
    order, weight : {"none", "shared", "own"}
        Whether samples are taken by an index, whether they have weights, and whether each model has its own.
    own_rates : bool
        Whether each model has its own learning rates.
    """

    order: str = "none"
    weight: str = "none"
    own_rates: bool = False


class Source(NamedTuple):
    """Source with what goes into its arguments.

    Attributes
    ----------
    text : str
    places : list of int
    settings : list of Setting
        The rows of ``numbers``.
    n_scratch, n_rows : int
        Elements of ``scratch`` and ``rows``.
    """

    text: str
    places: list[int]
    settings: list[Setting]
    n_scratch: int
    n_rows: int


def training(network: Network, data: Data, batch_size: int, n_lanes: int) -> Source:
    """Return the source of the function that trains."""
    form = form_of(network.layers, n_lanes, batch_size, plain=updates.is_plain(network))
    return _assembled(form, SIGNATURE, batch_size, network, lambda: _train(form, network, data, batch_size))


def evaluation(layers: tuple[Layer, ...], loss: Loss, weight: str, n_lanes: int) -> Source:
    """Return the source of the function that sums the losses of each model over all samples."""
    form = form_of(layers, n_lanes, MAX_ROWS)
    return _assembled(form, EVALUATE_SIGNATURE, MAX_ROWS, None, lambda: _evaluate(form, loss, weight))


def prediction(layers: tuple[Layer, ...], n_lanes: int) -> Source:
    """Return the source of the function that computes the outputs of each model."""
    form = form_of(layers, n_lanes, MAX_ROWS)
    return _assembled(form, PREDICT_SIGNATURE, MAX_ROWS, None, lambda: _predict(form))


def form_of(layers: tuple[Layer, ...], n_lanes: int, batch_size: int, *, plain: bool = False) -> Form:
    """Return the form for a network: unrolled if it is small; else with as many rows at a time as a batch fills.

    ``plain`` tells that it is trained by plain gradient descent.
    """
    unrolled = Unrolled(layers, n_lanes, plain=plain)
    if unrolled.n_parameters <= MAX_UNROLLED:
        return unrolled
    full = [rows for rows in range(1, MAX_ROWS + 1) if -batch_size % rows <= 0.15 * batch_size]
    return Looped(layers, n_lanes, max(full))


def _assembled(
    form: Form, signature: str, batch_size: int, network: Network | None, write: Callable[[], None]
) -> Source:
    """Write the function around its body: what comes before the loop over blocks, and each block's beginning."""
    layers = form.layers
    form.depth = 2
    write()
    body, form.lines, form.depth = form.lines, [], 1
    places = [batch_size, *(layer.n_in for layer in layers), layers[-1].n_out, *form.weights, *form.biases]
    form("like, real = parameters, parameters.dtype.type", "zero, one, batch = real(0), real(1), places[0]")
    if signature != PREDICT_SIGNATURE:
        form(f"values = np.empty({form.lanes}, losses.dtype)")
    if isinstance(form, Looped):
        for k, name in enumerate([f"n{i}" for i in range(len(layers) + 1)]):
            form(f"{name} = places[{k + 1}]")
        for k, name in enumerate([f"{letter}{i}" for letter in "wb" for i in range(len(layers))]):
            form(f"{name} = places[{k + 2 + len(layers)}]")
    n_scratch = 0
    for name, size in _arrays(form, signature, network).items():
        length = size * form.lanes
        form(f"{name} = scratch[places[{len(places)}] :][: places[{len(places) + 1}]]")
        places += [n_scratch, length]
        n_scratch += length
    if isinstance(form, Looped):
        # What is computed in place has both names.
        form(*(f"y{i} = z{i}" for i, layer in enumerate(layers) if not keeps_z(layer)))
    form(f"for first in range(low, high, {form.lanes}):")
    form.depth = 2
    form(f"last = min(first + {form.lanes}, high)", f"blocks.enter(parameters, members, first, last, {form.lanes}, p)")
    if any(layer.kind == "normalize" for layer in layers):
        form(f"blocks.enter(buffers, members, first, last, {form.lanes}, held)")
    for k in range(len(form.settings)):
        at = f"{k} * numbers.shape[1] + first"
        form(f"c{k} = lanes.load(like, numbers, {at}, 1, {form.lanes}, {form.lanes})")
        if f"c{k}" in form.exacts:
            form(f"e{k} = lanes.load(numbers, numbers, {at}, 1, {form.lanes}, {form.lanes})")
    form.lines += body
    return Source(form.module(signature, HEAD), places, form.settings, n_scratch, (form.rows + 1) * form.lanes)


def _arrays(form: Form, signature: str, network: Network | None) -> dict[str, int]:
    """Return the arrays in scratch, and how many numbers of a model each holds."""
    layers, rows = form.layers, form.rows
    sizes = {"p": form.n_parameters}
    if network is not None:
        sizes |= {f"m{r}": form.n_parameters for r in range(updates.n_moments(network))}
        sizes["grads"] = form.n_parameters
    held = sum(2 * layer.n_out for layer in layers if layer.kind == "normalize")
    if held:
        sizes["held"] = held
    sizes |= {f"mask{i}": rows * layer.n_out for i, layer in enumerate(layers) if layer.kind == "dropout"}
    if isinstance(form, Looped):
        sizes["inputs"] = rows * layers[0].n_in
        for i, layer in enumerate(layers):
            names = "zyd" if keeps_z(layer) else "zd"
            sizes |= {f"{letter}{i}": rows * layer.n_out for letter in names}
    return sizes | {"ends": max(rows * layers[-1].n_out, 2)}


def _train(form: Form, network: Network, data: Data, batch_size: int) -> None:
    """Write the epochs of a block."""
    vectors = {"p": "parameters"} | {f"m{r}": f"moments[{r}]" for r in range(updates.n_moments(network))}
    for name, source in vectors.items():
        if name != "p":
            form(f"blocks.enter({source}, members, first, last, {form.lanes}, {name})")
    if form.variables:
        form(*(f"p_{k} = {form.load('p', k)}" for k in range(form.n_parameters)))
    form(f"count = lanes.load(numbers, counts, first, 1, {form.lanes}, {form.lanes})")
    form(f"seed, drawn = seeds[first : first + {form.lanes}], draws[first : first + {form.lanes}]")
    visits = {"none": "x.shape[0]", "shared": "order.shape[1]", "own": "order.shape[2]"}[data.order]
    form(f"n_visits = {visits}", "n_updates = (n_visits + batch - 1) // batch")
    form("for e in range(losses.shape[0]):")
    form.depth += 1
    form(f"total = {form.zeros('losses')}", "for u in range(n_updates):")
    form.depth += 1
    scale = form.exact(form.setting(network.loss.scale))
    _begin_update(form, network, data, scale)
    _update(form, network, Passes(form, data.order, data.weight), batch_size)
    form.depth -= 1
    _put_losses(form, f"total * {scale}" + " / n_visits" * network.loss.mean, "e")
    form.depth -= 1
    for k in range(form.n_parameters if form.variables else 0):
        form.store("p", k, f"p_{k}")
    for name, target in vectors.items():
        form(f"blocks.leave({name}, members, first, last, {form.lanes}, {target})")


def _begin_update(form: Form, network: Network, data: Data, scale: str) -> None:
    """Write the samples of a batch, the learning rate, and the factor of the gradient of the loss."""
    form("start = u * batch", "stop = min(start + batch, n_visits)", "count = count + 1.0")
    form("which = min(u, rates.shape[1] - 1)")
    if data.own_rates:
        at = "(e * rates.shape[1] + which) * rates.shape[2] + first"
        form(f"rate = lanes.load(rates, rates, {at}, 1, {form.lanes}, {form.lanes})")
    else:
        form(f"rate = lanes.full(rates, rates[e, which], {form.lanes})")
    factor = f"{scale} / (stop - start)" if network.loss.mean else scale
    factor += " * rate" * updates.is_plain(network)
    form(f"factor = lanes.full(like, {factor}, {form.lanes})")


def _update(form: Form, network: Network, passes: Passes, batch_size: int) -> None:
    """Write one update: where it can, the gradient of a single sample goes straight into it; others are added up."""
    optimizer = network.optimizer
    clip = None if optimizer.clip_value is None else updates.clip_by_value(form, optimizer.clip_value)
    element = updates.element_of(form, network)

    def tile(mode: str) -> None:
        passes.forward()
        passes.loss(network.loss, gradient=True)
        passes.backward(mode)

    if batch_size == 1 and updates.is_plain(network):
        passes.each_tile(lambda: tile("descend"), single=True)
        return
    size = form.n_parameters if form.variables else "parameters.shape[1]"
    if batch_size == 1:
        passes.each_tile(lambda: tile("set"), single=True)
    else:
        if isinstance(form, Unrolled):
            form.each(size, lambda k: form.put("grads", k, form.zeros()))
        passes.each_tile(lambda: tile("add"))
    if clip is not None:
        form.each(size, lambda k: form.put("grads", k, clip(form.get("grads", k))))
    if optimizer.clip_norm is not None:
        updates.clip_by_norm(form, optimizer.clip_norm, size)
    form.each(size, lambda k: element(k, form.get("grads", k)))


def _put_losses(form: Form, value: str, e: str) -> None:
    form(f"ended = {value}")
    form(f"lanes.store(ended, values, 0, 1, {form.lanes})", f"blocks.put_losses(values, losses, {e}, first, last)")


def _evaluate(form: Form, loss: Loss, weight: str) -> None:
    passes = Passes(form, "none", weight)
    form("start, stop = 0, x.shape[0]")
    form(f"total = {form.zeros('losses')}")

    def tile() -> None:
        passes.forward()
        passes.loss(loss, gradient=False)

    passes.each_tile(tile)
    scale = form.exact(form.setting(loss.scale))
    _put_losses(form, f"total * {scale}" + " / stop" * loss.mean, "0")


def _predict(form: Form) -> None:
    passes, last = Passes(form, "none", "none"), len(form.layers) - 1
    form("start, stop = 0, x.shape[0]")

    def tile() -> None:
        passes.forward()
        for k in range(form.layers[-1].n_out if isinstance(form, Unrolled) else 0):
            form.store("ends", k, f"y{last}_{k}")
        for r in range(form.rows):
            ends = f"y{last}[{r} * n{last + 1} * {form.lanes} :]" if isinstance(form, Looped) else "ends"
            form(f"if s + {r} < stop:" if r else "if True:")
            form(f"    blocks.put_outputs({ends}, out, s + {r}, first, last, {form.lanes})")

    passes.each_tile(tile)
