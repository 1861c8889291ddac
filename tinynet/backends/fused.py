"""FusedPlan: whole epochs in one compiled function, for the programs that need no Python inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu import fused

from tinynet.backends.base import Array, Backend, FloatArray, State
from tinynet.backends.loop import LoopPlan
from tinynet.program import ActivationOp, DropoutOp, LinearOp, LossSpec, NormalizeOp, Op, OptimizerSpec, Program


class FusedPlan(LoopPlan):
    """Trains in one call of a function that is compiled for the program; predicts and evaluates as ``LoopPlan``."""

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "")
        network = lower(program, weighted=False, ordered=True)
        self.description = f"fused: whole epochs in one compiled function, {fused.tier(network)}"
        self._scratch: dict[tuple[Any, ...], tuple[fused.Epochs, tuple[Array, ...]]] = {}

    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
    ) -> NDArray[np.float64]:
        """Train; see ``Plan.run``."""
        n_epochs, dtype = len(learning_rates), self.program.dtype
        if order is None and (x.dtype != dtype or (y.ndim == 2 and y.dtype != dtype)):
            # Rows are converted where they are gathered.
            order = np.broadcast_to(np.arange(len(x)), (n_epochs, len(x))).copy()
        epochs, scratch = self._prepared(x, y, order, sample_weight)
        losses = np.zeros((n_epochs, 1))
        epochs.run(
            state.parameters,
            state.gradients,
            state.moments,
            state.buffers,
            x,
            y,
            scratch[3] if sample_weight is None else sample_weight,
            order,
            learning_rates,
            losses,
            *scratch,
            epochs.places,
            epochs.numbers,
            state.step,
            state.draws,
            state.dropout_seed,
        )
        n_visits = len(x) if order is None else order.shape[1]
        n_updates = n_epochs * -(-n_visits // (self.program.batch_size or n_visits))
        state.step += n_updates
        state.draws += n_updates
        return losses

    def _prepared(
        self, x: Array, y: Array, order: Array | None, sample_weight: Array | None
    ) -> tuple[fused.Epochs, tuple[Array, ...]]:
        """Return the function for such data, and its scratch."""
        program = self.program
        batch_size = program.batch_size or (len(x) if order is None else order.shape[1])
        key = (sample_weight is not None, order is not None, batch_size)
        if key not in self._scratch:
            network = lower(program, weighted=key[0], ordered=key[1])
            epochs = fused.epochs(network, batch_size)
            assert program.loss is not None
            index = program.loss.index_target
            empty = self.backend.empty
            self._scratch[key] = (
                epochs,
                (
                    empty((epochs.n_scratch,), program.dtype),
                    empty((batch_size, program.n_in), program.dtype),
                    empty((batch_size,), "int64") if index else empty((batch_size, program.n_out), program.dtype),
                    empty((batch_size,), program.dtype),
                ),
            )
        return self._scratch[key]


def lower(program: Program, *, weighted: bool, ordered: bool) -> fused.Network:
    """Return a program as the kernels' plain data, without the last activation where the loss reads its input."""
    loss, optimizer = program.loss, program.optimizer
    assert loss is not None
    assert optimizer is not None
    ops = program.ops[:-1] if loss.on_logits else program.ops
    return fused.Network(
        layers=_layers(ops),
        loss=_loss(loss, program.n_out),
        optimizer=_optimizer(optimizer),
        dtype=program.dtype,
        weighted=weighted,
        ordered=ordered,
    )


def _layers(ops: tuple[Op, ...]) -> tuple[fused.Layer, ...]:
    layers: list[fused.Layer] = []
    for op in ops:
        match op:
            case LinearOp():
                layers.append(fused.Layer("linear", op.n_in, op.n_out, bias=op.bias))
            case ActivationOp() if layers and layers[-1].kind == "linear" and layers[-1].activation == "identity":
                layers[-1] = layers[-1]._replace(activation=op.kind, alpha=op.alpha)
            case ActivationOp():
                layers.append(fused.Layer("activation", op.n, op.n, activation=op.kind, alpha=op.alpha))
            case DropoutOp():
                layers.append(fused.Layer("dropout", op.n, op.n, alpha=op.rate, place=op.index))
            case NormalizeOp():
                layers.append(fused.Layer("normalize", op.n, op.n))
            case _:
                raise TypeError(f"a fused plan expects built-in ops; got {op!r}.")
    return tuple(layers)


def _loss(loss: LossSpec, n_out: int) -> fused.Loss:
    return fused.Loss(
        kind=loss.kind,
        parameter=loss.parameter,
        mean=loss.reduction == "mean",
        scale=loss.scale(1, n_out),
    )


def _optimizer(optimizer: OptimizerSpec) -> fused.Optimizer:
    settings = tuple(float(value) for _, value in optimizer.settings)
    return fused.Optimizer(optimizer.kind, settings, optimizer.clip_norm, optimizer.clip_value)
