"""Whole epochs of many models of one network, one model in each lane of the SIMD registers.

``training``, ``evaluation`` and ``prediction`` return compiled functions that take any range of models, ``LANES`` at a
time, so that threads can share the models; what becomes of a model does not depend on how.
"""

from tinynet_kernels.cpu.fused.many.build import REGISTER_BYTES, Many, evaluation, n_lanes, prediction, training
from tinynet_kernels.cpu.fused.many.source import Data

__all__ = ["REGISTER_BYTES", "Data", "Many", "evaluation", "n_lanes", "prediction", "training"]
