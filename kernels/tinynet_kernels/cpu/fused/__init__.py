"""Whole epochs as one compiled function.

A network is described as plain data (``Network``); ``epochs(network)`` writes the source of one function for it (gather,
forward, loss, backward, update, with no allocation and no Python inside), compiles it and keeps it on disk.
"""

from tinynet_kernels.cpu.fused.build import epochs
from tinynet_kernels.cpu.fused.network import Layer, Loss, Network, Optimizer

__all__ = ["Layer", "Loss", "Network", "Optimizer", "epochs"]
