"""``cupy.cuda.nccl``: sums over the processes of MPI, each of which has a machine of its own here."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .device import Device
from .errors import NcclError
from .machine import Allocation, current

NCCL_SUM = 0
NCCL_FLOAT32, NCCL_FLOAT64 = 7, 8
UNIQUE_ID_BYTES = 128

PUBLIC = ("NCCL_SUM", "NCCL_FLOAT32", "NCCL_FLOAT64", "NcclCommunicator", "NcclError", "get_unique_id")
"""What ``cupy.cuda.nccl`` has here, besides ``available``."""

_DTYPES = {NCCL_FLOAT32: np.dtype(np.float32), NCCL_FLOAT64: np.dtype(np.float64)}


def get_unique_id() -> tuple[int, ...]:
    current().check_driver()
    return tuple(np.frombuffer(os.urandom(UNIQUE_ID_BYTES), np.int8).tolist())


class NcclCommunicator:
    """The current device of each process of ``MPI.COMM_WORLD``; made by all of them at the same time."""

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        from mpi4py import MPI

        assert len(commId) == UNIQUE_ID_BYTES
        if ndev != MPI.COMM_WORLD.size:
            raise NotImplementedError("the stand-in joins all processes of MPI, and no fewer")
        self._device, self._sum = Device(), MPI.SUM
        self._comm: Any = MPI.COMM_WORLD.Dup()
        every = self._comm.allgather((commId, rank, (socket.gethostname(), self._device.pci_bus_id)))
        keys, ranks, places = (set(part) for part in zip(*every, strict=True))
        if len(keys) > 1 or ranks != set(range(ndev)):
            raise NcclError(4)
        if len(places) < ndev:
            raise NcclError(5, "two ranks have the same GPU")

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        """Replace numbers by their sums over all processes, in the order of the stream.

        A GPU would send them by itself as soon as they are there. So they are computed and sent here at once, since
        others may wait for them; the sums are taken in only when somebody waits for the stream.
        """
        if self._comm is None or op != NCCL_SUM or self._device != Device():
            raise NcclError(5)
        queue = current().queue(stream)
        if queue.captured is not None:
            raise NotImplementedError("the stand-in does not capture NCCL's work")
        source, sender = _numbers(sendbuf, count, datatype)
        target, receiver = _numbers(recvbuf, count, datatype)
        queue.drain(queue.submit(lambda: None))
        sent, sums = source.copy(), np.empty_like(source)
        request = self._comm.Iallreduce(sent, sums, op=self._sum)

        def take_in() -> None:
            request.Wait()
            assert len(sent) == count  # MPI reads it until then.
            target[...] = sums

        queue.submit(take_in, [sender, receiver])

    def destroy(self) -> None:
        """Do the sums that are queued, and end."""
        self._device.synchronize()
        self.abort()

    def abort(self) -> None:
        """End, whatever is queued."""
        if self._comm is not None:
            self._comm.Free()
            self._comm = None


def _numbers(address: int, count: int, datatype: int) -> tuple[NDArray[Any], Allocation]:
    """Return numbers on the current device, and whose memory they are in."""
    allocation, dtype = current().allocation_at(address), _DTYPES[datatype]
    if allocation is None or allocation.device_id != current().device_id:
        raise NcclError(4)
    memory = allocation.block.memory
    if address + count * dtype.itemsize > memory.ctypes.data + memory.size:
        raise NcclError(4, "the numbers go beyond the array")
    held = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(held, dtype), allocation
