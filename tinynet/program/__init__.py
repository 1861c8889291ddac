"""Program: the model, the loss and the optimizer as plain frozen data.

It is all that crosses the seam between WHAT is computed (layers, losses, optimizers) and HOW (backends). It is
hashable, so a backend can keep the plan that it made for it.
"""

from tinynet.program.ops import (
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
    Op,
    ResidualOp,
    ScalarFunctions,
    Setting,
    Shape,
    all_ops,
)
from tinynet.program.program import PRECISIONS, Precision, Program, Specialize
from tinynet.program.specs import LossSpec, OptimizerSpec

__all__ = [
    "PRECISIONS",
    "ActivationOp",
    "BatchNormOp",
    "BlocksOp",
    "CustomOp",
    "DenormalizeOp",
    "DropoutOp",
    "EmbeddingOp",
    "LayerNormOp",
    "LinearOp",
    "LossSpec",
    "NormalizeOp",
    "Op",
    "OptimizerSpec",
    "Precision",
    "Program",
    "ResidualOp",
    "ScalarFunctions",
    "Setting",
    "Shape",
    "Specialize",
    "all_ops",
]
