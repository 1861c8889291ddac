"""From a network to its compiled function: written to a folder of the user's, imported, compiled, kept on disk."""

import atexit
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from tinynet_kernels.cpu.compiling import Kernel, fingerprint
from tinynet_kernels.cpu.fused import medium
from tinynet_kernels.cpu.place import place
from tinynet_kernels.network import Layer, Network


class Fused(NamedTuple):
    """The compiled function of a network's kind, with what it needs for this network.

    Attributes
    ----------
    run : callable
        Its arguments are those of ``writer.SIGNATURE`` or ``writer.PREDICT_SIGNATURE``.
    places : (n,) int64 array
    numbers : (n,) float64 array
    n_scratch : int
        Number of elements of the scratch vector.
    block : int
        Rows that go through at a time.
    """

    run: Kernel
    places: NDArray[np.int64]
    numbers: NDArray[np.float64]
    n_scratch: int
    block: int


def epochs(network: Network, batch_size: int) -> Fused:
    """Return the fused function for a network and a batch size; it compiles when it is first called.

    Parameters
    ----------
    network : Network
    batch_size : int
    """
    *places, n_scratch = medium.Layout(network.layers).places(batch_size, batch_size)
    source, numbers = medium.source_of(network)
    return Fused(module_of(source).run, np.array(places, np.int64), np.array(numbers), n_scratch, batch_size)


def prediction(layers: tuple[Layer, ...], block: int) -> Fused:
    """Return the fused function that predicts, ``block`` rows at a time.

    Parameters
    ----------
    layers : tuple of Layer
    block : int
    """
    source, numbers = medium.predict_source_of(layers)
    places = medium.Layout(layers).places(block, block)
    return Fused(module_of(source).run, np.array(places, np.int64), np.array(numbers), places[-1], block)


_ONE_AT_A_TIME = threading.RLock()  # Source may ask for other source when it is imported.


def module_of(source: str) -> ModuleType:
    """Return source imported as a module. It is a file, because Numba caches the code of files only.

    Threads that ask for the same source get the same module, and so compile its function once.
    """
    with _ONE_AT_A_TIME:
        return _imported(source)


@cache
def _imported(source: str) -> ModuleType:
    digest = hashlib.sha256(source.encode()).hexdigest()[:20]
    path = cache_folder() / f"epochs_{digest}.py"
    if not path.exists() or path.read_text() != source:
        _write(path, source)
    name = f"tinynet_kernels_cache.epochs_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _write(path: Path, text: str) -> None:
    """Write whole or not at all: two processes may write the same file at once."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)


@cache
def cache_folder() -> Path:
    """Return the folder for generated code, one for each state of this package and each version of Numba.

    Where none can be written, a temporary folder, which goes with the process, and a warning: functions then compile
    anew in every process.
    """
    name = f"{fingerprint()}-numba{numba.__version__}-py{sys.version_info[0]}{sys.version_info[1]}"
    base = place()
    if base is not None:
        folder = base / name
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    folder = Path(tempfile.mkdtemp(prefix="tinynet-"))
    atexit.register(_delete, folder, os.getpid())
    where = "This user has no folder for caches" if base is None else f"tinynet cannot write to {base}"
    warnings.warn(
        f"{where}, so compiled code is not kept. Set TINYNET_CACHE_DIR to a folder that can be written.", stacklevel=2
    )
    return folder


def _delete(folder: Path, process: int) -> None:
    """Delete a temporary folder, unless this is a child that was forked from the process that made it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
