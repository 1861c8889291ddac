"""The cases of ``cuda_on_cpu`` on a device: ``python tests/cuda/device_cases.py NAME ...``, for compute-sanitizer.

Each case is run on NumPy arrays, which go to the device before a launch and come back after it. What comes out is held
against the same case on the CPU where there is a C++ compiler.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cuda_on_cpu import builder, cases, toolchain

TOLERANCE = 2e-4
"""Relative difference that float32 may have: a GPU contracts products and sums, and has an exp of its own."""


class DeviceModule:
    """Kernels of a source on the current device, called as those of ``cuda_on_cpu.builder.Module`` are."""

    def __init__(self, cupy: Any, source: cases.Source) -> None:
        options = ("-std=c++17", *source.options)
        self._cupy = cupy
        self._module = cupy.RawModule(code=source.code, options=options, name_expressions=source.name_expressions)

    def get_function(self, name: str) -> Any:
        """Return a kernel that takes NumPy arrays, and changes them."""
        function = self._module.get_function(name)

        def launch(grid: Any, block: Any, args: Sequence[Any], *, shared_mem: int = 0) -> None:
            # An array of any size is one of the device; only NumPy's scalars go by value.
            placed = [self._cupy.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
            function(grid, block, tuple(placed), shared_mem=shared_mem)
            for arg, there in zip(args, placed, strict=True):
                if isinstance(arg, np.ndarray) and arg.flags.writeable:
                    arg[...] = there.get()

        return launch


def run(cupy: Any, name: str) -> float | None:
    """Run a case; return how far its results are from the CPU's, relative to the largest; None without a compiler."""
    (found,) = cases.selected([name])
    got = found.run(DeviceModule(cupy, found.source))
    if toolchain.missing():
        return None
    source = found.source
    wanted = found.run(builder.build(source.code, source.name_expressions, source.options))
    return max((_difference(a, b) for a, b in zip(got, wanted, strict=True)), default=0.0)


def _difference(got: Any, wanted: Any) -> float:
    if not got.size:
        return 0.0
    if got.dtype.kind in "biu":
        return float(np.any(got != wanted))
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(got.astype(float) - wanted))
    return float(np.max(apart) / max(1.0, float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0))))


def main(names: Sequence[str]) -> int:
    """Run cases on the GPU; return 1 if one is not what it is on the CPU."""
    import cupy

    bad = 0
    for name in names:
        apart = run(cupy, name)
        print(name, "ran; nothing to hold it against" if apart is None else f"differs by {apart:.3g}")
        bad += apart is not None and not apart <= TOLERANCE
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
