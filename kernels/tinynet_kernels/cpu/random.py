"""Counter-based random numbers: Philox4x32-10, bit for bit that of the reference."""

from typing import Any

import numpy as np

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import compiled, inlined

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)


@inlined
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10 for compiled code: one block of four words. See ``tinynet_kernels.reference.philox``."""
    w0, w1, w2, w3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    key_0, key_1 = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        product_0 = w0 * _MULTIPLIER_0
        product_1 = w2 * _MULTIPLIER_1
        w0 = (product_1 >> _HALF) ^ w1 ^ key_0
        w1 = product_1 & _MASK
        w2 = (product_0 >> _HALF) ^ w3 ^ key_1
        w3 = product_0 & _MASK
        key_0 = (key_0 + _WEYL_0) & _MASK
        key_1 = (key_1 + _WEYL_1) & _MASK
    return w0, w1, w2, w3


def dropout_mask(seed: int, step: int, layer: int, rate: float, out: FloatArray) -> None:
    """Draw a dropout mask. See ``tinynet_kernels.reference.dropout_mask``."""
    _mask(
        step & 0xFFFFFFFF,
        step >> 32,
        layer,
        seed & 0xFFFFFFFF,
        seed >> 32,
        int(rate * 2**32),
        1.0 / (1.0 - rate),
        out.reshape(-1),
    )


@compiled
def _mask(c1: int, c2: int, c3: int, k0: int, k1: int, threshold: int, keep: float, out: FloatArray) -> None:
    kept, zero, limit = out.dtype.type(keep), out.dtype.type(0), np.uint64(threshold)
    whole = out.size // 4
    for block in range(whole):
        w0, w1, w2, w3 = philox(block, c1, c2, c3, k0, k1)
        out[4 * block] = kept if w0 >= limit else zero
        out[4 * block + 1] = kept if w1 >= limit else zero
        out[4 * block + 2] = kept if w2 >= limit else zero
        out[4 * block + 3] = kept if w3 >= limit else zero
    words = philox(whole, c1, c2, c3, k0, k1)
    for lane in range(out.size - 4 * whole):
        out[4 * whole + lane] = kept if words[lane] >= limit else zero
