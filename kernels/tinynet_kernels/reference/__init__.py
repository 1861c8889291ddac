"""The kernels in NumPy: the contract that every other module of kernels is tested against.

Plain on purpose: each function is its formula. They compute in the dtype of their arrays, as IEEE 754 says and in
silence: what overflows is ``inf``, what is undefined is NaN, and neither warns.
"""

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, READS_Z
from tinynet_kernels.reference.activations import activation_backward, activation_forward
from tinynet_kernels.reference.data import gather_rows, multiply, normalize_backward, normalize_forward
from tinynet_kernels.reference.embedding import embedding_backward, embedding_forward
from tinynet_kernels.reference.linear import linear_activation_forward, linear_backward, linear_forward
from tinynet_kernels.reference.losses import loss_forward_backward
from tinynet_kernels.reference.norms import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_predict,
    layer_norm_backward,
    layer_norm_forward,
)
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
from tinynet_kernels.reference.second_derivatives import activation_curvature

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "READS_Z",
    "activation_backward",
    "activation_curvature",
    "activation_forward",
    "adam_step",
    "adamw_step",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_predict",
    "clip_by_norm",
    "clip_by_value",
    "dropout_mask",
    "embedding_backward",
    "embedding_forward",
    "gather_rows",
    "l2_penalty",
    "layer_norm_backward",
    "layer_norm_forward",
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
