"""Blocks: several outputs for each target, made of what a network gives, on the arrays of any backend.

They are a few numbers of a row, computed formula by formula, so that there is one way for all backends: where a fused
plan predicts what they are made of, they follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from tinynet_kernels.blocks import MAPS, curves_of, kind_of, names_of, slopes_of, values_of
from tinynet_kernels.expressions import Term
from tinynet_kernels.reference.formulas import evaluate, prepared

from tinynet.base.arrays import numpy_namespace
from tinynet.program import BlocksOp

__all__ = [
    "columns",
    "curves_at",
    "evaluated",
    "loss_kind",
    "names_of",
    "slopes_at",
    "values_at",
    "write_mapped",
    "write_mapped_back",
]

Array = Any


def loss_kind(formula: Any, op: BlocksOp | None, blocks: int) -> str:
    """Return the kind of a loss of blocks, ``formula(outputs, target)``; of what a map reads, if there is one."""
    if op is None:
        return kind_of(formula, blocks)
    return kind_of(lambda z, t: formula(MAPS[op.kind](z, op.parameter), t), blocks)


def columns(op: BlocksOp, z: Array) -> list[Array]:
    """Return the blocks of the columns of a (..., n) array, as views."""
    width = op.n // op.blocks
    return [z[..., i * width : (i + 1) * width] for i in range(op.blocks)]


def values_at(op: BlocksOp) -> tuple[Term, ...]:
    """Return the formulas of a map, one for each output."""
    return values_of(op.kind, op.blocks, op.parameter)


def slopes_at(op: BlocksOp) -> tuple[tuple[Term, ...], ...]:
    """Return the derivatives of a map: of each output by each number."""
    return slopes_of(op.kind, op.blocks, op.parameter)


def curves_at(op: BlocksOp) -> tuple[tuple[tuple[Term, ...], ...], ...]:
    """Return the second derivatives of a map: of each output by each pair of numbers."""
    return curves_of(op.kind, op.blocks, op.parameter)


def write_mapped(op: BlocksOp, z: Array, out: Array) -> None:
    """Write the outputs to ``out``, which may be ``z``."""
    with np.errstate(all="ignore"):
        values = _values(op)(_symbols(op, z), numpy_namespace(z))
    for part, value in zip(columns(op, out), values, strict=True):
        part[...] = value


def write_mapped_back(op: BlocksOp, z: Array, dy: Array, dz: Array) -> None:
    """Write the gradient by ``z`` of what ``dy`` is the gradient of by the outputs."""
    with np.errstate(all="ignore"):
        slopes = _slopes(op)(_symbols(op, z), numpy_namespace(z))
        for j, part in enumerate(columns(op, dz)):
            part[...] = sum(slope * above for slope, above in zip(slopes[j :: op.blocks], columns(op, dy), strict=True))


def evaluated(op: BlocksOp, terms: Any, z: Array) -> list[Any]:
    """Return the values of formulas of the blocks of ``z``."""
    return evaluate(terms, _symbols(op, z), numpy_namespace(z))


def _symbols(op: BlocksOp, z: Array) -> dict[str, Array]:
    return dict(zip(names_of(op.blocks), columns(op, z), strict=True))


@lru_cache(maxsize=64)
def _values(op: BlocksOp) -> Callable[..., list[Any]]:
    return prepared(*values_at(op))


@lru_cache(maxsize=64)
def _slopes(op: BlocksOp) -> Callable[..., list[Any]]:
    """Return what computes all derivatives, those of an output after the other."""
    return prepared(*(slope for row in slopes_at(op) for slope in row))
