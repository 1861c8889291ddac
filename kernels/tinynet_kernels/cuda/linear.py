"""The affine map: the products by cuBLAS, everything around them in one pass."""

from collections.abc import Iterator

import cupy
import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.activations import bias_activation
from tinynet_kernels.cuda.grids import over_columns
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.scratch import scratch

_FILE = "reductions.cu"


def linear_forward(x: DeviceArray, w: DeviceArray, b: DeviceArray | None, y: DeviceArray) -> None:
    """Affine map: ``y = x @ w + b``. See ``tinynet_kernels.reference.linear_forward``."""
    cupy.matmul(x, w, out=y)
    if b is not None:
        bias_activation("identity", y, b, y, 0.0)


def linear_backward(
    x: DeviceArray,
    w: DeviceArray,
    dy: DeviceArray,
    dw: DeviceArray,
    db: DeviceArray | None,
    dx: DeviceArray | None,
) -> None:
    """Gradients of ``y = x @ w + b`` with respect to its inputs. See ``tinynet_kernels.reference.linear_backward``."""
    cupy.matmul(x.T, dy, out=dw)
    if db is not None:
        sum_rows(dy, db)
    if dx is not None:
        cupy.matmul(dy, w.T, out=dx)


def linear_activation_forward(
    kind: str,
    x: DeviceArray,
    w: DeviceArray,
    b: DeviceArray | None,
    z: DeviceArray,
    y: DeviceArray,
    alpha: float = 0.0,
) -> None:
    """Affine map and activation, in one pass after the product.

    See ``tinynet_kernels.reference.linear_activation_forward``.
    """
    cupy.matmul(x, w, out=z)
    bias_activation(kind, z, b, y, alpha)


def sum_rows(x: DeviceArray, out: DeviceArray) -> None:
    """Add up the rows: ``out = x.sum(0)``; those of a tall matrix in slices first, in an order fixed by the sizes.

    Parameters
    ----------
    x : (n_samples, n) array
    out : (n,) array
        Overwritten.
    """
    launch = kernel(_FILE, "column_sums", REAL[x.dtype])
    while True:
        rows, columns = x.shape
        grid, block = over_columns(rows, columns)
        slices = grid[1]
        sums = out if slices == 1 else scratch((slices, columns), x.dtype)
        launch(grid, block, (x, sums, np.int64(rows), np.int64(columns)))
        if slices == 1:
            return
        x = sums


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch, beside those of the activations."""
    for real in REAL.values():
        yield Instance(_FILE, "column_sums", (real,))
