"""Units: the pieces in which machine code is made, kept and loaded.

A unit is named by what it holds, such as ``activation:relu`` or ``gather:<f4``, and made for a dtype and a processor.
It serves all networks, so that a new one compiles only the kinds that no network before it had.
"""

from __future__ import annotations

from tinynet_kernels.cpu.generated import (
    abreast,
    cholesky,
    curvature,
    data,
    driver,
    elementwise,
    few,
    fold,
    levenberg,
    losses,
    normal,
    norms,
    packing,
    products,
    random,
    registers,
    samples,
    sobolev,
    softmax,
    tangents,
    team,
    updates,
)
from tinynet_kernels.cpu.generated.frame import Kernel, write
from tinynet_kernels.cpu.generated.ir import Module
from tinynet_kernels.cpu.generated.many import units as many
from tinynet_kernels.cpu.generated.many.builder import WIDE
from tinynet_kernels.cpu.generated.names import symbol
from tinynet_kernels.cpu.generated.small import Small
from tinynet_kernels.cpu.generated.target import Target

_FIXED: dict[str, list[Kernel]] = {
    "core": [*driver.KERNELS, *data.KERNELS, *packing.KERNELS],
    "team": team.KERNELS,
    "products": products.KERNELS,
    "few": few.KERNELS,
    "large": [*products.ADDED, *packing.BLOCKS],
    "dropout": random.KERNELS,
    "normalize": elementwise.NORMALIZE,
    "layer_norm": norms.LAYER_NORM,
    "batch_norm": norms.BATCH_NORM,
    "skip": norms.SKIP,
    "projection": products.ADDED,
    "activation:softmax": softmax.KERNELS,
    "updates": updates.KERNELS,
    "abreast": [*abreast.KERNELS, *curvature.KERNELS, *normal.KERNELS],
    "descent": [*fold.KERNELS, *cholesky.KERNELS, *levenberg.KERNELS],
    "tangents": tangents.KERNELS,
    **many.FIXED,
}


def kernels_of(unit: str) -> list[Kernel]:
    """Return the kernels of a unit.

    Examples
    --------
    >>> [kernel.name for kernel in kernels_of("activation:relu")]
    ['relu_forward', 'relu_backward']
    >>> [kernel.name for kernel in kernels_of("step:sgd:momentum")]
    ['step_sgd_momentum']
    """
    unit = unit.removeprefix(WIDE)
    if unit in _FIXED:
        return _FIXED[unit]
    kind, *rest = unit.split(":")
    if kind in many.MADE:
        return many.MADE[kind](rest)
    if kind == "activation":
        return elementwise.activations(rest[0])
    if kind == "abreast":
        return [Kernel(f"{rest[0]}_abreast", abreast.activation(rest[0]))]
    if kind == "tangents":
        return [Kernel(f"{rest[0]}_curved", tangents.curved(rest[0]))]
    if kind == "curvature":
        return curvature.curvature(rest[0])
    if kind == "curvature_of":
        return sobolev.curvatures(rest[0])
    if kind == "loss":
        return losses.loss(rest[0])
    if kind in ("samples", "registers"):
        written = {"samples": samples.samples, "registers": registers.registers}[kind]
        return [Kernel(kind, written(Small.of(unit.split(":", 1)[1])), spills=True)]
    if kind == "step":
        return updates.optimizer(rest[0], tuple(rest[1:]))
    made = {"gather": data.gather, "doubles": data.gather_doubles, "labels": data.gather_labels}[kind](rest[0])
    return [Kernel(kind, made)]


def text_of(unit: str, dtype: str, target: Target) -> str:
    """Return a unit as LLVM reads it."""
    module = Module(target, dtype, 2 if unit.startswith(WIDE) else 1)
    named = [kernel._replace(name=symbol(unit, kernel.name, dtype)) for kernel in kernels_of(unit)]
    write(module, named)
    return module.text()
