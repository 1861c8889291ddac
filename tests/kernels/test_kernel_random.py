"""Philox against its published answers, and dropout masks against the words they are made of."""

from __future__ import annotations

from types import ModuleType

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_oracle import DTYPES
from tinynet_kernels import cpu, reference

# The known answers of philox4x32-10 that Random123 is distributed with (kat_vectors): counter, key, words.
ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
WORDS = st.integers(0, 2**32 - 1)
LONG_WORDS = st.integers(0, 2**64 - 1)

compiled_philox = numba.njit(cpu.philox)


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS)
def test_philox_gives_the_published_answers(counter: list[int], key: list[int], words: list[int]) -> None:
    assert [int(word) for word in reference.philox(*counter, *key)] == words
    assert [int(word) for word in compiled_philox(*counter, *key)] == words


def test_philox_takes_arrays() -> None:
    blocks = np.arange(5)
    words = reference.philox(blocks, 1, 2, 3, 4, 5)
    for i in range(5):
        assert [int(word[i]) for word in words] == [int(word) for word in reference.philox(i, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30)
@given(seed=LONG_WORDS, step=LONG_WORDS, layer=WORDS, rate=st.floats(0, 0.99), n=st.integers(1, 17))
def test_masks_are_the_same_bits_everywhere(dtype: str, seed: int, step: int, layer: int, rate: float, n: int) -> None:
    ours, theirs = np.empty((n, 3), dtype), np.empty((n, 3), dtype)
    cpu.dropout_mask(seed, step, layer, rate, ours)
    reference.dropout_mask(seed, step, layer, rate, theirs)
    np.testing.assert_array_equal(ours, theirs)


def test_elements_take_the_lanes_of_consecutive_blocks(kernels: ModuleType, dtype: str) -> None:
    seed, step, layer, rate = 0x0123456789ABCDEF, 0x1122334455667788, 7, 0.4
    mask = np.empty((3, 5), dtype)
    kernels.dropout_mask(seed, step, layer, rate, mask)
    for i, value in enumerate(mask.ravel()):
        words = reference.philox(i // 4, 0x55667788, 0x11223344, layer, 0x89ABCDEF, 0x01234567)
        kept = int(words[i % 4]) >= int(rate * 2**32)
        assert value == (np.dtype(dtype).type(1 / (1 - rate)) if kept else 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_rate_is_the_share_of_zeros(kernels: ModuleType, rate: float, dtype: str) -> None:
    mask = np.empty((400, 250), dtype)
    kernels.dropout_mask(1, 2, 3, rate, mask)
    assert set(np.unique(mask)) <= {np.dtype(dtype).type(0), np.dtype(dtype).type(1 / (1 - rate))}
    assert abs((mask == 0).mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / mask.size)


@pytest.mark.parametrize("changed", [{"seed": 2}, {"seed": 1 + 2**32}, {"step": 2}, {"step": 1 + 2**32}, {"layer": 2}])
def test_another_seed_step_or_layer_gives_another_mask(kernels: ModuleType, changed: dict[str, int]) -> None:
    arguments = {"seed": 1, "step": 1, "layer": 1}
    one, other = np.empty((40, 10)), np.empty((40, 10))
    kernels.dropout_mask(**arguments, rate=0.5, out=one)
    kernels.dropout_mask(**{**arguments, **changed}, rate=0.5, out=other)
    assert 0.4 < (one == other).mean() < 0.6
