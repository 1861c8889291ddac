"""Arrays as the notebook's classes take them: float64, of the shape that is expected, on the host."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.base.arrays import as_real_array

FloatArray: TypeAlias = NDArray[np.float64]


def as_float64(data: ArrayLike, name: str) -> FloatArray:
    """Return data as a C-contiguous float64 array with at least one element."""
    array = np.asarray(as_real_array(data, name), np.float64, order="C")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty; got shape {array.shape}. Check how it was selected.")
    return array


def as_rows(array: FloatArray) -> FloatArray:
    """Return an array of any shape as the two-dimensional one that kernels take."""
    return array.reshape(len(array) if array.ndim else 1, -1)


def as_gradient(gradOutput: ArrayLike, shape: tuple[int, ...], who: str) -> FloatArray:
    """Return a gradient of this shape; one number stands for all elements."""
    dy = as_float64(gradOutput, "gradOutput")
    if dy.shape not in (shape, ()):
        raise ValueError(f"{who}.backward expects a gradient of shape {shape}, as its output; got {dy.shape}.")
    return dy if dy.shape == shape else np.full(shape, dy)


def remembered(value: FloatArray | None, who: str) -> FloatArray:
    """Return what ``forward`` left for ``backward``, or say that it has not run."""
    if value is None:
        raise RuntimeError(f"{who}.backward expects forward to have run before; it has not. Call forward first.")
    return value


def as_pair(predictions: ArrayLike, labels: ArrayLike, who: str) -> tuple[FloatArray, FloatArray]:
    """Return predictions and labels of one shape."""
    p, t = as_float64(predictions, "predictions"), as_float64(labels, "labels")
    if p.shape != t.shape or p.ndim == 0:
        raise ValueError(
            f"{who} expects predictions and labels of one shape, (batch, n_out); got {p.shape} and {t.shape}. "
            "Reshape the labels, or check the width of the last layer."
        )
    return p, t
