"""From a network and the kind of its data to the compiled function for many models, and the arrays that it wants."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import Kernel
from tinynet_kernels.cpu.fused.build import module_of
from tinynet_kernels.cpu.fused.many import source
from tinynet_kernels.cpu.fused.many.source import Data, Source
from tinynet_kernels.network import Layer, Loss, Network, Setting

REGISTER_BYTES = 64
"""Bytes of the lanes of one number: the widest registers there are. On processors with narrower ones they are two or
four, which keeps the units as busy."""


def n_lanes(dtype: str) -> int:
    """Return how many models lie side by side.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    """
    return REGISTER_BYTES // np.dtype(dtype).itemsize


class Many(NamedTuple):
    """A compiled function for many models.

    Attributes
    ----------
    run : callable
        Its arguments are those of one of the signatures in ``source``.
    places : (n,) int64 array
    settings : list of Setting
    n_scratch, n_rows, lanes : int
    dtype : str
    """

    run: Kernel
    places: NDArray[np.int64]
    settings: list[Setting]
    n_scratch: int
    n_rows: int
    lanes: int
    dtype: str

    def numbers(self, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the settings of some models, (n_settings, n_members), filled up to whole blocks."""
        chosen = self.padded(members)
        table = np.empty((max(1, len(self.settings)), len(chosen)))
        for row, value in zip(table, self.settings, strict=False):
            row[:] = np.array(value)[chosen] if isinstance(value, tuple) else value
        return table

    def padded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each model along the last axis, filled up to whole blocks with the last."""
        missing = -values.shape[-1] % self.lanes
        widths = [(0, 0)] * (values.ndim - 1) + [(0, missing)]
        return np.ascontiguousarray(np.pad(values, widths, mode="edge") if missing else values)

    def work(self) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return scratch for one thread; it begins on a cache line, so that no row of lanes lies on two."""
        size = np.dtype(self.dtype).itemsize
        raw = np.empty(self.n_scratch + REGISTER_BYTES // size, self.dtype)
        start = -raw.ctypes.data % REGISTER_BYTES // size
        return raw[start : start + self.n_scratch], np.empty(self.n_rows, np.int64)


def training(network: Network, data: Data, batch_size: int) -> Many:
    """Return the function that trains models of a network; it compiles when it is first called.

    Parameters
    ----------
    network : Network
        Its settings may be tuples, one number for each model.
    data : Data
    batch_size : int
    """
    lanes = n_lanes(network.dtype)
    return _many(source.training(network, data, batch_size, lanes), network.dtype)


def evaluation(layers: tuple[Layer, ...], loss: Loss, weight: str, dtype: str) -> Many:
    """Return the function that computes each model's loss over samples.

    Parameters
    ----------
    layers : tuple of Layer
        Without dropout.
    loss : Loss
    weight : {"none", "shared", "own"}
    dtype : {"float32", "float64"}
    """
    return _many(source.evaluation(layers, loss, weight, n_lanes(dtype)), dtype)


def prediction(layers: tuple[Layer, ...], dtype: str) -> Many:
    """Return the function that computes each model's outputs.

    Parameters
    ----------
    layers : tuple of Layer
        Without dropout.
    dtype : {"float32", "float64"}
    """
    return _many(source.prediction(layers, n_lanes(dtype)), dtype)


def _many(made: Source, dtype: str) -> Many:
    run = module_of(made.text).run
    places = np.array(made.places, np.int64)
    return Many(run, places, made.settings, made.n_scratch, made.n_rows, n_lanes(dtype), dtype)
