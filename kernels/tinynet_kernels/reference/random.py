"""Counter-based random numbers: every backend computes the same ones, in any order."""

import numpy as np
from numpy.typing import ArrayLike

from tinynet_kernels._typing import FloatArray, Words

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_MASK = 0xFFFFFFFF
_LOW = np.uint64(_MASK)
_HALF = np.uint64(32)


def philox(
    c0: ArrayLike, c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: int, k1: int
) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key.

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3, with the
    constants of their library Random123.

    Parameters
    ----------
    c0, c1, c2, c3 : 32-bit words, or arrays of them
        The counter, least significant word first.
    k0, k1 : int
        The key, least significant word first.

    Returns
    -------
    tuple of four uint64 arrays
        Each value is below ``2**32``.
    """
    w0, w1, w2, w3 = (np.asarray(word, np.uint64) for word in (c0, c1, c2, c3))
    for _ in range(10):
        product_0, product_1 = w0 * _MULTIPLIER_0, w2 * _MULTIPLIER_1
        w0, w1 = (product_1 >> _HALF) ^ w1 ^ np.uint64(k0), product_1 & _LOW
        w2, w3 = (product_0 >> _HALF) ^ w3 ^ np.uint64(k1), product_0 & _LOW
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return w0, w1, w2, w3


def dropout_mask(seed: int, step: int, layer: int, rate: float, out: FloatArray) -> None:
    """Draw a dropout mask: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    Element ``i`` in row-major order is word ``i % 4`` of the Philox block with counter ``(i // 4, step & 0xffffffff,
    step >> 32, layer)`` and key ``(seed & 0xffffffff, seed >> 32)``. It is kept if that word is at least
    ``floor(rate * 2**32)``. So the mask is a function of the arguments alone, the same bits in every module.

    Parameters
    ----------
    seed, step : int
        In ``[0, 2**64)``.
    layer : int
        In ``[0, 2**32)``.
    rate : float
        In ``[0, 1)``.
    out : array of at most 2**34 elements
        Overwritten.
    """
    blocks = np.arange((out.size + 3) // 4, dtype=np.uint64)
    words = philox(blocks, step & _MASK, step >> 32, layer, seed & _MASK, seed >> 32)
    bits = np.stack(words, axis=1).ravel()[: out.size].reshape(out.shape)
    out[...] = np.where(bits >= int(rate * 2**32), 1.0 / (1.0 - rate), 0.0)
