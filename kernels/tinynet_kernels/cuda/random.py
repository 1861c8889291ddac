"""Counter-based random numbers: Philox4x32-10, bit for bit that of the reference."""

from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import over_vector
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of

_FILE = "random.cu"


def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10 of one counter or of an array of them. See ``tinynet_kernels.reference.philox``."""
    shape = np.broadcast_shapes(*(getattr(word, "shape", ()) for word in (c0, c1, c2, c3)))
    counters = cupy.empty((4, *shape), np.uint64)
    for row, word in enumerate((c0, c1, c2, c3)):
        counters[row, ...] = word
    words = cupy.empty((4, *shape), np.uint64)
    n = words.size // 4
    launch = kernel(_FILE, "philox_words")
    launch(*over_vector(n), (counters, np.uint32(k0), np.uint32(k1), words, np.int64(n)))
    return words[0], words[1], words[2], words[3]


def dropout_mask(seed: Any, step: Any, layer: int, rate: Any, out: DeviceArray) -> None:
    """Draw a dropout mask. See ``tinynet_kernels.reference.dropout_mask``.

    For many models ``out`` is (n_models, n_samples, n), ``seed`` and ``step`` are (n_models,) uint64 arrays of the
    device, and ``rate`` is a float64 one: each model has the mask that it has alone.
    """
    if out.ndim > 2:
        n_models, n = count(out, 2), int(out.size) // len(out)
        launch = kernel(_FILE, "dropout_masks", REAL[out.dtype])
        grid = grid_of(over_vector((n + 3) // 4), n_models)
        launch(*grid, (seed, step, np.uint32(layer), rate, out, np.int64(n)))
        return
    threshold, kept = np.uint32(int(rate * 2**32)), out.dtype.type(1.0 / (1.0 - rate))
    numbers = (np.uint64(seed), np.uint64(step), np.uint32(layer), threshold, kept)
    launch = kernel(_FILE, "dropout_mask", REAL[out.dtype])
    launch(*over_vector((out.size + 3) // 4), (*numbers, out, np.int64(out.size)))


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch."""
    yield Instance(_FILE, "philox_words")
    for real in REAL.values():
        yield Instance(_FILE, "dropout_mask", (real,))
        yield Instance(_FILE, "dropout_masks", (real,))
