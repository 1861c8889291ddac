"""Find data races within blocks: run cases of kernels under ThreadSanitizer.

    python -m tests.cuda_on_cpu.races [SOURCE or CASE ...]

Every CUDA thread is a thread to ThreadSanitizer, ordered with others by barriers, warp calls and nothing else. Blocks
are ordered, because the next one uses the same shared memory: races between blocks are not seen. Exit status 1: a race.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import builder, cases, toolchain

_WARNING = re.compile(r"WARNING: ThreadSanitizer: ([\w ()-]+?) \(pid=\d+\)")
_PLACE = re.compile(r"([\w.-]+\.cuh?:\d+)")
_FOUND = 66
_NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE: libtsan does not know all layouts of newer kernels.


@dataclass(frozen=True)
class Race:
    """One report of ThreadSanitizer: what it found, and the places that it names, such as ``"softmax.cuh:12"``."""

    kind: str
    places: tuple[str, ...]


@functools.cache
def library() -> Path | None:
    """Return the compiler's libtsan."""
    compiler = toolchain.compiler()
    if compiler is None:
        return None
    for name in ("libtsan.so", "libtsan.so.2", "libtsan.so.0"):
        found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        path = Path(found.stdout.strip())
        if path.is_absolute() and path.exists():
            return path.resolve()
    return None


def missing() -> str | None:
    """Tell why races cannot be looked for here; None where they can."""
    if platform.system() != "Linux":
        return "looking for races needs Linux"
    return toolchain.missing() or (None if library() else "looking for races needs libtsan (apt install libtsan2)")


def find(source: cases.Source, names: Sequence[str]) -> list[Race]:
    """Run cases on a source, which may be a mutant of theirs, in a process of its own.

    Raises
    ------
    RuntimeError
        If the process ends in any other way than with or without races; the message holds its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cu"
        file.write_text(source.code)
        command = [sys.executable, "-m", f"{__package__}.races", "--child", str(file), *names]
        done = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, check=False, preexec_fn=_fix_addresses
        )
    if done.returncode not in (0, _FOUND):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    reports = re.split(r"(?==+\nWARNING: ThreadSanitizer)", done.stderr)
    races = [
        Race(match[1], tuple(dict.fromkeys(_PLACE.findall(report))))
        for report in reports
        if (match := _WARNING.search(report))
    ]
    if bool(races) != (done.returncode == _FOUND):
        raise RuntimeError(f"ThreadSanitizer's report was not understood:\n{done.stderr[-4000:]}")
    return list(dict.fromkeys(races))


def _fix_addresses() -> None:
    ctypes.CDLL(None).personality(_NO_RANDOMIZATION)


def _environment() -> dict[str, str]:
    options = f"exitcode={_FOUND} halt_on_error=0 history_size=4 ignore_noninstrumented_modules=1"
    return {
        **os.environ,
        "LD_PRELOAD": str(library()),
        "TSAN_OPTIONS": options,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OPENBLAS_NUM_THREADS": "1",
    }


def _child(file: str, names: Sequence[str]) -> None:
    code = Path(file).read_text()
    for case in cases.selected(names):
        module = builder.build(code, case.source.name_expressions, case.source.options, sanitizer="thread")
        for order, seed in builder.orders(1):
            with builder.order(order, seed):
                case.run(module)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="sources or cases (default: all of the project's kernels)")
    chosen = parser.parse_args(arguments)
    if chosen.child:
        _child(chosen.child, chosen.names)
        return 0
    reason = missing()
    if reason:
        parser.error(reason)
    n_races = 0
    for source in dict.fromkeys(case.source for case in cases.selected(chosen.names)):
        names = [case.name for case in cases.selected(chosen.names) if case.source == source]
        found = find(source, names)
        n_races += len(found)
        print(f"{source.name}: {len(names)} cases, {len(found)} races")
        text = dict(zip(source.places, source.code.splitlines(), strict=True))
        for race in found:
            print(f"  {race.kind}")
            for place in race.places:
                print(f"    {place}: {text.get(place, '').strip()}")
    return int(n_races > 0)


if __name__ == "__main__":
    sys.exit(main())
