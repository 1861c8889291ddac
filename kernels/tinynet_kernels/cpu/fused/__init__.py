"""Whole epochs as one compiled function.

A network is described as plain data (``Network``). ``epochs`` writes the source of one function for it (gather,
forward, loss, backward, update, with no allocation and no Python inside), compiles it by Numba and keeps it on disk:
``medium`` for networks so large that BLAS makes their products. All others are trained by
``tinynet_kernels.cpu.generated``.
"""

from tinynet_kernels.cpu.fused.build import Fused, cache_folder, epochs, prediction
from tinynet_kernels.network import Layer, Loss, Network, Optimizer, Setting

__all__ = [
    "Fused",
    "Layer",
    "Loss",
    "Network",
    "Optimizer",
    "Setting",
    "cache_folder",
    "epochs",
    "prediction",
]
