"""Blocks: several outputs for each target, as quantiles, or a mean and a variance; their losses, and maps to them.

The columns of a prediction are blocks, each as wide as the targets: of ``n`` targets, output ``i`` of target ``j`` is
column ``i * n + j``. A loss of blocks is a formula of all outputs of a target, whose text names its kind; a map makes
such outputs of as many numbers. Where a map ends a network, a loss is written of what goes into it: one formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tinynet_kernels.calls import MEASURED
from tinynet_kernels.expressions import Expression, Term, select, symbol
from tinynet_kernels.functions import softplus
from tinynet_kernels.slopes import slope_of
from tinynet_kernels.steps import term_of, text_of

E = Expression

PREFIX = "blocks"
"""What the kind of such a loss begins with, before the number of its outputs."""

TARGET = "t"


class Blocks(NamedTuple):
    """The loss of a target from its outputs, ``p0``, ``p1``, ...; ``slopes`` are its derivatives by them."""

    value: Term
    slopes: tuple[Term, ...]

    @property
    def size(self) -> int:
        """Outputs of a target."""
        return len(self.slopes)

    def symbols(self, outputs: Sequence[Any], target: Any) -> dict[str, Any]:
        """Return what the symbols of the formulas stand for."""
        return {**dict(zip(names_of(self.size), outputs, strict=True)), TARGET: target}


def names_of(size: int) -> list[str]:
    """Return what outputs are called in formulas.

    Examples
    --------
    >>> names_of(2)
    ['p0', 'p1']
    """
    return [f"p{i}" for i in range(size)]


def kind_of(formula: Callable[[list[E], E], Term], size: int) -> str:
    """Return the kind of a loss, from ``formula(outputs, target)``.

    Examples
    --------
    >>> kind_of(lambda p, t: (p[0] - t) * p[1], 2)
    'blocks2_formula__subtract_p0_t__multiply_0_p1'
    """
    names = names_of(size)
    term = formula([symbol(name) for name in names], symbol(TARGET))
    assert isinstance(term, Expression)
    return f"{PREFIX}{size}_{text_of(term, [*names, TARGET])}"


def is_blocks(kind: object) -> bool:
    """Whether a kind is that of a loss of blocks."""
    return isinstance(kind, str) and kind.removeprefix(MEASURED).startswith(PREFIX)


@lru_cache(maxsize=256)
def blocks_of(kind: str) -> Blocks:
    """Return the formulas of a kind."""
    head, _, text = kind.removeprefix(MEASURED).partition("_")
    names = names_of(int(head.removeprefix(PREFIX)))
    value: Term = term_of(text, (*names, TARGET))
    if kind.startswith(MEASURED):
        target = symbol(TARGET)
        value = select(target == target, value, 0)
    return Blocks(value, tuple(slope_of(value, name) for name in names))


# -- maps -------------------------------------------------------------------------------------------------------------


def _increasing(z: Sequence[E], _: float) -> list[E]:
    """``y_0 = z_0`` and ``y_i = y_(i - 1) + softplus(z_i)``."""
    found = [z[0]]
    for step in z[1:]:
        found.append(found[-1] + softplus(step))
    return found


def _mean_variance(z: Sequence[E], floor: float) -> list[E]:
    """The mean as it is, and ``softplus(z) + floor``."""
    mean, step = z
    return [mean, softplus(step) + floor]


MAPS: dict[str, Callable[[Sequence[E], float], list[E]]] = {
    "increasing": _increasing,
    "mean_variance": _mean_variance,
}
"""What makes the outputs of a target of as many numbers ``p0``, ``p1``, ..., and of a parameter."""


@lru_cache(maxsize=256)
def values_of(kind: str, size: int, parameter: float) -> tuple[Term, ...]:
    """Return the formulas of a map, one for each output."""
    return tuple(MAPS[kind]([symbol(name) for name in names_of(size)], parameter))


@lru_cache(maxsize=256)
def slopes_of(kind: str, size: int, parameter: float) -> tuple[tuple[Term, ...], ...]:
    """Return the derivatives of a map: of each output by each number."""
    values = values_of(kind, size, parameter)
    return tuple(tuple(slope_of(value, name) for name in names_of(size)) for value in values)


@lru_cache(maxsize=256)
def curves_of(kind: str, size: int, parameter: float) -> tuple[tuple[tuple[Term, ...], ...], ...]:
    """Return the second derivatives of a map: of each output by each pair of numbers."""
    slopes = slopes_of(kind, size, parameter)
    return tuple(tuple(tuple(slope_of(slope, name) for name in names_of(size)) for slope in row) for row in slopes)
