"""Steps: what a network computes in a prediction, as plain data, for those who write it down in another language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.frozen import dataclass
from tinynet.exchange.parts import Parts
from tinynet.layers import Layer, Residual
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
    Op,
    Program,
    ResidualOp,
)


@dataclass(frozen=True)
class Step:
    """One layer as a prediction sees it.

    Attributes
    ----------
    position : str
        Of the layer in its network; within a Residual, behind that of this: "2_0".
    op : Op
        A LinearOp, ActivationOp, NormalizeOp, BlocksOp, LayerNormOp, EmbeddingOp or ResidualOp.
    arrays : dict of str to array
        Its stored arrays by name, in host memory; of a Residual, the projection's.
    label : str
        How the layer shows itself.
    within : tuple of Step
        Of a Residual.
    """

    position: str
    op: LinearOp | ActivationOp | NormalizeOp | BlocksOp | LayerNormOp | EmbeddingOp | ResidualOp
    arrays: dict[str, NDArray[Any]]
    label: str
    within: tuple[Step, ...] = ()


DERIVED = (LinearOp, ActivationOp, NormalizeOp, BlocksOp)
"""The ops whose derivatives are written, too."""


def prediction_steps(program: Program, parts: Parts, target: str, *, derivatives: bool = False) -> list[Step]:
    """Return the layers that change what passes through them; dropout and identity do not.

    A batch norm becomes part of the linear layer before it, or a diagonal one where there is none.

    Parameters
    ----------
    program : Program
    parts : Parts
        Of the network of this program.
    target : str
        What is written, for the messages: "ONNX".
    derivatives : bool
        Whether the derivatives are to be written, too.

    Raises
    ------
    NotImplementedError
        If a layer is written in Python, or its derivatives are asked for and cannot be written.
    ValueError
        If an array holds a number that is not finite.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Dropout(0.1), tn.Linear(3, 1))
    >>> [step.label for step in prediction_steps(net.program, net.parts(), "ONNX")]
    ['Linear(2, 3)', 'Tanh()', 'Linear(3, 1)']
    """
    steps = _steps(parts.layers, program.ops, parts.arrays, "", target)
    for step in steps:
        if derivatives and not isinstance(step.op, DERIVED):
            raise NotImplementedError(
                f"layer {step.position}, {step.label}, has derivatives that cannot be written in {target}. "
                "net.jacobian computes them; or export the network without jacobian=True."
            )
    return steps


def _steps(
    layers: Sequence[Layer], ops: Sequence[Op], arrays: Sequence[dict[str, NDArray[Any]]], prefix: str, target: str
) -> list[Step]:
    """Return the steps of a row of layers, whose places are told behind a prefix."""
    steps: list[Step] = []
    for i, (layer, op, held) in enumerate(zip(layers, ops, arrays, strict=True)):
        place = f"{prefix}{i}"
        if isinstance(op, CustomOp):
            raise NotImplementedError(
                f"layer {place}, {layer!r}, is written in Python; {target} can hold only the layers of tinynet. "
                "Build it from those, or export the layers before it."
            )
        if isinstance(op, DropoutOp) or (isinstance(op, ActivationOp) and op.kind == "identity"):
            continue
        for name, array in held.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"layer {place}, {layer!r}, has a {name} that is not finite; {target} expects finite numbers. "
                    "The training has diverged: lower the learning rate and train again."
                )
        if isinstance(op, BatchNormOp):
            before = steps.pop() if steps and isinstance(steps[-1].op, LinearOp) else None
            steps.append(_folded(before, place, op, held, repr(layer)))
        elif isinstance(op, ResidualOp):
            assert isinstance(layer, Residual)
            own = [{name: held[f"{j}.{name}"] for name in part.parameter_names} for j, part in enumerate(layer.layers)]
            within = tuple(_steps(layer.layers, op.ops, own, f"{place}_", target))
            beside = {"weight": held["projection.weight"]} if op.projects else {}
            steps.append(Step(place, op, beside, repr(layer), within))
        else:
            if isinstance(op, DenormalizeOp):  # It is computed as a NormalizeOp is, whose arrays have these names.
                held = {"mean": held["zero"], "scale": held["unit"]}
            steps.append(Step(place, op, held, repr(layer)))
    return steps


def _folded(before: Step | None, place: str, op: BatchNormOp, arrays: dict[str, NDArray[Any]], label: str) -> Step:
    """Return a batch norm as one linear layer with that before it; alone it is a diagonal one."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    factor = wide.get("weight", 1.0) / np.sqrt(wide["running_var"] + op.eps)
    shift = wide.get("bias", 0.0) - wide["running_mean"] * factor
    if before is None:
        made = np.diag(factor), shift
    else:
        made = before.arrays["weight"] * factor, before.arrays.get("bias", 0.0) * factor + shift
        place, label = before.position, f"{before.label}, {label}"
    weight, bias = (array.astype(arrays["running_mean"].dtype) for array in made)
    return Step(place, LinearOp(*weight.shape), {"weight": weight, "bias": bias}, label)
