"""Devices: the GPUs of ranks, one for each, which add up what lies on them by NCCL and without host memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tinynet.backends.base import Array, Backend

TYPES = {"float32": "NCCL_FLOAT32", "float64": "NCCL_FLOAT64"}
"""NCCL's names of the dtypes of models."""


class Place(NamedTuple):
    """Where a rank computes.

    Attributes
    ----------
    on_gpu : bool
    address : str
        What tells its GPU from all others that NCCL might reach; empty without a GPU, or without NCCL.
    """

    on_gpu: bool
    address: str


def nccl_of(backend: Backend) -> Any:
    """Return CuPy's module of NCCL, which has little in it where there is no NCCL."""
    return importlib.import_module(f"{backend.namespace.__name__}.cuda.nccl")


def place_of(backend: Backend, machine: str) -> Place:
    """Return where a backend computes, on a machine of that name."""
    if backend.namespace is np:
        return Place(False, "")
    if not nccl_of(backend).available:
        return Place(True, "")
    with backend.active():
        # NCCL knows GPUs by their bus, too: the parts that one may be divided into share it.
        return Place(True, f"{machine} {backend.namespace.cuda.Device().pci_bus_id}")


def obstacle(places: list[Place]) -> str:
    """Return why the sums of some ranks go through host memory; empty if they need not.

    Examples
    --------
    >>> obstacle([Place(True, "a 0000:01:00.0"), Place(True, "b 0000:01:00.0")])
    ''
    >>> obstacle([Place(True, "a 0000:01:00.0"), Place(True, "a 0000:01:00.0")])
    'ranks share a GPU'
    >>> obstacle([Place(True, ""), Place(True, "b 0000:01:00.0")])
    'no NCCL on rank 0'
    """
    for rank, place in enumerate(places):
        if not place.address:
            return f"no {'NCCL' if place.on_gpu else 'GPU'} on rank {rank}"
    return "" if len({place.address for place in places}) == len(places) else "ranks share a GPU"


class Devices:
    """The GPUs of all ranks, each of which makes one of these at the same time.

    Parameters
    ----------
    backend : Backend
        Of the GPU of this rank.
    size, rank : int
    key : tuple
        What ``get_unique_id`` gave to one of the ranks.
    """

    def __init__(self, backend: Backend, size: int, rank: int, key: tuple[int, ...]) -> None:
        self._backend, self._nccl = backend, nccl_of(backend)
        try:
            with backend.active():
                self._communicator = self._nccl.NcclCommunicator(size, key, rank)
        except self._nccl.NcclError as error:
            error.add_note(
                "The GPUs of the ranks cannot reach each other by NCCL; NCCL_DEBUG=INFO tells why. "
                "fit(..., deterministic=True) adds up in host memory, without NCCL."
            )
            raise

    def add(self, array: Array) -> None:
        """Replace a C-contiguous array of each rank by the sum of all, in the order of the current stream."""
        with self._backend.active():
            stream = self._backend.namespace.cuda.get_current_stream().ptr
            kind, address = getattr(self._nccl, TYPES[array.dtype.name]), array.data.ptr
            self._communicator.allReduce(address, address, array.size, kind, self._nccl.NCCL_SUM, stream)

    def close(self, failed: bool) -> None:
        """Give back what NCCL holds; if the training has failed, without waiting for sums that may never come."""
        (self._communicator.abort if failed else self._communicator.destroy)()
