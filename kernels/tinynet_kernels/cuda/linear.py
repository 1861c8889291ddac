"""The affine map: the products by cuBLAS, everything around them in one pass."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.activations import bias_activation
from tinynet_kernels.cuda.grids import over_columns
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of, step
from tinynet_kernels.cuda.products import product
from tinynet_kernels.cuda.scratch import scratch

_FILE = "reductions.cu"


def linear_forward(x: DeviceArray, w: DeviceArray, b: DeviceArray | None, y: DeviceArray) -> None:
    """Affine map: ``y = x @ w + b``. See ``tinynet_kernels.reference.linear_forward``."""
    _forward("float32", x, w, b, y)


def linear_backward(
    x: DeviceArray,
    w: DeviceArray,
    dy: DeviceArray,
    dw: DeviceArray | None,
    db: DeviceArray | None,
    dx: DeviceArray | None,
) -> None:
    """Gradients of ``y = x @ w + b`` with respect to its inputs. See ``tinynet_kernels.reference.linear_backward``."""
    _backward("float32", x, w, dy, dw, db, dx)


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
    _activation_forward("float32", kind, x, w, b, z, y, alpha)


def in_precision(precision: str) -> dict[str, Callable[..., None]]:
    """Return the functions of the affine map by name, and ``linear_descent``, with their products in a precision.

    Parameters
    ----------
    precision : {"float32", "tf32", "bf16"}
        See ``products.product``.
    """
    return {
        "linear_forward": partial(_forward, precision),
        "linear_backward": partial(_backward, precision),
        "linear_activation_forward": partial(_activation_forward, precision),
        "linear_descent": partial(linear_descent, precision),
    }


def linear_descent(
    precision: str,
    x: DeviceArray,
    w: DeviceArray,
    dy: DeviceArray,
    db: DeviceArray | None,
    dx: DeviceArray | None,
    rate: float,
) -> None:
    """Backward pass and a step of gradient descent for the weight: ``w -= rate * x.T @ dy``.

    The gradient of the weight is never written: the product adds to the weight itself.

    Parameters
    ----------
    precision : {"float32", "tf32", "bf16"}
    x : (n_samples, n_in) array
    w : (n_in, n_out) array
        Changed in place, after ``dx`` was computed from it.
    dy : (n_samples, n_out) array
    db : (n_out,) array or None
        Overwritten with the gradient of the bias.
    dx : (n_samples, n_in) array or None
        Overwritten.
    rate : float
        The learning rate. Weight decay has no place here: ``1 - rate * decay`` would be rounded to the dtype first.
    """
    if dx is not None:
        product(dy, _transposed(w), dx, precision)
    if db is not None:
        sum_rows(dy, db)
    product(_transposed(x), dy, w, precision, alpha=-rate, beta=1.0)


def _forward(precision: str, x: DeviceArray, w: DeviceArray, b: DeviceArray | None, y: DeviceArray) -> None:
    product(x, w, y, precision)
    if b is not None:
        bias_activation("identity", y, b, y, 0.0)


def _backward(
    precision: str,
    x: DeviceArray,
    w: DeviceArray,
    dy: DeviceArray,
    dw: DeviceArray | None,
    db: DeviceArray | None,
    dx: DeviceArray | None,
) -> None:
    if dw is not None:
        product(_transposed(x), dy, dw, precision)
    if db is not None:
        sum_rows(dy, db)
    if dx is not None:
        product(dy, _transposed(w), dx, precision)


def _activation_forward(
    precision: str,
    kind: str,
    x: DeviceArray,
    w: DeviceArray,
    b: DeviceArray | None,
    z: DeviceArray,
    y: DeviceArray,
    alpha: float = 0.0,
) -> None:
    product(x, w, z, precision)
    bias_activation(kind, z, b, y, alpha)


def sum_rows(x: DeviceArray, out: DeviceArray) -> None:
    """Add up the rows: ``out = x.sum(0)``; those of a tall matrix in slices first, in an order fixed by the sizes.

    Parameters
    ----------
    x : ([n_models,] n_samples, n) array
    out : ([n_models,] n) array
        Overwritten.
    """
    launch, models = kernel(_FILE, "column_sums", REAL[x.dtype]), x.shape[:-2]
    while True:
        rows, columns = x.shape[-2:]
        grid = over_columns(rows, columns)
        slices = grid[0][1]
        sums = out if slices == 1 else scratch((*models, slices, columns), x.dtype)
        sizes = (np.int64(rows), np.int64(columns), np.int64(step(sums, 1 if slices == 1 else 2)))
        launch(*grid_of(grid, count(x, 2)), (x, sums, *sizes))
        if slices == 1:
            return
        x = sums


def _transposed(x: DeviceArray) -> DeviceArray:
    """Return the transpose, of many models' that of each."""
    return x.swapaxes(-1, -2)


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch, beside those of the activations."""
    for real in REAL.values():
        yield Instance(_FILE, "column_sums", (real,))
