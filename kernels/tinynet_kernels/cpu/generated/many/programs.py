"""The tables of all that many models are used for: training, evaluation, prediction."""

from __future__ import annotations

from typing import NamedTuple

from tinynet_kernels.cpu.generated.many.builder import Builder, Sharing
from tinynet_kernels.cpu.generated.many.small import Options, rows_for, work_of
from tinynet_kernels.cpu.generated.small import Small
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.network import Layer, Loss, Network, Optimizer, Setting
from tinynet_kernels.updates import flags, n_moments


class Made(NamedTuple):
    """A table with what belongs to it.

    Attributes
    ----------
    table : Table
    settings : list of Setting
        Those that the table refers to by their numbers: one value for all models, or one for each.
    lanes : int
        Models side by side.
    """

    table: Table
    settings: list[Setting]
    lanes: int


def flags_of(optimizer: Optimizer) -> tuple[str, ...]:
    """Return which settings change the code of a step: where each model has its own, they may be other than 0."""
    return flags(optimizer.kind, optimizer.settings)


def is_descent(network: Network) -> bool:
    """Whether the learning rate can go into the gradient of the loss: plain gradient descent."""
    optimizer = network.optimizer
    clips = optimizer.clip_norm is not None or optimizer.clip_value is not None
    plain = not flags_of(optimizer) and not clips and not network.loss.l2 and not network.decays
    return optimizer.kind == "sgd" and plain


def training(network: Network, sources: Sources, sharing: Sharing, target: Target, batch: int, block: int) -> Made:
    """Return the table that trains.

    Parameters
    ----------
    network : Network
        Its settings may be tuples, one number for each model.
    sources : Sources
    sharing : Sharing
    target : Target
    batch, block : int
        Rows of a batch, and of those that go through the network at a time; a multiple of four unless it is the batch.
    """
    if block < batch and block % 4:
        raise ValueError(f"a part of a batch is a multiple of four rows; got {block} of {batch}.")
    loss, optimizer, on = network.loss, network.optimizer, flags_of(network.optimizer)
    build = Builder(network.layers, network.dtype, target, block, sharing)
    descent, whole = is_descent(network), block == batch
    fold = descent and whole
    gradients = build.parameters if fold else build.take(build.n)
    count = n_moments(optimizer.kind, on)
    moments = build.take(build.n * count)
    build.enter_state(moments, count)
    build.enter_columns()
    build.begin(loss, sources.weight, batch)
    if not whole:
        build.add("begin", "clear", gradients, build.n * build.vector, unit="many_products")
    d = build.loss(loss, sources, build.forward(sources.x), mean=loss.mean, step=fold)
    build.backward(d, gradients, "zero" if whole and not fold else "there")
    if loss.l2:
        build.penalize(loss, gradients)
    if not fold:
        build.update(optimizer, on, gradients, moments)
    build.add("update", "put_losses", build.totals, 1.0)
    build.leave_state(moments, count)
    return Made(build.table, build.settings, build.lanes)


def training_unrolled(
    network: Network, sources: Sources, sharing: Sharing, target: Target, batch: int, *, wide: bool = False
) -> Made:
    """Return the table that trains small networks; its kernel counts the epochs itself.

    With ``wide`` a group of models fills two registers: while one waits for a result, the other goes on.
    """
    loss, optimizer, on = network.loss, network.optimizer, flags_of(network.optimizer)
    build = Builder(network.layers, network.dtype, target, 1, sharing, wide=wide)
    count, rows = n_moments(optimizer.kind, on), rows_for(batch)
    gradients, moments = build.take(build.n), build.take(build.n * count)
    build.enter_state(moments, count)
    step = (optimizer.kind, *on)
    net = Small(network.layers, loss.kind, 0.0, sources.x, sources.y, sources.weight, rows, step)
    clips = (optimizer.clip_value is not None, optimizer.clip_norm is not None)
    options = Options(not sharing.order, not sharing.weight, loss.mean, is_descent(network), *clips)
    work, slot, norms, rates = (build.take(n) for n in (work_of(net), 2, 2, 3))
    settings = [build.setting(loss.parameter), build.setting(optimizer.clip_value or 0.0)]
    settings += [build.setting(optimizer.clip_norm or 0.0), len(build.settings)]
    build.settings += optimizer.settings
    places = (build.parameters, gradients, moments, work, slot, norms)
    unit = f"many_unrolled:{options.text()}:{net.text()}"
    build.add("prologue", "unrolled", *places, loss.scale, loss.report, *settings, rates, unit=unit)
    build.leave_state(moments, count)
    return Made(build.table, build.settings, build.lanes)


def evaluation(
    layers: tuple[Layer, ...],
    loss: Loss,
    dtype: str,
    sources: Sources,
    sharing: Sharing,
    target: Target,
    block: int,
) -> Made:
    """Return the table that adds up the loss of each model, which is divided by what the context says."""
    build = _reading(layers, dtype, target, block, sharing)
    build.begin(loss)
    build.loss(loss, sources, build.forward(sources.x), mean=False)
    build.add("update", "put_losses", build.totals, 1.0)
    return Made(build.table, build.settings, build.lanes)


def prediction(layers: tuple[Layer, ...], dtype: str, sources: Sources, target: Target, block: int) -> Made:
    """Return the table that predicts."""
    build = _reading(layers, dtype, target, block, Sharing())
    y = build.forward(sources.x)
    build.add("rows", "put_outputs", *y, layers[-1].n_out)
    return Made(build.table, build.settings, build.lanes)


def _reading(layers: tuple[Layer, ...], dtype: str, target: Target, block: int, sharing: Sharing) -> Builder:
    assert all(layer.kind != "dropout" for layer in layers), "dropout is for training"
    build = Builder(layers, dtype, target, block, sharing)
    build.enter("parameters", build.parameters, build.n)
    build.enter_columns()
    return build
