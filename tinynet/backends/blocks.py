"""Blocks: several outputs for each target, made of what a network gives, on the arrays of any backend.

They are a few numbers of a row, computed formula by formula, so that there is one way for all backends: where a fused
plan predicts what they are made of, they follow it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tinynet_kernels.blocks import MAPS, curves_of, kind_of, names_of, slopes_of, values_of
from tinynet_kernels.expressions import Term
from tinynet_kernels.reference.formulas import evaluate

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
        values = evaluated(op, values_at(op), z)
    for part, value in zip(columns(op, out), values, strict=True):
        part[...] = value


def write_mapped_back(op: BlocksOp, z: Array, dy: Array, dz: Array) -> None:
    """Write the gradient by ``z`` of what ``dy`` is the gradient of by the outputs."""
    slopes, parts = slopes_at(op), columns(op, dy)
    with np.errstate(all="ignore"):
        for j, part in enumerate(columns(op, dz)):
            own = evaluated(op, [row[j] for row in slopes], z)
            part[...] = sum(slope * above for slope, above in zip(own, parts, strict=True))


def evaluated(op: BlocksOp, terms: Any, z: Array) -> list[Any]:
    """Return the values of formulas of the blocks of ``z``."""
    symbols = dict(zip(names_of(op.blocks), columns(op, z), strict=True))
    return evaluate(terms, symbols, numpy_namespace(z))
