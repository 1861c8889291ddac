"""Build CUDA sources for the CPU, and launch their kernels on NumPy arrays.

The interface is that of ``cupy.RawModule``: source text and name expressions in, kernels out.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import static_shared, toolchain
from .arguments import Parameter, convert

ORDERS = ("forward", "reverse", "random")
"""Orders in which blocks, and the threads of a block, take their turns. No result may depend on it."""

_launching = threading.Lock()  # The schedulers share one thread's shared memory.
_stacks: int | None = None  # The threads' stacks, which all libraries share: one launches at a time.
_order, _seed = "forward", 0

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_EXTERN_C = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:void\s+)?(?:__launch_bounds__\s*\([^)]*\)\s*)?(?:void\s+)?(\w+)\s*\('
)
# What NVRTC takes and the CPU has no use for.
_IGNORED = re.compile(
    r"-std=c\+\+17|--std=c\+\+17|-lineinfo|--generate-line-info|-default-device|--device-as-default-execution-space"
    r"|-?-ftz=(true|false)|--?fmad=(true|false)|-Xptxas=.*|--ptxas-options=.*|--?diag-suppress=.*|-?-restrict"
    r"|--extra-device-vectorization|--split-compile=\d+"
)


class LaunchError(RuntimeError):
    """A kernel did what no kernel may: the message names the line, the block and the thread."""


@contextmanager
def order(name: str, seed: int = 0) -> Iterator[None]:
    """Run the kernels in the ``with`` block in one of ``ORDERS``; ``seed`` is that of the random order."""
    global _order, _seed
    if name not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {name!r}.")
    before = _order, _seed
    _order, _seed = name, seed
    try:
        yield
    finally:
        _order, _seed = before


def orders(n_random: int = 3) -> list[tuple[str, int]]:
    """Return arguments of ``order`` that between them show most dependences: forward, reverse and some random ones."""
    return [("forward", 0), ("reverse", 0), *(("random", seed) for seed in range(1, n_random + 1))]


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_size_t),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
    )


class Kernel:
    """A kernel that launches on NumPy arrays, which stand for arrays of the device."""

    def __init__(self, library: ctypes.CDLL, number: int, name: str, static_shared_bytes: int) -> None:
        self.name, self.static_shared_bytes = name, static_shared_bytes
        self._launch = library[f"cuda_on_cpu_launch_{number}"]
        self._launch.restype = ctypes.c_char_p
        self._launch.argtypes = [ctypes.POINTER(_Launch), ctypes.c_void_p]
        describe = library[f"cuda_on_cpu_describe_{number}"]
        describe.restype = ctypes.c_char_p
        self.parameters = tuple(Parameter.parse(code) for code in describe().decode().split())

    def bind(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int = 0
    ) -> Callable[[], None]:
        """Check a launch, and return a function that does it.

        Parameters
        ----------
        grid, block : tuple of at most three int
        args : sequence
            Arrays, NumPy scalars, Python numbers (a float is a double, an int a long long), None for a null pointer.
        shared_mem : int
            Bytes of dynamic shared memory.

        Raises
        ------
        TypeError
            For arguments that do not fit the kernel's parameters.
        ValueError
            For sizes that no GPU has.
        """
        grid, block = _three("grid", grid, (2**31 - 1, 65535, 65535)), _three("block", block, (1024, 1024, 64))
        if block[0] * block[1] * block[2] > 1024:
            raise ValueError(f"{self.name} expects at most 1024 threads in a block; got {block}.")
        if not 0 <= shared_mem <= toolchain.DYNAMIC_SHARED:
            raise ValueError(
                f"{self.name} expects at most {toolchain.DYNAMIC_SHARED} bytes of shared memory; got {shared_mem}."
            )
        cells = convert(self.name, self.parameters, args)
        addresses = (ctypes.c_void_p * max(1, len(cells)))(*(ctypes.addressof(cell) for cell in cells))
        keep_alive = (cells, list(args))

        def launch() -> None:
            assert keep_alive
            launch = _Launch(
                (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), shared_mem, ORDERS.index(_order), _seed
            )
            with _launching:
                trouble = self._launch(ctypes.byref(launch), addresses)
                message = trouble.decode(errors="replace") if trouble else None
            if message is not None:
                raise LaunchError(f"{self.name}: {message}")

        return launch

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        """Launch the kernel and wait for it; as ``bind``, and LaunchError for what goes wrong while it runs."""
        self.bind(grid, block, args, shared_mem)()


def _join_stacks(library: ctypes.CDLL) -> None:
    global _stacks
    join = library.cuda_on_cpu_join_stacks
    join.restype, join.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    with _launching:
        _stacks = join(_stacks)


class Module:
    """The kernels of one source."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        library = ctypes.CDLL(str(path))
        _join_stacks(library)
        static = toolchain.static_shared_bytes(path)
        self.names = tuple(names)
        self._kernels = {
            name: Kernel(library, number, name, static[f"{static_shared.LAUNCHER}{number}"])
            for number, name in enumerate(names)
        }

    def get_function(self, name: str) -> Kernel:
        """Return the kernel that a name expression, or the name of an ``extern "C"`` kernel, stands for."""
        try:
            return self._kernels[name]
        except KeyError:
            raise KeyError(f"the module has no kernel {name!r}; it has {', '.join(self._kernels) or 'none'}.") from None


def build(
    code: str,
    name_expressions: Sequence[str] = (),
    options: Sequence[str] = (),
    *,
    sanitizer: str | None = None,
) -> Module:
    """Compile CUDA source text for the CPU.

    Parameters
    ----------
    code : str
    name_expressions : sequence of str
        Kernels that are not ``extern "C"``, such as ``"add<float>"``.
    options : sequence of str
        Options of NVRTC: ``-I``, ``-D``, and those that mean nothing on a CPU.
    sanitizer : {"undefined", "thread", "none"}, optional
        What the kernels are checked for beside what the scheduler sees. None: ``TINYNET_CUDA_ON_CPU_SANITIZER``, else
        ``"undefined"``.

    Raises
    ------
    toolchain.CompileError
        With the compiler's words.
    ValueError
        For an option that NVRTC or this builder does not know.
    """
    chosen = sanitizer or os.environ.get("TINYNET_CUDA_ON_CPU_SANITIZER") or "undefined"
    return _build(code, tuple(name_expressions), tuple(options), chosen)


@functools.lru_cache(maxsize=256)
def _build(code: str, name_expressions: tuple[str, ...], options: tuple[str, ...], sanitizer: str) -> Module:
    flags, folders = _flags(options)
    names = list(dict.fromkeys([*_EXTERN_C.findall(_COMMENT.sub(" ", code)), *name_expressions]))
    # A name expression may contain commas, hence functions and no macro.
    launchers = [
        f'extern "C" __attribute__((visibility("default"))) const char* cuda_on_cpu_describe_{i}() '
        f"{{ return cuda_on_cpu::describe(&{name}); }}\n"
        f'extern "C" __attribute__((visibility("default"))) const char* cuda_on_cpu_launch_{i}('
        f"const cuda_on_cpu::Launch* launch, void** arguments) "
        f"{{ return cuda_on_cpu::launch(&{name}, *launch, arguments); }}\n"
        for i, name in enumerate(names)
    ]
    unit = f'#include "{toolchain.HEADER}"\n#line 1 "kernel.cu"\n{code}\n#line 1 "launchers"\n' + "".join(launchers)
    included = itertools.chain.from_iterable(sorted(folder.rglob("*")) for folder in folders)
    depends = "\0".join(
        path.read_text() for path in included if path.suffix in {".cuh", ".cu", ".h", ".hpp"} and path.is_file()
    )
    return Module(toolchain.shared_library(unit, flags, depends, sanitizer), names)


def _flags(options: tuple[str, ...]) -> tuple[list[str], list[Path]]:
    """Return flags of the C++ compiler, and the folders that sources may be included from."""
    flags, folders = [], []
    for option in options:
        if option.startswith("-D"):
            flags.append(option)
        elif option.startswith(("-I", "--include-path=")):
            folders.append(Path(option.removeprefix("--include-path=").removeprefix("-I")).resolve())
            flags.append(f"-I{folders[-1]}")
        elif not _IGNORED.fullmatch(option):
            raise ValueError(f"options must be NVRTC's that have a meaning here (-I, -D, ...); got {option!r}.")
    return flags, folders


def _three(name: str, sizes: tuple[int, ...], most: tuple[int, int, int]) -> tuple[int, int, int]:
    if not isinstance(sizes, tuple) or not 1 <= len(sizes) <= 3:
        raise TypeError(f"{name} must be a tuple of one to three int; got {sizes!r}.")
    x, y, z = (*(max(1, int(size)) for size in sizes), 1, 1)[:3]  # CuPy takes 0 for 1.
    if x > most[0] or y > most[1] or z > most[2]:
        raise ValueError(f"{name} must be at most {most}; got {(x, y, z)}.")
    return x, y, z
