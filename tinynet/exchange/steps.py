"""Steps: what a network computes in a prediction, as plain data, for those who write it down in another language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.exchange.parts import Parts
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


@dataclass(frozen=True)
class Step:
    """One layer as a prediction sees it.

    Attributes
    ----------
    position : int
        Of the layer in its network.
    op : LinearOp, ActivationOp, NormalizeOp or BlocksOp
    arrays : dict of str to array
        Its stored arrays by name, in host memory.
    label : str
        How the layer shows itself.
    """

    position: int
    op: LinearOp | ActivationOp | NormalizeOp | BlocksOp
    arrays: dict[str, NDArray[Any]]
    label: str


def prediction_steps(program: Program, parts: Parts, target: str) -> list[Step]:
    """Return the layers that change what passes through them; dropout and identity do not.

    Parameters
    ----------
    program : Program
    parts : Parts
        Of the network of this program.
    target : str
        What is written, for the messages: "ONNX".

    Raises
    ------
    NotImplementedError
        If a layer is written in Python.
    ValueError
        If an array holds a number that is not finite.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Dropout(0.1), tn.Linear(3, 1))
    >>> [step.label for step in prediction_steps(net.program, net.parts(), "ONNX")]
    ['Linear(2, 3)', 'Tanh()', 'Linear(3, 1)']
    """
    steps = []
    for position, (layer, op) in enumerate(zip(parts.layers, program.ops, strict=True)):
        if isinstance(op, CustomOp):
            raise NotImplementedError(
                f"layer {position}, {layer!r}, is written in Python; {target} can hold only the layers of tinynet. "
                "Build it from those, or export the layers before it."
            )
        if isinstance(op, LayerNormOp | BatchNormOp | EmbeddingOp | ResidualOp):
            raise NotImplementedError(
                f"layer {position}, {layer!r}, cannot be written in {target} yet. Export the layers before it."
            )
        if isinstance(op, DropoutOp) or (isinstance(op, ActivationOp) and op.kind == "identity"):
            continue
        arrays = parts.arrays[position]
        if isinstance(op, DenormalizeOp):  # It is computed as a NormalizeOp is, whose arrays have these names.
            arrays = {"mean": arrays["zero"], "scale": arrays["unit"]}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"layer {position}, {layer!r}, has a {name} that is not finite; {target} expects finite numbers. "
                    "The training has diverged: lower the learning rate and train again."
                )
        steps.append(Step(position, op, arrays, repr(layer)))
    return steps
