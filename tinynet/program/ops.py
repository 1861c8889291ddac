"""Ops: what layers lower themselves to, as plain frozen data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tinynet.base.frozen import dataclass

Shape = tuple[int, ...]

Setting = float | tuple[float, ...]
"""A number; in a program of many models one for all of them, or one for each."""


class _Op:
    """What all ops share: no parameters and no buffers unless they say so."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of the trainable parameters, in the order in which they lie in the flat vector."""
        return ()

    @property
    def trains(self) -> tuple[bool, ...]:
        """Of each parameter, whether optimizers train it; what they do not, the op changes itself in training."""
        return (True,) * len(self.shapes)

    @property
    def buffer_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the vectors that are stored but not trained."""
        return ()


@dataclass(frozen=True)
class _SameWidth(_Op):
    """An op whose output is as wide as its input."""

    n: int

    @property
    def n_in(self) -> int:
        """Width of the input."""
        return self.n

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.n


@dataclass(frozen=True)
class LinearOp(_Op):
    """``y = x @ w + b``."""

    n_in: int
    n_out: int
    bias: bool = True

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The weight, and the bias where there is one."""
        weight = (self.n_in, self.n_out)
        return (weight, (self.n_out,)) if self.bias else (weight,)


@dataclass(frozen=True)
class ActivationOp(_SameWidth):
    """``y = f(x)``; ``alpha`` is the slope or scale of the kinds that have one."""

    kind: str
    alpha: float = 0.0


@dataclass(frozen=True)
class DropoutOp(_SameWidth):
    """Zero elements with probability ``rate`` while training; ``index`` numbers the op in its program."""

    rate: Setting
    index: int


@dataclass(frozen=True)
class NormalizeOp(_SameWidth):
    """``y = (x - mean) / scale`` with stored, untrained columns."""

    @property
    def buffer_shapes(self) -> tuple[Shape, ...]:
        """The mean and the scale."""
        return ((self.n,), (self.n,))


@dataclass(frozen=True)
class DenormalizeOp(NormalizeOp):
    """``y = (x - zero) / unit``: the inverse of a ``NormalizeOp``, by its own formula.

    As the last op of a program, it leads from what is learned to the units of the targets: see ``Program.learned``.
    With several ``blocks`` of columns, the first one is in the units of the targets.
    """

    blocks: int = 1


@dataclass(frozen=True)
class BlocksOp(_SameWidth):
    """Several outputs for each target, of as many numbers: a map of ``tinynet_kernels.blocks``, in ``blocks`` columns.

    Attributes
    ----------
    kind : {"increasing", "mean_variance"}
    blocks : int
        Outputs of a target: column ``i * n_targets + j`` is output ``i`` of target ``j``.
    parameter : float
        Of the map.
    """

    kind: str
    blocks: int
    parameter: float = 0.0


@dataclass(frozen=True)
class ScalarFunctions:
    """A function of numbers in Python, and its derivative by the first: what a backend may compile of a user's part.

    A layer or a loss that is no more than this has them as ``scalar_functions``.
    """

    value: Callable[..., float]
    slope: Callable[..., float]
    n_arguments: int


@dataclass(frozen=True)
class CustomOp(_Op):
    """A layer written in Python by the user; equal only to itself."""

    layer: Any
    n_in: int
    n_out: int
    parameter_shapes: tuple[Shape, ...] = ()
    untrained_shapes: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What the layer declared by ``add_parameter``."""
        return self.parameter_shapes

    @property
    def buffer_shapes(self) -> tuple[Shape, ...]:
        """What the layer declared as stored and not trained."""
        return self.untrained_shapes


@dataclass(frozen=True)
class LayerNormOp(_SameWidth):
    """``y = weight * (x - mean) / sqrt(var + eps) + bias`` over the columns of each sample."""

    eps: float = 1e-5
    affine: bool = True

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The weight and the bias, where there are some."""
        return ((self.n,), (self.n,)) if self.affine else ()


@dataclass(frozen=True)
class BatchNormOp(_SameWidth):
    """The same over the samples of a batch; by running statistics in predictions, and where it is frozen."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The weight and the bias, where there are some; the running mean and variance."""
        return ((self.n,),) * (4 if self.affine else 2)

    @property
    def trains(self) -> tuple[bool, ...]:
        """The running statistics follow the batches by themselves."""
        return (True,) * (2 * self.affine) + (False, False)


@dataclass(frozen=True)
class EmbeddingOp(_Op):
    """Columns of levels, each replaced in its place by a vector for its level."""

    n_in: int
    columns: tuple[int, ...]
    levels: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.n_in - len(self.columns) + sum(self.sizes)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """A table for each column."""
        return tuple(zip(self.levels, self.sizes, strict=True))

    @property
    def pieces(self) -> tuple[tuple[slice, slice, int], ...]:
        """From left to right: columns, where they go to, and the number of their table; -1 where they only move.

        Examples
        --------
        >>> for piece in EmbeddingOp(4, (2,), (12,), (3,)).pieces:
        ...     print(*piece)
        slice(0, 2, None) slice(0, 2, None) -1
        slice(2, 3, None) slice(2, 5, None) 0
        slice(3, 4, None) slice(5, 6, None) -1
        """
        found: list[tuple[slice, slice, int]] = []
        start = out = 0
        for column, table in sorted((column, table) for table, column in enumerate(self.columns)):
            if column > start:
                found.append((slice(start, column), slice(out, out + column - start), -1))
                out += column - start
            found.append((slice(column, column + 1), slice(out, out + self.sizes[table]), table))
            start, out = column + 1, out + self.sizes[table]
        if start < self.n_in:
            found.append((slice(start, self.n_in), slice(out, self.n_out), -1))
        return tuple(found)


@dataclass(frozen=True)
class ResidualOp(_Op):
    """``y = x + f(x)``, f a row of ops; ``y = x @ w + f(x)`` where they change the width."""

    ops: tuple[Op, ...]

    @property
    def n_in(self) -> int:
        """Width of the input."""
        return self.ops[0].n_in

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.ops[-1].n_out

    @property
    def projects(self) -> bool:
        """Whether what skips the ops must change its width."""
        return self.n_in != self.n_out

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those of the ops, and of the projection, where there is one."""
        own = tuple(shape for op in self.ops for shape in op.shapes)
        return (*own, (self.n_in, self.n_out)) if self.projects else own

    @property
    def trains(self) -> tuple[bool, ...]:
        """Those of the ops, and of the projection."""
        own = tuple(trained for op in self.ops for trained in op.trains)
        return (*own, True) if self.projects else own

    @property
    def buffer_shapes(self) -> tuple[Shape, ...]:
        """Those of the ops."""
        return tuple(shape for op in self.ops for shape in op.buffer_shapes)


Op = (
    LinearOp
    | ActivationOp
    | DropoutOp
    | NormalizeOp
    | DenormalizeOp
    | BlocksOp
    | LayerNormOp
    | BatchNormOp
    | EmbeddingOp
    | ResidualOp
    | CustomOp
)


def all_ops(ops: tuple[Op, ...]) -> Iterator[Op]:
    """Yield ops, and after each the ops within it.

    Examples
    --------
    >>> [type(op).__name__ for op in all_ops((ResidualOp((LinearOp(2, 2),)), ActivationOp(2, "tanh")))]
    ['ResidualOp', 'LinearOp', 'ActivationOp']
    """
    for op in ops:
        yield op
        if isinstance(op, ResidualOp):
            yield from all_ops(op.ops)
