"""The affine map, with and without an activation after it."""

import numpy as np

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.reference.activations import activation_forward


@np.errstate(all="ignore")
def linear_forward(x: FloatArray, w: FloatArray, b: FloatArray | None, y: FloatArray) -> None:
    """Affine map: ``y = x @ w + b``.

    Parameters
    ----------
    x : (n_samples, n_in) array
    w : (n_in, n_out) array
    b : (n_out,) array or None
    y : (n_samples, n_out) array
        Overwritten.
    """
    np.matmul(x, w, out=y)
    if b is not None:
        y += b


@np.errstate(all="ignore")
def linear_backward(
    x: FloatArray,
    w: FloatArray,
    dy: FloatArray,
    dw: FloatArray | None,
    db: FloatArray | None,
    dx: FloatArray | None,
) -> None:
    """Gradients of ``y = x @ w + b`` with respect to its three inputs.

    Parameters
    ----------
    x : (n_samples, n_in) array
    w : (n_in, n_out) array
    dy : (n_samples, n_out) array
        Gradient of the loss with respect to ``y``.
    dw, db, dx : arrays shaped like ``w``, ``b``, ``x``
        Overwritten. Each may be None where nobody needs it: ``db`` where there is no bias, ``dx`` of the first layer,
        ``dw`` and ``db`` of one that is not trained.
    """
    if dw is not None:
        np.matmul(x.T, dy, out=dw)
    if db is not None:
        np.sum(dy, axis=0, out=db)
    if dx is not None:
        np.matmul(dy, w.T, out=dx)


def linear_activation_forward(
    kind: str,
    x: FloatArray,
    w: FloatArray,
    b: FloatArray | None,
    z: FloatArray,
    y: FloatArray,
    alpha: float = 0.0,
) -> None:
    """Affine map and activation: ``z = x @ w + b`` and ``y = f(z)``.

    Parameters
    ----------
    kind : str
        A key of ``tinynet_kernels.ACTIVATIONS``.
    x : (n_samples, n_in) array
    w : (n_in, n_out) array
    b : (n_out,) array or None
    z, y : (n_samples, n_out) array
        Overwritten. They may be one array, which then holds ``y``.
    alpha : float
        As in ``activation_forward``.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    linear_forward(x, w, b, z)
    activation_forward(kind, z, y, alpha)
