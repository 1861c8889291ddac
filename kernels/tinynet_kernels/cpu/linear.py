"""The affine map: the product by BLAS, everything around it in one compiled pass."""

import numpy as np

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.activations import bias_activation
from tinynet_kernels.cpu.compiling import compiled, inlined


@np.errstate(all="ignore")
def linear_forward(x: FloatArray, w: FloatArray, b: FloatArray | None, y: FloatArray) -> None:
    """Affine map: ``y = x @ w + b``. See ``tinynet_kernels.reference.linear_forward``."""
    np.matmul(x, w, out=y)
    if b is not None:
        _add_bias(y, b)


@np.errstate(all="ignore")
def linear_backward(
    x: FloatArray,
    w: FloatArray,
    dy: FloatArray,
    dw: FloatArray | None,
    db: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``y = x @ w + b`` with respect to its inputs. See ``tinynet_kernels.reference.linear_backward``."""
    if dw is not None:
        np.matmul(x.T, dy, out=dw)
    if db is not None:
        _sum_rows(dy, db)
    if dx is not None:
        np.matmul(dy, w.T, out=dx)


@np.errstate(all="ignore")
def linear_activation_forward(
    kind: str,
    x: FloatArray,
    w: FloatArray,
    b: FloatArray | None,
    z: FloatArray,
    y: FloatArray,
    alpha: float = 0.0,
) -> None:
    """Affine map and activation, in one pass after the product.

    See ``tinynet_kernels.reference.linear_activation_forward``.
    """
    np.matmul(x, w, out=z)
    bias_activation(kind, z, b, y, alpha)


@compiled
def _add_bias(y: FloatArray, b: FloatArray) -> None:
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += b[j]


@compiled
def _sum_rows(dy: FloatArray, db: FloatArray) -> None:
    for j in range(db.size):
        db[j] = 0
    _add_rows(dy, db)


@inlined
def _add_rows(dy: FloatArray, db: FloatArray) -> None:
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            db[j] += dy[i, j]
