"""Jacobians: the derivatives of a network's outputs by its inputs, in generated code."""

from __future__ import annotations

import ctypes

import numpy as np

from tinynet_kernels.cpu.generated import library
from tinynet_kernels.cpu.generated.abreast import UNIT
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.passes import Array, Memory, Passes, Steps, address
from tinynet_kernels.network import Layer

BLOCK = 128
"""Samples that go through at a time."""

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Jacobians:
    """The Jacobians of a network for samples side by side, in float64; any number of threads may ask.

    Parameters
    ----------
    layers : tuple of Layer
        Without dropout.
    """

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.n_in, self.n_out = layers[0].n_in, layers[-1].n_out
        self._unit = UNIT * host().vector_bytes // 8
        steps = Steps(BLOCK)
        passes, seed = Passes(layers, steps, slopes=True), steps.take(self.n_out)
        for k in range(self.n_out):
            steps.add("abreast", "unit_vector", seed, self.n_out, k)
            steps.add("abreast", "put", passes.back(seed, {}), self.n_in, k * self.n_in)
        self._table, self._size = steps.words((BLOCK, 1 << 40, 1, 0)), steps.size
        self._place = address(self._table)
        self._drive = _RUN(library.addresses("float64", ["abreast"])["abreast", "drive_items"])
        self._free: list[tuple[Memory, Array, Array]] = []

    def __call__(self, parameters: Array, buffers: Array, x: Array) -> Array:
        """Return the derivatives, (n_samples, n_out, n_in).

        Parameters
        ----------
        parameters, buffers : (n,) float64 arrays
        x : (n_samples, n_in) array
        """
        n = len(x)
        try:
            memory, samples, out = self._free.pop()
        except IndexError:
            memory, samples, out = self._memory(self._unit)
        if n > samples.shape[1]:
            memory, samples, out = self._memory(-(-n // self._unit) * self._unit)
        words = memory.words
        words[_PARAMETERS], words[_BUFFERS] = address(parameters), address(buffers)
        samples[:, :n] = x.T
        self._drive(memory.address, self._place)
        found: Array = out[:, :n].T.reshape(n, self.n_out, self.n_in)
        if found.base is not None and samples.shape[1] == self._unit:
            found = found.copy()
        if samples.shape[1] == self._unit:
            self._free.append((memory, samples, out))
        return found

    def _memory(self, padded: int) -> tuple[Memory, Array, Array]:
        """Return memory for so many samples, with addresses in its context."""
        memory = Memory.of(self._size)
        samples, out = np.zeros((self.n_in, padded)), np.empty((self.n_out * self.n_in, padded))
        losses = memory.arrays[0]  # The total of no loss goes to a word that nobody reads.
        words = {"x": address(samples), "x_column": padded * 8, "out": address(out), "x_row": padded * 8}
        words |= {"n_visits": padded, "last_item": 1, "losses": address(losses) + 8 * PLACES["team"]}
        for name, value in words.items():
            memory.words[PLACES[name]] = value
        return memory, samples, out


_PARAMETERS, _BUFFERS = PLACES["parameters"], PLACES["buffers"]
