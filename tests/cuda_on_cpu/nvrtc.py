"""Compile CUDA sources for real GPUs without one, and tell what each kernel takes of the machine.

NVRTC of PyPI's ``nvidia-cuda-nvrtc`` makes machine code for every architecture that it knows; neither a driver nor
CuPy is needed. The options are those that CuPy 14 adds to its users' own (``cupy/cuda/compiler.py``).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = (75, 80, 90, 100, 120)
ENDS = ARCHITECTURES if os.environ.get("TINYNET_CUDA_ARCHITECTURES") == "all" else (75, 120)
"""Those that everything is compiled for in each run of the tests: the oldest and the newest."""
CUPY_OPTIONS = ("--std=c++17", "-ftz=true", "--device-as-default-execution-space")

_LIBRARIES = (
    "cu13/lib/libnvrtc.so.*",
    "cuda_nvrtc/lib/libnvrtc.so.*",
    "cu13/bin/**/nvrtc64_*.dll",
    "cuda_nvrtc/bin/nvrtc64_*.dll",
)
_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_PROPERTIES = re.compile(r"Function properties for '?([^\s']+)")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(.*)")
_SHARED = re.compile(r"(\d+)(?:\+\d+)? bytes smem")


class CompileError(RuntimeError):
    """NVRTC refused a source; the message holds its log."""


@dataclass(frozen=True)
class Usage:
    """What a thread, or a block, of a kernel takes."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    """Stored and loaded."""
    shared_bytes: int
    """Static shared memory of a block."""


@dataclass(frozen=True)
class Compiled:
    """Machine code, and what its kernels take, by name expression or by the name of an ``extern "C"`` kernel."""

    cubin: bytes
    usage: dict[str, Usage]
    log: str


@functools.cache
def _library() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for pattern in _LIBRARIES:
            for path in sorted(Path(root).glob(pattern)):
                if "alt" not in path.name and "builtins" not in path.name:
                    return ctypes.CDLL(str(path))
    return None


def missing() -> str | None:
    """Tell why nothing can be compiled here; None where it can."""
    return None if _library() else "compiling CUDA sources needs NVRTC (pip install nvidia-cuda-nvrtc)"


def supported() -> tuple[int, ...]:
    """Return those of ``ARCHITECTURES`` that this NVRTC knows."""
    count = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    _call("nvrtcGetSupportedArchs", known)
    return tuple(arch for arch in ARCHITECTURES if arch in set(known))


def compile_source(
    code: str, name_expressions: Sequence[str] = (), options: Sequence[str] = (), *, architecture: int = 90
) -> Compiled:
    """Compile CUDA source text.

    Parameters
    ----------
    code : str
    name_expressions : sequence of str
        Kernels that are not ``extern "C"``.
    options : sequence of str
        As for ``cupy.RawModule``; CuPy's own are added.
    architecture : int
        Compute capability times ten.

    Raises
    ------
    CompileError
        With NVRTC's log.
    """
    with _compiled(code, name_expressions, [*options, f"-arch=sm_{architecture}", "-Xptxas=-v"]) as (program, log):
        lowered = {expression: _lowered_name(program, expression) for expression in name_expressions}
        return Compiled(_text(program, "CUBIN"), _by_expression(parse_log(log), lowered), log)


def ptx(
    code: str, name_expressions: Sequence[str] = (), options: Sequence[str] = (), *, architecture: int = 75
) -> tuple[str, dict[str, str]]:
    """Compile CUDA source text to PTX; return it, and the names of its kernels by name expression."""
    with _compiled(code, name_expressions, [*options, f"-arch=compute_{architecture}"]) as (program, _):
        lowered = {expression: _lowered_name(program, expression) for expression in name_expressions}
        return _text(program, "PTX").decode(), lowered


@contextmanager
def _compiled(
    code: str, name_expressions: Sequence[str], options: Sequence[str]
) -> Iterator[tuple[ctypes.c_void_p, str]]:
    """Compile, with CuPy's own options beside these; give the program, and the compiler's log."""
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)
    try:
        for expression in name_expressions:
            _call("nvrtcAddNameExpression", program, expression.encode())
        own = [option for option in CUPY_OPTIONS if not ("std" in option and any("-std=" in o for o in options))]
        flags = [*options, *own]
        pointers = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        failed = _nvrtc("nvrtcCompileProgram")(program, len(flags), pointers)
        log = _text(program, "ProgramLog").decode(errors="replace")
        if failed:
            raise CompileError(f"NVRTC with {' '.join(flags)}:\n{log}")
        yield program, log
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def parse_log(log: str) -> dict[str, Usage]:
    """Read the lines of ``ptxas -v``: what each entry function takes, by its mangled name.

    Lines about a function that is called, not launched, stand under the entry function's as well; they are passed over.
    """
    frames: dict[str, tuple[int, int]] = {}
    usage: dict[str, Usage] = {}
    entry = described = ""
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            entry = described = match[1]
        elif match := _PROPERTIES.search(line):
            described = match[1]
        elif match := _FRAME.search(line):
            frames[described] = int(match[1]), int(match[2]) + int(match[3])
        elif (match := _USED.search(line)) and entry:
            shared = _SHARED.search(match[2])
            stack, spills = frames.get(entry, (0, 0))
            usage[entry] = Usage(int(match[1]), stack, spills, int(shared[1]) if shared else 0)
            entry = ""
    return usage


def _by_expression(usage: dict[str, Usage], lowered: dict[str, str]) -> dict[str, Usage]:
    missing_names = {expression for expression, name in lowered.items() if name not in usage}
    if missing_names:
        raise CompileError(f"the log of ptxas tells nothing of {', '.join(sorted(missing_names))}")
    named = set(lowered.values())
    result = {expression: usage[name] for expression, name in lowered.items()}
    return result | {name: used for name, used in usage.items() if name not in named}


def _nvrtc(function: str) -> ctypes._NamedFuncPointer:
    library = _library()
    if library is None:
        raise CompileError(missing())
    return library[function]


def _call(function: str, *arguments: object) -> None:
    status = _nvrtc(function)(*arguments)
    if status:
        explain = _nvrtc("nvrtcGetErrorString")
        explain.restype = ctypes.c_char_p
        raise CompileError(f"{function}: {explain(status).decode()}")


def _text(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, buffer)
    return buffer.raw if what == "CUBIN" else buffer.value


def _lowered_name(program: ctypes.c_void_p, expression: str) -> str:
    name = ctypes.c_char_p()
    _call("nvrtcGetLoweredName", program, expression.encode(), ctypes.byref(name))
    return (name.value or b"").decode()
