"""The probes that the tests of simulated kernels launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cuda_on_cpu import builder

CODE = Path(__file__).with_name("cuda").joinpath("harness_probes.cu").read_text()
EXPRESSIONS = (
    *(f"shuffles<{kind}, {width}>" for kind, width in (("float", 32), ("double", 8), ("long long", 2))),
    *(f"atomics<{kind}>" for kind in ("int", "unsigned", "float")),
    *("mathematics<float>", "mathematics<double>"),
)


def launch(module: builder.Module, name: str, threads: int, *args: Any, blocks: int = 1, shared_mem: int = 0) -> None:
    module.get_function(name)((blocks,), (threads,), args, shared_mem=shared_mem)
