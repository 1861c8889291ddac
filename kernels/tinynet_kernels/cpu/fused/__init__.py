"""Whole epochs as one compiled function.

A network is described as plain data (``Network``). ``epochs`` writes the source of one function for it (gather,
forward, loss, backward, update, with no allocation and no Python inside), compiles it and keeps it on disk. ``tiny``
writes it for networks whose weights fit into registers, ``rows`` for small ones and batches that fill the SIMD lanes,
``blocked`` and ``medium`` for all others, and ``many`` for many models of one network at once.
"""

from tinynet_kernels.cpu.fused.blocked import SLOTS
from tinynet_kernels.cpu.fused.build import Fused, cache_folder, epochs, prediction, tier
from tinynet_kernels.cpu.fused.team import LINE
from tinynet_kernels.network import Layer, Loss, Network, Optimizer, Setting

__all__ = [
    "LINE",
    "SLOTS",
    "Fused",
    "Layer",
    "Loss",
    "Network",
    "Optimizer",
    "Setting",
    "cache_folder",
    "epochs",
    "prediction",
    "tier",
]
