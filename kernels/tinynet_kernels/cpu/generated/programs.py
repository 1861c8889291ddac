"""The tables of all that a network is used for: training, a gradient, evaluation, prediction."""

from __future__ import annotations

from tinynet_kernels.cpu.generated import large
from tinynet_kernels.cpu.generated.builder import Builder
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import check, ranges_of
from tinynet_kernels.cpu.generated.small import Small, float_of, n_parameters
from tinynet_kernels.cpu.generated.sobolev import SlopesBuilder
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.cpu.generated.team import RANGES
from tinynet_kernels.network import NORMS, Layer, Loss, Network, Optimizer
from tinynet_kernels.updates import SETTINGS, flags, n_moments


def _add_clips(made: Table, optimizer: Optimizer, gradients: int, size: int) -> None:
    """Write the clipping of gradients."""
    for name, limit in (("clip_value", optimizer.clip_value), ("clip_norm", optimizer.clip_norm)):
        if limit is not None:
            made.add("update", "updates", name, gradients, size, float_of(limit))


def _add_step(made: Table, optimizer: Optimizer, parameters: int, gradients: int, moments: int, size: int) -> None:
    """Write the step of an optimizer."""
    step = "step", *_step_of(optimizer)
    names, vectors = (":".join(step), "_".join(step)), (parameters, gradients, moments)
    settings = map(float_of, optimizer.settings)
    if made.stages:
        large.update(made, *names, vectors, size, *settings)
    else:
        made.add("update", *names, *vectors, size, size, *settings)


def _step_of(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the kind of an optimizer and the flags of its step."""
    return optimizer.kind, *flags(optimizer.kind, tuple(map(float_of, optimizer.settings)))


def _has_no_epsilon(optimizer: Optimizer) -> bool:
    return dict(zip(SETTINGS[optimizer.kind], optimizer.settings, strict=True)).get("epsilon") == 0.0


# -- the tables -------------------------------------------------------------------------------------------------------


def training(network: Network, sources: Sources, target: Target, batch: int, block: int) -> Table:
    """Return the table that trains.

    Parameters
    ----------
    network : Network
    sources : Sources
    target : Target
    batch, block : int
        Rows of a batch, and of those that go through the network at a time; a multiple of four unless it is the batch.
    """
    loss, optimizer = network.loss, network.optimizer
    ranges = ranges_of(batch, network.layers)
    if block * ranges < batch and block % 4:
        raise ValueError(f"a part of a range is a multiple of four rows; got {block} of a batch of {batch}.")
    on = _step_of(optimizer)[1:]
    clips = optimizer.clip_norm is not None or optimizer.clip_value is not None
    plain = not on and not clips and not loss.l2 and not network.decays
    plain = plain and all(layer.kind not in NORMS for layer in network.layers)
    fold = optimizer.kind == "sgd" and plain and block >= batch
    build = _builder(loss)(network.layers, network.dtype, target, block)
    size, count = build.sizes.trained, n_moments(optimizer.kind, on)
    gradients = build.parameters if fold else build.table.take_gradients(size, ranges)
    moments = build.arena.take(size * count)
    places = [moments + row * size for row in range(count)]
    build.clear(build.parameters, moments + size * count, [build.parameters, *places])
    build.pack("parameters", build.parameters)
    for row, place in enumerate(places):
        build.pack("moments", place, row * build.sizes.flat_trained)
    _pass(build, network.layers, loss, sources, gradients, fold=fold, mean=loss.mean, batch=batch)
    if loss.l2:
        build.penalize(loss, gradients)
    if not fold:
        _add_clips(build.table, optimizer, gradients, size)
        build.decay(gradients, decoupled=optimizer.decoupled)
        _add_step(build.table, optimizer, build.parameters, gradients, moments, size)
        if _has_no_epsilon(optimizer):
            build.clean()
    build.unpack("parameters", build.parameters)
    for row, place in enumerate(places):
        build.unpack("moments", place, row * build.sizes.flat_trained)
    return build.table


def training_samples(network: Network, sources: Sources, target: Target, batch: int) -> Table:
    """Return the table that trains a small network with the samples of a batch in the lanes."""
    loss, optimizer = network.loss, network.optimizer
    check(network.layers, network.dtype, batch)
    made = Table(network.dtype, target, 1)
    made.block = batch
    arena, n = made.arena, n_parameters(network.layers)
    step = _step_of(optimizer)
    count, size = n_moments(step[0], step[1:]), arena.panels(n) * arena.row_bytes
    parameters, gradients = arena.take(size), made.take_gradients(size, ranges_of(batch))
    moments = arena.take(size * count)
    sums = arena.take_own(n * arena.row_bytes)
    made.add("prologue", "core", "clear", gradients, size * made.ranges)
    flats = [("parameters", parameters, 0)]
    flats += [("moments", moments + row * size, row * n * arena.bytes) for row in range(count)]
    for name, place, flat in flats:
        # As the bias of a layer without inputs: in one piece, with zeros behind it.
        made.add("prologue", "core", "pack", place, arena.row_bytes, 0, flat, 0, n, 1, PLACES[name])
    clips = optimizer.clip_norm is not None or optimizer.clip_value is not None
    fold = step == ("sgd",) and not clips and made.ranges == 1
    small = _small(network, sources, min(batch, arena.width + 1))._replace(step=step if fold else ())
    if sources.weight and loss.by_weight and loss.mean:
        whole = arena.take_own(batch * arena.bytes)
        arguments = (whole, arena.bytes, 0, 1, PLACES["weight"])
        made.add("begin", f"gather:{sources.weight}", "gather", *arguments)
        made.add("begin", "core", "weigh", whole)
    numbers = (loss.scale, loss.report, int(loss.mean))
    made.add("rows", f"samples:{small.text()}", "samples", parameters, gradients, sums, *numbers)
    if not fold:
        _add_clips(made, optimizer, gradients, size)
        _add_step(made, optimizer, parameters, gradients, moments, size)
    for name, place, flat in flats:
        made.add("epilogue", "core", "unpack", place, arena.row_bytes, 0, flat, 0, n, 1, PLACES[name])
    return made


def training_registers(network: Network, sources: Sources, target: Target) -> Table:
    """Return the table that trains a tiny network, one sample after the other; its kernel counts the epochs itself."""
    check(network.layers, network.dtype, 1)
    made = Table(network.dtype, target, 1)
    small = _small(network, sources, 1)._replace(step=_step_of(network.optimizer))
    size = n_parameters(network.layers) * made.arena.bytes
    numbers = (network.loss.scale, network.loss.report, *map(float_of, network.optimizer.settings))
    made.add("prologue", f"registers:{small.text()}", "registers", size, *numbers)
    return made


def _small(network: Network, sources: Sources, batch: int) -> Small:
    loss = network.loss
    return Small(network.layers, loss.kind, float_of(loss.parameter), *sources, batch)


def gradient(
    layers: tuple[Layer, ...], loss: Loss, dtype: str, sources: Sources, target: Target, batch: int, block: int
) -> Table:
    """Return the table of one batch that leaves its gradient."""
    build = _builder(loss)(layers, dtype, target, block)
    gradients = build.table.take_gradients(build.sizes.trained, ranges_of(batch, layers))
    end = gradients + build.sizes.trained
    build.clear(build.parameters, end, [build.parameters])
    build.pack("parameters", build.parameters)
    _pass(build, layers, loss, sources, gradients, fold=False, mean=loss.mean, batch=batch)
    if loss.l2:
        build.penalize(loss, gradients)
    build.unpack("gradients", gradients)
    return build.table


def _pass(
    build: Builder,
    layers: tuple[Layer, ...],
    loss: Loss,
    sources: Sources,
    gradients: int,
    *,
    fold: bool,
    mean: bool,
    batch: int,
) -> None:
    """Write the way forward and back."""
    y = build.forward(build.samples(sources.x))
    n = layers[-1].n_out
    build.backward(build.loss(loss, sources, y, mean=mean, n=n, batch=batch), gradients, fold=fold)


def evaluation(
    layers: tuple[Layer, ...],
    loss: Loss,
    dtype: str,
    sources: Sources,
    target: Target,
    block: int,
    *,
    few: bool = False,
) -> Table:
    """Return the table that adds up the loss, which whoever reads it divides if a mean is meant."""
    build = _reading(_builder(loss), layers, dtype, target, block, few=few)
    y = build.forward(build.samples(sources.x))
    build.loss(loss, sources, y, mean=False, n=layers[-1].n_out, batch=block)
    build.table.ranges = RANGES
    return build.table


def prediction(
    layers: tuple[Layer, ...], dtype: str, sources: Sources, target: Target, block: int, *, few: bool = False
) -> Table:
    """Return the table that predicts; with ``few`` for so few rows that it is not worth while to pack the weights."""
    build = _reading(Builder, layers, dtype, target, block, few=few)
    y = build.forward(build.samples(sources.x))
    build.table.add("rows", "core", "put_rows", y.place, y.step, layers[-1].n_out)
    build.table.ranges = RANGES
    return build.table


def _builder(loss: Loss) -> type[Builder]:
    """Return what writes the passes of a loss."""
    return Builder if loss.slopes is None else SlopesBuilder


def _reading(
    kind: type[Builder], layers: tuple[Layer, ...], dtype: str, target: Target, block: int, *, few: bool
) -> Builder:
    assert all(layer.kind != "dropout" for layer in layers), "dropout is for training"
    build = kind(layers, dtype, target, block, few=few, reads=True)
    if not few:
        # Nothing is to be cleared: an arena begins as zeros, and nothing here writes between columns, as updates may.
        build.pack("parameters", build.parameters)
    return build
