"""The C++ compiler, and a folder of what it has built: a source is compiled once, whoever asks."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import static_shared

RUNTIME = Path(__file__).parent / "runtime"
HEADER = "cuda_on_cpu.hpp"
DYNAMIC_SHARED = 227 * 1024
"""Bytes of dynamic shared memory that a block can have: those of an H100."""

_GUARD = 1024
# -fno-extern-tls-init: no use of an array declared `extern __shared__` looks for a function that initialises it.
_COMMON = [
    *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-extern-tls-init"),
    *("-fsigned-char", "-ffp-contract=off", "-w"),
]
_SANITIZERS = {
    # Handled by runtime/undefined.cpp.
    "undefined": [
        "-fsanitize=alignment,bounds,shift,integer-divide-by-zero,signed-integer-overflow,float-cast-overflow"
    ],
    "thread": ["-fsanitize=thread", "-g"],
    "none": [],
}


class CompileError(RuntimeError):
    """The compiler refused a source; the message holds what it said."""


@functools.cache
def compiler() -> str | None:
    """Return the C++ compiler: ``CXX``, else g++; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def missing() -> str | None:
    """Tell why CUDA sources cannot be run on this machine's CPU; None where they can."""
    if os.name != "posix":
        return "running CUDA kernels on the CPU needs a POSIX system"
    if compiler() is None:
        return "running CUDA kernels on the CPU needs g++ (apt install g++), or CXX set to a compiler"
    if shutil.which("readelf") is None:
        return "running CUDA kernels on the CPU needs readelf (apt install binutils)"
    return None


def cache_folder() -> Path:
    """Return ``TINYNET_CUDA_ON_CPU_CACHE``, else a folder of this user's in the system's temporary folder."""
    named = os.environ.get("TINYNET_CUDA_ON_CPU_CACHE")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"tinynet-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        # Its libraries are loaded into this process.
        raise PermissionError(f"{folder} belongs to another user. Set TINYNET_CUDA_ON_CPU_CACHE to a folder of yours.")
    return folder


def shared_library(unit: str, flags: Sequence[str], depends: str, sanitizer: str) -> Path:
    """Compile a translation unit and link it with the scheduler.

    Parameters
    ----------
    unit : str
        C++ source.
    flags : sequence of str
        Further flags of the compiler: ``-I`` and ``-D``.
    depends : str
        The text of all that the unit includes beside the runtime, for the digest.
    sanitizer : {"undefined", "thread", "none"}

    Raises
    ------
    CompileError
        With the compiler's words.
    """
    compile_flags = [*_COMMON, *_SANITIZERS[sanitizer], f"-I{RUNTIME}", *flags]
    key = _digest(unit, depends, _runtime_text(), _version(), repr(compile_flags), repr(_runtime_flags(sanitizer)))
    library = cache_folder() / f"{key}.so"
    sizes = library.with_suffix(".json")
    if library.exists() and sizes.exists():
        return library
    objects, header = _runtime_objects(sanitizer), _precompiled_header(compile_flags)
    with tempfile.TemporaryDirectory(dir=library.parent) as name:
        folder = Path(name)
        (folder / "unit.cpp").write_text(unit)
        _run([_cxx(), f"-I{header}", *compile_flags, "-c", "unit.cpp", "-o", "unit.o"], folder)
        (folder / "static.json").write_text(json.dumps(static_shared.sizes(read_elf(folder / "unit.o"))))
        (folder / "dynamic.s").write_text(_dynamic_shared(_undefined_thread_locals(folder / "unit.o")))
        # Without -fsanitize=thread here, which would link libtsan: it must be there before Python starts.
        _run([_cxx(), "-shared", "-o", "unit.so", "unit.o", "dynamic.s", *map(str, objects)], folder)
        os.replace(folder / "static.json", sizes)
        os.replace(folder / "unit.so", library)
    return library


def read_elf(compiled: Path) -> str:
    """Return sections, symbols and relocations of an object file, as readelf writes them."""
    return _run(["readelf", "--wide", "--sections", "--symbols", "--relocs", compiled.name], compiled.parent)


def static_shared_bytes(library: Path) -> dict[str, int]:
    """Return the bytes of static shared memory that each launcher of a library reaches, by its name."""
    sizes: dict[str, int] = json.loads(library.with_suffix(".json").read_text())
    return sizes


def _precompiled_header(flags: Sequence[str]) -> Path:
    """Return a folder with what the compiler makes of the runtime's header, which would be a third of its work.

    A compiler that takes no such file passes it over, and reads the header itself.
    """
    folder = cache_folder() / _digest(_runtime_text(), _version(), repr(flags))
    made = folder / f"{HEADER}.gch"
    if not made.exists():
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            _run([_cxx(), *flags, "-x", "c++-header", str(RUNTIME / HEADER), "-o", "header.gch"], Path(name))
            os.replace(Path(name) / "header.gch", made)
    return folder


def _runtime_flags(sanitizer: str) -> list[str]:
    # The scheduler tells ThreadSanitizer what it must know, and is not instrumented itself.
    tells = ["-DCUDA_ON_CPU_TSAN"] if sanitizer == "thread" else []
    own = shlex.split(os.environ.get("TINYNET_CUDA_ON_CPU_FLAGS", ""))
    return [*_COMMON, "-O2", f"-DCUDA_ON_CPU_DYNAMIC_SHARED={DYNAMIC_SHARED}", *tells, *own]


def _runtime_objects(sanitizer: str) -> list[Path]:
    """Compile the scheduler and the handlers of undefined behaviour."""
    flags = _runtime_flags(sanitizer)
    objects = []
    for source in sorted(RUNTIME.glob("*.cpp")):
        result = cache_folder() / f"{_digest(source.name, _runtime_text(), _version(), repr(flags))}.o"
        if not result.exists():
            with tempfile.TemporaryDirectory(dir=result.parent) as folder:
                _run([_cxx(), *flags, "-c", str(source), "-o", "runtime.o"], Path(folder))
                os.replace(Path(folder) / "runtime.o", result)
        objects.append(result)
    return objects


def _dynamic_shared(names: Sequence[str]) -> str:
    """Write assembly that lays all arrays declared ``extern __shared__`` over one piece of memory, as CUDA does."""
    lines = ['.section .tbss,"awT",%nobits', ".balign 1024"]
    for name in [*names, "cuda_on_cpu_dynamic_shared"]:
        lines += [f".globl {name}", f".hidden {name}", f'.type {name}, "tls_object"', f"{name}:"]
    lines += [f".zero {DYNAMIC_SHARED + _GUARD}", '.section .note.GNU-stack,"",%progbits']
    return "\n".join(lines) + "\n"


def _undefined_thread_locals(compiled: Path) -> list[str]:
    table = _run(["readelf", "--symbols", "--wide", str(compiled)], compiled.parent).splitlines()
    # Num: Value Size Type Bind Vis Ndx Name
    rows = [fields for line in table if len(fields := line.split()) == 8]
    return sorted({name for *_, kind, _, _, index, name in rows if kind == "TLS" and index == "UND"})


@functools.cache
def _runtime_text() -> str:
    return "".join(path.read_text() for path in sorted(RUNTIME.iterdir()))


@functools.cache
def _version() -> str:
    return _run([_cxx(), "--version"], Path.cwd())


def _cxx() -> str:
    found = compiler()
    if found is None:
        raise CompileError(missing() or "no C++ compiler")
    return found


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"{shlex.join(command)} failed:\n{done.stderr}")
    return done.stdout
