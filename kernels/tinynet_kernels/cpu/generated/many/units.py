"""Units of the code for many models; see ``tinynet_kernels.cpu.generated.units``."""

from __future__ import annotations

from collections.abc import Callable

from tinynet_kernels.cpu.generated.data import clear
from tinynet_kernels.cpu.generated.driver import drive
from tinynet_kernels.cpu.generated.frame import Kernel
from tinynet_kernels.cpu.generated.many import contraction, elementwise, groups, losses, rows, unrolled, updates
from tinynet_kernels.cpu.generated.many.small import Options
from tinynet_kernels.cpu.generated.small import Small

FIXED: dict[str, list[Kernel]] = {
    "many": [Kernel("drive", drive), *groups.KERNELS],
    "many_products": [Kernel("clear", clear), *contraction.KERNELS],
    "many_dropout": elementwise.DROPOUT,
    "many_normalize": elementwise.NORMALIZE,
    "many_updates": updates.KERNELS,
}


def _gather(rest: list[str]) -> list[Kernel]:
    kind, dtype = rest
    labels, separate = kind.endswith("labels"), kind.startswith("own")
    return [Kernel("gather", rows.gather(dtype, labels=labels, separate=separate))]


def _unrolled(rest: list[str]) -> list[Kernel]:
    options, net = rest
    written = unrolled.unrolled(Small.of(net), Options.of(options))
    return [Kernel("unrolled", written, spills=True)]


MADE: dict[str, Callable[[list[str]], list[Kernel]]] = {
    "many_activation": lambda rest: elementwise.activations(rest[0]),
    "many_gather": _gather,
    "many_loss": lambda rest: losses.loss(rest[0]),
    "many_unrolled": _unrolled,
    "many_step": lambda rest: updates.optimizer(rest[0], tuple(rest[1:])),
}
"""By the first word of a unit's name, what makes its kernels from the others."""
