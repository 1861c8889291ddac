"""The kernels in CUDA C++; products go through cuBLAS.

The twins of ``tinynet_kernels.reference`` on CuPy arrays: same names, same arguments, same promises, which its
docstrings give. Everything is put on the current stream, and nothing waits for the device but the value of a loss or a
norm that is asked for as a number. Importing this needs CuPy and compiles nothing: a kernel is compiled when it is
first used with some kind and dtype, and CuPy keeps it on disk for the next process.
"""

from collections.abc import Iterator

from tinynet_kernels.cuda import activations, cholesky, data, linear, losses, optimizers, random
from tinynet_kernels.cuda.activations import activation_backward, activation_curvature, activation_forward
from tinynet_kernels.cuda.data import gather_rows, multiply, normalize_backward, normalize_forward
from tinynet_kernels.cuda.embedding import embedding_backward
from tinynet_kernels.cuda.linear import linear_activation_forward, linear_backward, linear_forward
from tinynet_kernels.cuda.loading import Instance
from tinynet_kernels.cuda.losses import loss_forward_backward
from tinynet_kernels.cuda.optimizers import (
    adam_step,
    adamw_step,
    clip_by_norm,
    clip_by_value,
    l2_penalty,
    rmsprop_step,
    sgd_step,
)
from tinynet_kernels.cuda.random import dropout_mask, philox
from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, READS_Z
from tinynet_kernels.reference.embedding import embedding_forward
from tinynet_kernels.reference.norms import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_predict,
    layer_norm_backward,
    layer_norm_forward,
)


def instances() -> Iterator[Instance]:
    """Yield every kernel that the functions of this package can launch."""
    for module in (activations, cholesky, data, linear, losses, optimizers, random):
        yield from module.instances()


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
