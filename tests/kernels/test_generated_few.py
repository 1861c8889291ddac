"""Predictions of few rows, which read the weights as they lie: the bits of many rows, and nothing beyond weights."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tinynet_kernels.cpu.generated import programs
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.table import Sources
from tinynet_kernels.cpu.generated.task import Data, Task
from tinynet_kernels.network import Layer

Array = Any
SIZES = (1, 2, 7, 9, 17, 32, 65)


@pytest.fixture(scope="module")
def end_of_memory() -> Iterator[Array]:
    """Bytes behind which there is nothing: to read there ends the process."""
    size = 32 * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if sys.platform != "win32":
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0) == 0
    yield np.frombuffer(memory, np.uint8, size)
    if sys.platform != "win32":
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)


def predicted(layers: tuple[Layer, ...], parameters: Array, x: Array, *, few: bool) -> Array:
    task = Task(programs.prediction(layers, str(x.dtype), Sources(x.dtype.str), host(), len(x), few=few))
    out, order = np.full((len(x), layers[-1].n_out), np.nan, x.dtype), np.arange(len(x))
    words = {"order": order.ctypes.data, "out": out.ctypes.data, "n_visits": len(x), "batch": len(x)}
    words |= {"parameters": parameters.ctypes.data, "buffers": parameters.ctypes.data}
    for _ in range(2):  # In the same memory, which the first run has left as it is.
        assert task({**Data.of(x).words("x"), **words})
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_have_the_bits_of_many(dtype: str, end_of_memory: Array) -> None:
    rng = np.random.default_rng(0)
    sizes_of_layers = [(a, SIZES[number % 7], b) for number, (a, b) in enumerate(itertools.product(SIZES, SIZES))]
    for number, (n_in, hidden, n_out) in enumerate([*sizes_of_layers, (17, 515, 2)]):
        bias = number % 3 > 0
        layers = (Layer("linear", n_in, hidden, True, "relu"), Layer("linear", hidden, n_out, bias))
        x = rng.normal(size=(1 + number % 9, n_in)).astype(dtype)
        sizes = [n_in * hidden, hidden, hidden * n_out, n_out * bias]
        vector = rng.normal(size=sum(sizes)).astype(dtype)
        parameters = end_of_memory[-vector.nbytes :].view(dtype)
        parameters[:] = vector
        found = predicted(layers, parameters, x, few=True)
        w, b, v, c = np.split(vector.astype(np.float64), np.cumsum(sizes)[:-1])
        expected = np.maximum(x @ w.reshape(n_in, -1) + b, 0) @ v.reshape(hidden, -1) + (c if bias else 0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)
        assert found.tobytes() == predicted(layers, parameters, x, few=False).tobytes()
