"""What tinynet finds on this machine: versions, processor, threads and backends."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tinynet.backends import available, get_backend
from tinynet.backends.compiling import clear_cache
from tinynet.backends.cupy.environment import conflict, cupy_distributions
from tinynet.base.config import threads, usable_cores
from tinynet.base.errors import BackendUnavailableError
from tinynet.base.version import __version__

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "platformdirs"),
    *("matplotlib", "rich", "scikit-learn", "safetensors", "onnx", "tensorboardX", "optuna"),
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(args: argparse.Namespace) -> int:
    """Run ``tinynet info``: print what works, or empty the cache; return the exit code."""
    print(f"deleted {clear_cache()}" if args.clear_cache else report())
    return 0


def report() -> str:
    """Return a text that tells what works here, what does not, and the command that gets it.

    Examples
    --------
    >>> print(report().splitlines()[0])  # doctest: +ELLIPSIS
    tinynet       ...
    """
    rows = [*_versions(), ("", ""), *_machine(), ("", ""), *_backends()]
    return "\n".join(f"{name:<14}{text}".rstrip() for name, text in rows)


def installed(package: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed; nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> Iterator[tuple[str, str]]:
    yield "tinynet", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        yield package, installed(package) or f"not installed; get it by: pip install {package}"
    found = cupy_distributions()
    for package in found:
        yield package, installed(package) or ""
    clash = conflict(found)
    if clash is not None:
        yield "", clash


def _machine() -> Iterator[tuple[str, str]]:
    yield "system", platform.platform()
    yield "processor", processor()
    yield "cores", f"{usable_cores()} usable of {os.cpu_count()}"
    yield "threads", f"{threads()} for large batches (TINYNET_THREADS changes it)"
    settings = ", ".join(f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ)
    yield "BLAS threads", settings or f"one for each usable core; set {THREAD_VARIABLES[-1]} to change it"


def processor() -> str:
    """Return the name of the processor."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _backends() -> Iterator[tuple[str, str]]:
    for name, problem in available().items():
        yield name, "works" if problem is None else problem
        if problem is None:
            yield from get_backend(name).describe().items()
    try:
        yield "in use", f"{get_backend().name} (TINYNET_BACKEND={os.environ.get('TINYNET_BACKEND', 'auto')})"
    except (BackendUnavailableError, ValueError) as error:
        yield "in use", f"none: {error}"
