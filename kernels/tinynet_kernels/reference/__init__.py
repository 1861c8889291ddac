"""The kernels in NumPy: the contract that every other module of kernels is tested against.

Plain on purpose: each function is its formula. They compute in the dtype of their arrays, as IEEE 754 says and in
silence: what overflows is ``inf``, what is undefined is NaN, and neither warns.
"""

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, READS_Z
from tinynet_kernels.reference.activations import activation_backward, activation_forward
from tinynet_kernels.reference.data import gather_rows, multiply, normalize_backward, normalize_forward
from tinynet_kernels.reference.linear import linear_activation_forward, linear_backward, linear_forward
from tinynet_kernels.reference.losses import loss_forward_backward
from tinynet_kernels.reference.optimizers import (
    adam_step,
    adamw_step,
    clip_by_norm,
    clip_by_value,
    l2_penalty,
    rmsprop_step,
    sgd_step,
)
from tinynet_kernels.reference.random import dropout_mask, philox

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "READS_Z",
    "activation_backward",
    "activation_forward",
    "adam_step",
    "adamw_step",
    "clip_by_norm",
    "clip_by_value",
    "dropout_mask",
    "gather_rows",
    "l2_penalty",
    "linear_activation_forward",
    "linear_backward",
    "linear_forward",
    "loss_forward_backward",
    "multiply",
    "normalize_backward",
    "normalize_forward",
    "philox",
    "rmsprop_step",
    "sgd_step",
]
