"""Dropout masks: Philox4x32-10 with a block in each lane, bit for bit that of the reference."""

from __future__ import annotations

from collections.abc import Sequence

from tinynet_kernels.cpu.generated.elementwise import MULTIPLY
from tinynet_kernels.cpu.generated.frame import Frame, Kernel
from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import I64, vector

LOW = 0xFFFFFFFF
"""The lowest 32 bits."""
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)

SLACK = 4
"""Registers behind a mask that are written, too: blocks are drawn as many at a time as there are lanes."""


def philox(counter: Sequence[Value], key: Sequence[Value]) -> list[Value]:
    """Return the four words of each block (Salmon, Moraes, Dror and Shaw, 2011, section 3.3), in 64 bits each.

    Parameters
    ----------
    counter : four vectors of i64 below 2**32
    key : two of them
    """
    code, kind = counter[0].code, counter[0].kind
    w, keys = list(counter), list(key)
    half, low = code.constant(kind, 32).name, code.constant(kind, LOW).name
    for _ in range(10):
        a, b = w[0] * _MULTIPLIERS[0], w[2] * _MULTIPLIERS[1]
        high = [code.op(kind, f"lshr {product}, {half}") for product in (b, a)]
        mixed = [
            code.op(kind, f"xor {code.op(kind, f'xor {h}, {word.name}')}, {k.name}")
            for h, word, k in zip(high, (w[1], w[3]), keys, strict=True)
        ]
        w = [mixed[0], code.op(kind, f"and {b}, {low}"), mixed[1], code.op(kind, f"and {a}, {low}")]
        keys = [code.op(kind, f"and {k + step}, {low}") for k, step in zip(keys, _WEYL, strict=True)]
    return w


def draw_mask(frame: Frame) -> None:
    """Draw the mask of the rows in hand.

    Arguments: mask, columns, number of the layer, least word that is kept, the factor of what is kept.
    """
    code, lanes = frame.code, frame.lanes
    kind = vector(I64, lanes)
    mask, n, layer, threshold, keep = frame.place(0), frame.size(1), frame.size(2), frame.size(3), frame.spread(4)
    draws, seed = frame.whole("draws"), frame.whole("seed")

    def word(value: Value, shift: int) -> Value:
        shifted = code.op(I64, f"lshr {value}, {shift}") if shift else value
        return code.spread(code.op(I64, f"and {shifted}, {LOW}"))

    # A block of rows begins with a multiple of four, so that of numbers does, too.
    first = frame.whole("first") * n / 4
    fixed = [word(draws, 0), word(draws, 32), code.spread(layer)]
    key = [word(seed, 0), word(seed, 32)]
    least = code.spread(threshold)
    count = (frame.whole("rows") * n + 3) / 4

    def blocks(i: Value) -> None:
        counter = code.spread(first + i) + code.counting(kind)
        words = philox([counter, *fixed], key)
        kept = [code.select(code.compare(">=", w, least), keep, code.constant(frame.row, 0.0)) for w in words]
        pairs = [interleaved(frame, a, b) for a, b in ((kept[0], kept[2]), (kept[1], kept[3]))]
        code.store(interleaved(frame, *pairs), code.at(mask, i * 4, frame.real))

    code.loop(0, count, lanes, blocks)


def interleaved(frame: Frame, a: Value, b: Value) -> Value:
    """Return the lanes of two vectors in turn."""
    n = int(a.kind[1:].split(" ")[0])
    return frame.code.shuffle(a, b, [lane // 2 + lane % 2 * n for lane in range(2 * n)])


KERNELS = [Kernel("draw_mask", draw_mask), MULTIPLY]
