"""Moving, scaling and multiplying data."""

import numpy as np

from tinynet_kernels._typing import Doubles, FloatArray, IndexArray, RealArray
from tinynet_kernels.cpu.compiling import compiled

# What Numba compiles for: native byte order, and not float16 or long double, which go through NumPy.
_COMPILED_DTYPES = frozenset(np.dtype(code) for code in "?bhilqBHILQfd")


def gather_rows(source: RealArray, index: IndexArray, out: FloatArray) -> None:
    """Pick rows, cast to ``out.dtype``. See ``tinynet_kernels.reference.gather_rows``."""
    if source.dtype not in _COMPILED_DTYPES or not source.flags.aligned:
        with np.errstate(all="ignore"):
            out[...] = source[index]
    elif source.ndim == 1:
        _gather(source, index, out)
    else:
        _gather_rows(source, index, out)


def multiply(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Elementwise product: ``out = a * b``. See ``tinynet_kernels.reference.multiply``."""
    _multiply(a, b, out)


def normalize_forward(x: FloatArray, mean: Doubles, scale: Doubles, y: FloatArray) -> None:
    """Standardise each column. See ``tinynet_kernels.reference.normalize_forward``."""
    _normalize(x, mean, scale, y)


def normalize_backward(scale: Doubles, dy: FloatArray, dx: FloatArray) -> None:
    """Gradient of ``normalize_forward``. See ``tinynet_kernels.reference.normalize_backward``."""
    _divide(dy, scale, dx)


@compiled
def _gather(source: RealArray, index: IndexArray, out: FloatArray) -> None:
    for i in range(index.size):
        out[i] = source[index[i]]


@compiled
def _gather_rows(source: RealArray, index: IndexArray, out: FloatArray) -> None:
    for i in range(index.size):
        row = index[i]
        for j in range(out.shape[1]):
            out[i, j] = source[row, j]


@compiled
def _multiply(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    a_flat, b_flat, out_flat = a.ravel(), b.ravel(), out.ravel()
    for i in range(out_flat.size):
        out_flat[i] = a_flat[i] * b_flat[i]


@compiled
def _normalize(x: FloatArray, mean: Doubles, scale: Doubles, y: FloatArray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean[j]) / scale[j]


@compiled
def _divide(dy: FloatArray, scale: Doubles, dx: FloatArray) -> None:
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] / scale[j]
