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
    from tinynet_kernels.cpu.activations import activation_backward, activation_forward
    from tinynet_kernels.cpu.data import gather_rows, multiply, normalize_backward, normalize_forward
    from tinynet_kernels.cpu.linear import linear_activation_forward, linear_backward, linear_forward
    from tinynet_kernels.cpu.losses import loss_forward_backward
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

_MODULES = ("activations", "data", "linear", "losses", "optimizers", "random")
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
