"""What the first fit of a process costs: with empty caches, as after installation, and with warm ones."""

from __future__ import annotations

import tempfile

from benchmarks.peers import PEERS
from benchmarks.records import Start
from benchmarks.worker import Worker
from benchmarks.workloads import START

CACHES = (
    *("TINYNET_CACHE_DIR", "NUMBA_CACHE_DIR", "CUPY_CACHE_DIR"),
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR"),
)
"""Where the libraries keep what they compile."""

STARTERS = ("torch", "torch-compile", "jax", "jax-scan")


def measure_start(name: str, repeats: int, threads: int = 1, backend: str | None = None, device: str = "cpu") -> Start:
    """Start fresh processes in turn, first with empty caches and then with those that were left.

    The first fit counts from after the import: what making the network takes, and one epoch.

    Raises
    ------
    PeerFailed
        If the library fails.
    """
    start = Start(name, PEERS[name].title)
    options = {"backend": backend} if name == "tinynet" else {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            environment = {variable: f"{folder}/{variable.lower()}" for variable in CACHES}
            for samples in (start.cold_seconds, start.warm_seconds):
                with Worker(name, START, threads, environment, device, **options) as worker:
                    samples.append(worker.prepare_seconds + worker.run(1))
                    start.import_seconds.append(worker.import_seconds)
    return start
