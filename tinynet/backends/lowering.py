"""Lowering: a program as the kernels' plain data, which the fused functions of every backend are written from."""

from __future__ import annotations

from tinynet_kernels.network import Layer, Loss, Network, Optimizer

from tinynet.program import (
    ActivationOp,
    BatchNormOp,
    DropoutOp,
    LayerNormOp,
    LinearOp,
    LossSpec,
    NormalizeOp,
    Op,
    OptimizerSpec,
    Program,
    ResidualOp,
)


def lower(program: Program, *, weighted: bool, ordered: bool) -> Network:
    """Return a program as the kernels' plain data, without the last activation where the loss reads its input."""
    loss, optimizer = program.loss, program.optimizer
    assert loss is not None
    assert optimizer is not None
    ops = program.ops[:-1] if loss.on_logits else program.ops
    return Network(
        layers=_with_decays(layers_of(ops[program.first :], program.frozen_left), optimizer),
        loss=loss_of(loss, program.n_out, program.n_in),
        optimizer=_optimizer(optimizer),
        dtype=program.dtype,
        weighted=weighted,
        ordered=ordered,
    )


def layers_of(ops: tuple[Op, ...], frozen: tuple[int, ...] = (), n_forks: int = 0) -> tuple[Layer, ...]:
    """Return ops as layers; a linear one takes the activation after it along.

    ``frozen`` are places among the ops, ``n_forks`` counts those before them, so that no two have one number.
    """
    layers: list[Layer] = []
    for i, op in enumerate(ops):
        match op:
            case LinearOp():
                layers.append(Layer("linear", op.n_in, op.n_out, bias=op.bias, frozen=i in frozen))
            case ActivationOp() if layers and layers[-1].kind == "linear" and layers[-1].activation == "identity":
                layers[-1] = layers[-1]._replace(activation=op.kind, alpha=op.alpha)
            case ActivationOp():
                layers.append(Layer("activation", op.n, op.n, activation=op.kind, alpha=op.alpha))
            case DropoutOp():
                layers.append(Layer("dropout", op.n, op.n, alpha=op.rate, place=op.index))
            case NormalizeOp():
                layers.append(Layer("normalize", op.n, op.n))
            case LayerNormOp():
                layers.append(Layer("layer_norm", op.n, op.n, op.affine, alpha=op.eps, frozen=i in frozen))
            case BatchNormOp():
                made = Layer("batch_norm", op.n, op.n, op.affine, alpha=op.eps, frozen=i in frozen)
                layers.append(made._replace(momentum=op.momentum))
            case ResidualOp():
                before = n_forks + sum(layer.kind == "fork" for layer in layers)
                within = layers_of(op.ops, tuple(range(len(op.ops))) if i in frozen else (), before + 1)
                layers.append(Layer("fork", op.n_in, op.n_in, place=before))
                join = Layer("join", op.n_out, op.n_out, place=before, frozen=i in frozen)
                layers += [*within, join._replace(beside=op.n_in * op.projects)]
            case _:
                raise TypeError(f"a fused plan expects built-in ops; got {op!r}.")
    return tuple(layers)


def _with_decays(layers: tuple[Layer, ...], optimizer: OptimizerSpec) -> tuple[Layer, ...]:
    """Return the layers with the weight decay that each of their parameters has, if they have their own."""
    if not optimizer.decays:
        return layers
    decays = iter(optimizer.decays)
    found = []
    for layer in layers:
        weight, bias = (next(decays) if n else 0.0 for n in (layer.weight_rows, layer.weight_rows and layer.bias))
        found.append(layer._replace(decay=(weight, bias)))
        if layer.kind == "batch_norm":  # Its running statistics have none.
            next(decays), next(decays)
    return tuple(found)


def loss_of(loss: LossSpec, n_out: int, n_in: int = 0) -> Loss:
    """Return a loss as the kernels' plain data; one that reads slopes is of so many inputs."""
    return Loss(
        kind=loss.kind,
        parameter=loss.parameter,
        mean=loss.reduction == "mean",
        scale=loss.scale(1, n_out),
        report=loss.report,
        l2=loss.l2,
        by_weight=loss.by_weight,
        slopes=None if loss.slopes is None else loss_of(loss.slopes, n_out * n_in),
    )


def _optimizer(optimizer: OptimizerSpec) -> Optimizer:
    settings = tuple(value if isinstance(value, tuple) else float(value) for _, value in optimizer.settings)
    return Optimizer(optimizer.kind, settings, optimizer.clip_norm, optimizer.clip_value)
