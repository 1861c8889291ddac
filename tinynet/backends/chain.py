"""Chain: the stages of a network, bound to where the parameters lie, and the way through them and back."""

from __future__ import annotations

from typing import Any

from tinynet.backends.base import Array, Backend, State, views
from tinynet.backends.slopes import stages_with_slopes
from tinynet.backends.stages import Own, Stage, stages_of
from tinynet.program import Program

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
