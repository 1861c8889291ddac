"""What ``mutate`` and ``races`` run: sources, and for each some launches that together pass through all its barriers.

To add the kernels of a source, write a function that takes a ``builder.Module``, launches kernels on NumPy arrays made
from fixed seeds, and returns the results; and register it::

    ACTIVATIONS = Source("activations", code, ("softmax<float>",))

    @case(ACTIVATIONS)
    def softmax_of_ragged_rows(module):
        ...
        return [y]

Results must not depend on the order of blocks and threads, bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .builder import Module

_LINE = re.compile(r'\s*#\s*line\s+(\d+)(?:\s+"([^"]+)")?\s*')

Run = Callable[[Module], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Source:
    """CUDA source text, and what is instantiated of it."""

    name: str
    code: str
    name_expressions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """Where each line comes from, such as ``"softmax.cuh:12"``: ``#line`` directives count, as to a compiler."""
        file, number, found = "kernel.cu", 0, []
        for line in self.code.splitlines():
            number += 1
            found.append(f"{file}:{number}")
            if directive := _LINE.fullmatch(line):
                number, file = int(directive[1]) - 1, directive[2] or file
        return found


@dataclass(frozen=True)
class Case:
    """Launches of the kernels of a source."""

    name: str
    source: Source
    run: Run


CASES: dict[str, Case] = {}


def case(source: Source) -> Callable[[Run], Run]:
    """Register a function as a case of a source."""

    def register(run: Run) -> Run:
        name = f"{source.name}.{run.__name__}"
        if name in CASES:
            raise ValueError(f"there are two cases {name!r}")
        CASES[name] = Case(name, source, run)
        return run

    return register


def selected(names: Sequence[str] = ()) -> list[Case]:
    """Return the cases of the given sources, or of these full names; all by default, but for the demonstration."""
    if not names:
        return [case for case in CASES.values() if case.source.name != "demo"]
    chosen = [case for case in CASES.values() if case.name in names or case.source.name in names]
    if not chosen:
        raise ValueError(f"names must be sources or cases: {', '.join(CASES)}; got {', '.join(names)}.")
    return chosen


DEMO = Source(
    "demo",
    Path(__file__).with_name("demo.cu").read_text(),
    ("block_sums<float>", "differences<double>", "warp_reverse<int>"),
)


@case(DEMO)
def sums(module: Module) -> list[NDArray[Any]]:
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    out = np.full(3, np.nan, np.float32)
    module.get_function("block_sums<float>")((3,), (128,), (x, out, np.int32(x.size)))
    return [out]


@case(DEMO)
def differences(module: Module) -> list[NDArray[Any]]:
    x = np.random.default_rng(1).normal(size=3 * 64)
    y = np.full_like(x, np.nan)
    module.get_function("differences<double>")((1,), (64,), (x, y, np.int32(3)), shared_mem=64 * 8)
    return [y]


@case(DEMO)
def reversed_warp(module: Module) -> list[NDArray[Any]]:
    x = np.arange(32, dtype=np.int32)
    y = np.full_like(x, -1)
    module.get_function("warp_reverse<int>")((1,), (32,), (x, y))
    return [y]


# The project's own register themselves when they are imported.
from . import fused_cases, kernel_cases  # noqa: E402, F401
