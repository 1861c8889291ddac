"""The axis of models: what a kernel does for one model, it does for many.

Arrays of many models have the models as their first axis; an array without it is shared by all of them. What belongs to
one model lies together, and the next model's a fixed step behind: often in a row of all that a model has.
"""

from typing import Any

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import MAX_BLOCKS_YZ, Grid

MAX_MODELS = MAX_BLOCKS_YZ
"""Most models of one launch: blocks along z."""


def count(array: DeviceArray, n_axes: int) -> int:
    """Return how many models an array is for that has ``n_axes`` axes for one of them."""
    return int(array.shape[0]) if array.ndim > n_axes else 1


def step(array: DeviceArray, n_axes: int) -> int:
    """Return how many elements it is from one model to the next; 0 where all share the array."""
    return int(array.strides[0]) // int(array.itemsize) if array.ndim > n_axes else 0


def grid_of(grid: Grid, n_models: int) -> Grid:
    """Return the grid of one model, once for each of several, along z."""
    blocks, threads = grid
    return grid if n_models == 1 else ((*(*blocks, 1)[:2], n_models), threads)


def own(number: Any, default: Any) -> tuple[float, bool, DeviceArray]:
    """Return a number as kernels take it: that of all models, whether each has its own, and these if so.

    Parameters
    ----------
    number : float or (n_models,) array of the device
    default : array of the device
        Passed where there are no numbers of their own, and not read: CuPy cannot pass a null pointer everywhere.
    """
    return (0.0, True, number) if getattr(number, "ndim", 0) else (float(number), False, default)
