"""Chain: the stages of a network, bound to where the parameters lie, and the way through them and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from tinynet.backends.base import Array, Backend, State, views
from tinynet.backends.embedding import EmbeddingStage
from tinynet.backends.norms import BatchNormStage, LayerNormStage
from tinynet.backends.slopes import SLOPES, BlocksOfRows, Directions
from tinynet.backends.stages import (
    ActivationStage,
    BlocksStage,
    CustomStage,
    DropoutStage,
    LinearStage,
    NormalizeStage,
    Own,
    Stage,
)
from tinynet.program import (
    ActivationOp,
    BatchNormOp,
    BlocksOp,
    CustomOp,
    DenormalizeOp,
    DropoutOp,
    EmbeddingOp,
    LayerNormOp,
    LinearOp,
    NormalizeOp,
    Program,
    ResidualOp,
)

Bound = list[tuple[Stage, Own]]


class Chain:
    """A sequence of stages together with where their parameters lie.

    With ``slopes``, it leads to outputs and their derivatives by the inputs.
    """

    def __init__(self, program: Program, n_ops: int, backend: Backend, *, slopes: bool = False) -> None:
        self.stages = (stages_with_slopes if slopes else stages_of)(program, n_ops, backend)
        self._layouts: list[tuple[Any, Any, bool]] = []
        position = program.first
        for stage in self.stages:
            # Only the first op of a stage can own parameters: the second, if any, is an activation.
            layouts = (program.parameter_layout[position], program.buffer_layout[position]) if stage.n_ops else ((), ())
            self._layouts.append((*layouts, position in program.frozen))
            position += stage.n_ops

    def bind(self, state: State) -> Bound:
        """Return each stage with the views that belong to it."""
        bound = []
        for stage, (layout, held, frozen) in zip(self.stages, self._layouts, strict=True):
            gradients = None if frozen else views(state.gradients, layout)
            bound.append((stage, Own(views(state.parameters, layout), views(state.buffers, held), gradients)))
        return bound


def forward(bound: Bound, x: Array, state: State | None) -> Array:
    """Go through a chain; ``state`` is None outside training."""
    for stage, own in bound:
        x = stage.forward(x, own, state)
    return x


def backward(bound: Bound, dy: Array, need_dx: bool) -> Array:
    """Go back through a chain and fill its gradients; return that with respect to what went in, if it is needed.

    Where it is not needed, the way ends at the first stage that learns.
    """
    first = 0 if need_dx else next((i for i, (stage, own) in enumerate(bound) if stage.learns(own)), len(bound))
    for position in range(len(bound) - 1, first - 1, -1):
        stage, own = bound[position]
        dy = stage.backward(dy, own, need_dx or position > first)
    return dy


def zero_frozen(program: Program, gradients: Array) -> None:
    """Set the gradients of frozen parameters to 0: what stands there is of an earlier pass, or a user's layer's."""
    for i in program.frozen:
        for view in views(gradients, program.parameter_layout[i]):
            view[...] = 0


class ResidualStage(Stage):
    """A chain within the chain, and what went into it added to what comes out: ``y = x + f(x)``."""

    def __init__(self, op: ResidualOp, backend: Backend, program: Program) -> None:
        super().__init__(backend, program.dtype)
        self.op, self._namespace = op, backend.namespace
        within = Program(op.ops, dtype=program.dtype, precision=program.precision)
        self._stages, self._skip = stages_of(within, len(op.ops), backend), None
        # Only the first op of a stage can own anything, as in a chain.
        position, self._own_ops = 0, []
        for stage in self._stages:
            self._own_ops.append(op.ops[position])
            position += stage.n_ops
        if op.projects:
            self._skip = LinearStage(LinearOp(op.n_in, op.n_out, bias=False), None, backend, program)

    def forward(self, x: Array, own: Own, state: State | None) -> Array:
        inner, skip = self._bound(own)
        y = self.scratch("y", len(x), self.op.n_out)
        beside = x if self._skip is None else self._skip.forward(x, skip, state)
        self._namespace.add(forward(inner, x, state), beside, out=y)
        return y

    def backward(self, dy: Array, own: Own, need_dx: bool) -> Array:
        inner, skip = self._bound(own)
        beside = dy if self._skip is None else self._skip.backward(dy, skip, need_dx)
        through = backward(inner, dy, need_dx)
        if not need_dx:
            return None
        dx = self.scratch("dx", len(dy), self.op.n_in)
        self._namespace.add(through, beside, out=dx)
        return dx

    def _bound(self, own: Own) -> tuple[Bound, Own]:
        """Return each stage within with what belongs to it, and what belongs to the projection."""
        parameters, buffers = iter(own.parameters), iter(own.buffers)
        gradients = None if own.gradients is None else iter(own.gradients)

        def taken(n: int, n_buffers: int) -> Own:
            mine = None if gradients is None else tuple(islice(gradients, n))
            return Own(tuple(islice(parameters, n)), tuple(islice(buffers, n_buffers)), mine)

        inner = [
            (stage, taken(len(op.shapes), len(op.buffer_shapes)))
            for stage, op in zip(self._stages, self._own_ops, strict=True)
        ]
        return inner, taken(int(self.op.projects), 0)


_STAGES: dict[type, Callable[[Any, Backend, str], Stage]] = {
    ActivationOp: ActivationStage,
    DropoutOp: DropoutStage,
    NormalizeOp: NormalizeStage,
    DenormalizeOp: NormalizeStage,
    BlocksOp: BlocksStage,
    LayerNormOp: LayerNormStage,
    BatchNormOp: BatchNormStage,
    EmbeddingOp: EmbeddingStage,
    CustomOp: CustomStage,
}


def stages_of(
    program: Program, n_ops: int, backend: Backend, others: Mapping[type[Stage], type[Stage]] | None = None
) -> list[Stage]:
    """Chain the stages for the first ops of a program; a linear op takes the activation after it along.

    ``others`` are subclasses that are to be used instead.
    """
    chosen: Any = others or {}
    ops = program.ops[:n_ops]
    stages: list[Stage] = []
    position = program.first
    while position < len(ops):
        op = ops[position]
        if isinstance(op, LinearOp):
            following = ops[position + 1] if position + 1 < len(ops) else None
            activation = following if isinstance(following, ActivationOp) else None
            stages.append(chosen.get(LinearStage, LinearStage)(op, activation, backend, program))
        elif isinstance(op, ResidualOp):
            stages.append(ResidualStage(op, backend, program))
        else:
            kind = _STAGES[type(op)]
            stages.append(chosen.get(kind, kind)(op, backend, program.dtype))
        position += stages[-1].n_ops
    return stages


def stages_with_slopes(program: Program, n_ops: int, backend: Backend) -> list[Stage]:
    """Chain the stages for the first ops of a program: from samples to blocks of outputs and their derivatives.

    Derivatives are by what a first ``Normalize`` makes of the inputs, as outputs are what a last ``Denormalize`` reads.
    """
    stages = stages_of(program, n_ops, backend, SLOPES)
    for stage in stages:
        assert isinstance(stage, BlocksOfRows)
        stage.n_directions = program.n_in
    begins = program.first == 0 and isinstance(program.ops[0], NormalizeOp)
    before = stages_of(program, 1, backend) if begins else []
    return [*before, Directions(program.n_in, backend, program.dtype), *stages[len(before) :]]
