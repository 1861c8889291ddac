"""The kernels compiled by Numba; products go through BLAS.

The twins of ``tinynet_kernels.reference``: same names, same arguments, same promises, which its docstrings give. Each
kernel is compiled when it is first used with some kind and dtype, and kept on disk for the next process. All of them
release the GIL while they run. Numba takes a second to import, so this package imports it with the first of them: the
generated code in ``tinynet_kernels.cpu.generated`` does without.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynet_kernels.kinds import ACTIVATIONS, LOSSES, READS_Z
from tinynet_kernels.waiting import LOADING
from tinynet_kernels.waiting import compiling as told

if TYPE_CHECKING:
    from tinynet_kernels.cpu.activations import activation_backward, activation_curvature, activation_forward
    from tinynet_kernels.cpu.data import gather_rows, multiply, normalize_backward, normalize_forward
    from tinynet_kernels.cpu.embedding import embedding_backward, embedding_forward
    from tinynet_kernels.cpu.linear import linear_activation_forward, linear_backward, linear_forward
    from tinynet_kernels.cpu.losses import loss_forward_backward
    from tinynet_kernels.cpu.norms import (
        batch_norm_backward,
        batch_norm_forward,
        batch_norm_predict,
        layer_norm_backward,
        layer_norm_forward,
    )
    from tinynet_kernels.cpu.optimizers import (
        adam_step,
        adamw_step,
        clip_by_norm,
        clip_by_value,
        l2_penalty,
        rmsprop_step,
        sgd_step,
    )
    from tinynet_kernels.cpu.random import dropout_mask, philox

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

_MODULES = ("activations", "data", "embedding", "linear", "losses", "norms", "optimizers", "random")
"""Where the kernels are."""


def __getattr__(name: str) -> Any:
    """Return a kernel; the first one imports them all."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with told(long="numba" not in sys.modules, what=LOADING):
        modules = [import_module(f"{__name__}.{module}") for module in _MODULES]
    for found in modules:
        globals().update({key: getattr(found, key) for key in __all__ if hasattr(found, key)})
    return globals()[name]
