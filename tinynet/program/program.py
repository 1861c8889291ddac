"""The program itself: ops, a loss and an optimizer, and where in flat vectors their numbers lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from tinynet.base.frozen import dataclass
from tinynet.program.ops import (
    BlocksOp,
    CustomOp,
    DenormalizeOp,
    DropoutOp,
    NormalizeOp,
    Op,
    Setting,
    Shape,
    all_ops,
)
from tinynet.program.specs import LossSpec, OptimizerSpec

Specialize = Literal["sizes", "kind"]
Precision = Literal["float32", "tf32", "bf16"]

PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
"""What the factors of matrix products may be rounded to: nothing less than the model's dtype, TF32 with 10 bits of
mantissa, bfloat16 with 7. Sums, results, weights and updates keep the model's dtype."""


@dataclass(frozen=True)
class Program:
    """What to compute: frozen, hashable, free of arrays.

    Attributes
    ----------
    n_models : int or None
        None: one model. A number, which may be 1: an ensemble of so many models that are trained together; all arrays
        of its state have the models as an axis of their own, see ``State``.
    specialize : {"sizes", "kind"}
        What is worth compiling for it, where a backend compiles: a function with all sizes in it, or one for all
        networks of this kind.
    precision : {"float32", "tf32", "bf16"}
        What the factors of matrix products may be rounded to; "float32" is the full precision of ``dtype``.
    frozen : tuple of int
        Numbers of the ops whose parameters are not trained: no gradient is computed for them, no optimizer remembers
        anything of them or changes them.
    standardised : bool
        Whether samples have gone through the first op, a ``NormalizeOp``, already.
    idle_buffers : int
        How many buffers, at the end of their vector, belong to an op that is left out: see ``learned``.

    Examples
    --------
    >>> from tinynet.program import ActivationOp, LinearOp
    >>> program = Program((LinearOp(4, 5), ActivationOp(5, "sigmoid"), LinearOp(5, 3)), dtype="float64")
    >>> program.n_in, program.n_out, program.n_parameters
    (4, 3, 43)
    """

    ops: tuple[Op, ...]
    loss: LossSpec | None = None
    optimizer: OptimizerSpec | None = None
    dtype: str = "float32"
    batch_size: int | None = None
    n_models: int | None = None
    specialize: Specialize = "sizes"
    precision: Precision = "float32"
    frozen: tuple[int, ...] = ()
    standardised: bool = False
    idle_buffers: int = 0

    @property
    def reads(self) -> str:
        """The dtype that samples are computed on in: float64 where they are standardised before all else.

        Examples
        --------
        >>> from tinynet.program import LinearOp
        >>> program = Program((NormalizeOp(4), LinearOp(4, 3)), dtype="float32")
        >>> program.reads, replace(program, standardised=True).reads
        ('float64', 'float32')
        """
        return "float64" if isinstance(self.ops[0], NormalizeOp) and not self.standardised else self.dtype

    @property
    def scales_targets(self) -> bool:
        """Whether the outputs have the units of the targets, and the loss is taken on standardised ones."""
        return len(self.ops) > 1 and isinstance(self.ops[-1], DenormalizeOp)

    @property
    def reads_slopes(self) -> bool:
        """Whether the loss reads the derivatives of the outputs by the inputs."""
        return self.loss is not None and self.loss.slopes is not None

    @property
    def learned(self) -> Program:
        """The program as it is trained, which gives standardised targets, of the same state.

        Examples
        --------
        >>> from tinynet.program import LinearOp
        >>> Program((LinearOp(4, 3), DenormalizeOp(3))).learned.ops
        (LinearOp(n_in=4, n_out=3, bias=True),)
        """
        return replace(self, ops=self.ops[:-1], idle_buffers=2 * self.n_out) if self.scales_targets else self

    def taught(self, loss: LossSpec) -> Program:
        """Return the program as it is trained on a loss: without a last ``BlocksOp`` that the loss has in it.

        Examples
        --------
        >>> from tinynet.program import LinearOp
        >>> program = Program((LinearOp(4, 2), BlocksOp(2, "mean_variance", 2)))
        >>> program.taught(LossSpec("blocks2_formula__...", on_logits=True)).ops
        (LinearOp(n_in=4, n_out=2, bias=True),)
        """
        learned = self.learned
        if loss.on_logits and len(learned.ops) > 1 and isinstance(learned.ops[-1], BlocksOp):
            return replace(learned, ops=learned.ops[:-1], loss=replace(loss, on_logits=False))
        return replace(learned, loss=loss)

    @property
    def maps(self) -> tuple[Op, ...]:
        """The ops at the end that turn numbers into several outputs for each target; most often there are none."""
        start = len(self.ops) - self.scales_targets - 1
        return self.ops[start:] if start > 0 and isinstance(self.ops[start], BlocksOp) else ()

    @property
    def predicts_by_maps(self) -> bool:
        """Whether it does nothing but predict, and ends in ``maps``."""
        return bool(self.maps) and self.loss is None and self.optimizer is None

    @property
    def before_maps(self) -> Program:
        """The program that computes what ``maps`` read, of the same state."""
        idle = 2 * self.n_out if self.scales_targets else self.idle_buffers
        return replace(self, ops=self.ops[: -len(self.maps)], idle_buffers=idle) if self.maps else self

    @property
    def first(self) -> int:
        """Number of the first op that is left to compute."""
        return int(self.standardised)

    @property
    def frozen_left(self) -> tuple[int, ...]:
        """The numbers of the frozen ops among those that are left."""
        return tuple(i - self.first for i in self.frozen if i >= self.first)

    @property
    def first_buffer(self) -> int:
        """Where the buffers of the ops that are left begin in the flat vector."""
        return 2 * self.n_in if self.standardised else 0

    @property
    def own_buffers(self) -> slice:
        """Where the buffers of the ops that are left lie in the flat vector."""
        return slice(self.first_buffer, self.n_buffers - self.idle_buffers)

    @property
    def n_in(self) -> int:
        """Width of the input."""
        return self.ops[0].n_in

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.ops[-1].n_out

    @cached_property
    def parameter_layout(self) -> tuple[tuple[tuple[int, Shape], ...], ...]:
        """For each op, the offset and the shape of each of its parameters in the flat vector."""
        return _layout([op.shapes for op in self.ops])

    @cached_property
    def buffer_layout(self) -> tuple[tuple[tuple[int, Shape], ...], ...]:
        """For each op, the offset and the shape of each of its buffers in their flat vector."""
        return _layout([op.buffer_shapes for op in self.ops])

    @cached_property
    def n_parameters(self) -> int:
        """Length of the flat vector of parameters."""
        return sum(math.prod(shape) for op in self.ops for shape in op.shapes)

    @cached_property
    def trained(self) -> tuple[slice, ...]:
        """What of the flat vector of parameters is trained, in as few ranges as can be.

        Examples
        --------
        >>> from tinynet.program import LinearOp
        >>> ops = (LinearOp(1, 2), LinearOp(2, 2), LinearOp(2, 1))
        >>> Program(ops).trained, Program(ops, frozen=(1,)).trained
        ((slice(0, 13, None),), (slice(0, 4, None), slice(10, 13, None)))
        """
        ranges: list[slice] = []
        for part, trained in self._parts:
            if not trained or part.start == part.stop:
                continue
            if ranges and ranges[-1].stop == part.start:
                ranges[-1] = slice(ranges[-1].start, part.stop)
            else:
                ranges.append(part)
        return tuple(ranges)

    @cached_property
    def _parts(self) -> tuple[tuple[slice, bool], ...]:
        """Where each parameter lies in the flat vector, and whether it is trained."""
        pairs = zip(self.ops, self.parameter_layout, strict=True)
        return tuple(
            (slice(start, start + math.prod(shape)), trained and i not in self.frozen)
            for i, (op, row) in enumerate(pairs)
            for (start, shape), trained in zip(row, op.trains, strict=True)
        )

    @cached_property
    def n_trained(self) -> int:
        """Number of parameters that are trained."""
        return sum(part.stop - part.start for part in self.trained)

    @cached_property
    def decays(self) -> tuple[tuple[slice, float], ...]:
        """Where parameters have a weight decay of their own, among those that are trained, and which.

        Examples
        --------
        >>> from tinynet.program import LinearOp
        >>> update = OptimizerSpec("sgd", decays=(0.1, 0.0, 0.1, 0.2))
        >>> Program((LinearOp(1, 2), LinearOp(2, 1)), optimizer=update, frozen=(0,)).decays
        ((slice(0, 2, None), 0.1), (slice(2, 3, None), 0.2))
        """
        found, stop = [], 0
        decays = () if self.optimizer is None else self.optimizer.decays
        for (part, trained), decay in zip(self._parts, decays, strict=False):
            if trained:
                start, stop = stop, stop + part.stop - part.start
                if decay:
                    found.append((slice(start, stop), decay))
        return tuple(found)

    @cached_property
    def n_buffers(self) -> int:
        """Length of the flat vector of buffers."""
        return sum(math.prod(shape) for op in self.ops for shape in op.buffer_shapes) + self.idle_buffers

    @property
    def user_code(self) -> tuple[Any, ...]:
        """Layers and losses that users have written in Python: what one thread at a time may work with."""
        layers = tuple(op.layer for op in all_ops(self.ops) if isinstance(op, CustomOp))
        return layers if self.loss is None or self.loss.custom is None else (*layers, self.loss.custom)

    @property
    def own_settings(self) -> dict[str, tuple[float, ...]]:
        """Settings that have a number for each model, by what they belong to.

        Examples
        --------
        >>> Program((DropoutOp(4, (0.1, 0.2), 0),)).own_settings
        {'dropout rate of layer 0': (0.1, 0.2)}
        """
        found = {f"dropout rate of layer {op.index}": op.rate for op in self.ops if isinstance(op, DropoutOp)}
        if self.loss is not None:
            found["parameter of the loss"] = self.loss.parameter
            if self.loss.slopes is not None:
                found["parameter of the loss of slopes"] = self.loss.slopes.parameter
        if self.optimizer is not None:
            found |= dict(self.optimizer.settings)
            found |= {"clip_norm": self.optimizer.clip_norm or 0.0, "clip_value": self.optimizer.clip_value or 0.0}
        return {name: value for name, value in found.items() if isinstance(value, tuple)}

    def member(self, i: int) -> Program:
        """Return the program of one model of an ensemble.

        Examples
        --------
        >>> program = Program((DropoutOp(4, (0.1, 0.2), 0),), n_models=2)
        >>> program.member(1).ops
        (DropoutOp(n=4, rate=0.2, index=0),)
        """
        return self._with(lambda value: value[i] if isinstance(value, tuple) else value, None)

    def select(self, members: Sequence[int]) -> Program:
        """Return the program of some models of an ensemble, in this order.

        Examples
        --------
        >>> program = Program((DropoutOp(4, (0.1, 0.2, 0.3), 0),), n_models=3)
        >>> program.select([2, 0]).ops
        (DropoutOp(n=4, rate=(0.3, 0.1), index=0),)
        """
        return self._with(
            lambda value: tuple(value[i] for i in members) if isinstance(value, tuple) else value, len(members)
        )

    def _with(self, change: Callable[[Setting], Setting], n_models: int | None) -> Program:
        """Return the program with all its settings changed."""
        loss, optimizer = self.loss, self.optimizer
        if loss is not None:
            slopes = None if loss.slopes is None else replace(loss.slopes, parameter=change(loss.slopes.parameter))
            loss = replace(loss, parameter=change(loss.parameter), slopes=slopes)
        if optimizer is not None:
            optimizer = replace(
                optimizer,
                settings=tuple((name, change(value)) for name, value in optimizer.settings),
                clip_norm=None if optimizer.clip_norm is None else change(optimizer.clip_norm),
                clip_value=None if optimizer.clip_value is None else change(optimizer.clip_value),
            )
        ops = tuple(replace(op, rate=change(op.rate)) if isinstance(op, DropoutOp) else op for op in self.ops)
        return replace(self, ops=ops, loss=loss, optimizer=optimizer, n_models=n_models)


def _layout(shapes_of_ops: list[tuple[Shape, ...]]) -> tuple[tuple[tuple[int, Shape], ...], ...]:
    """Lay the shapes one after the other in a flat vector."""
    offset, rows = 0, []
    for shapes in shapes_of_ops:
        row = []
        for shape in shapes:
            row.append((offset, shape))
            offset += math.prod(shape)
        rows.append(tuple(row))
    return tuple(rows)
