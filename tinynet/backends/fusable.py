"""Which ops fused functions can be written for; ``lowering`` turns those into the kernels' plain data."""

from __future__ import annotations

from tinynet.program import (
    ActivationOp,
    BatchNormOp,
    DropoutOp,
    LayerNormOp,
    LinearOp,
    NormalizeOp,
    Op,
    ResidualOp,
)

FUSED = (LinearOp, ActivationOp, DropoutOp, NormalizeOp)
"""The ops that fused functions are written from."""


def can_lower(*ops: Op) -> bool:
    """Tell whether fused functions can be written for all of some ops."""
    return all(isinstance(op, FUSED) for op in ops)


def can_generate(*ops: Op) -> bool:
    """Tell whether whole epochs of one model can be written for all of some ops, on the processor."""
    return all(
        isinstance(op, (*FUSED, LayerNormOp, BatchNormOp)) or (isinstance(op, ResidualOp) and can_generate(*op.ops))
        for op in ops
    )
