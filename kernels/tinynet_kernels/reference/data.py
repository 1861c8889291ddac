"""Moving, scaling and multiplying data."""

import numpy as np

from tinynet_kernels._typing import FloatArray, IndexArray, RealArray


@np.errstate(all="ignore")
def gather_rows(source: RealArray, index: IndexArray, out: FloatArray) -> None:
    """Pick rows: ``out[i] = source[index[i]]``, cast to ``out.dtype``.

    Parameters
    ----------
    source : (n_rows,) or (n_rows, n) array of any real dtype
        May be read-only, of any strides, a memory map.
    index : (n_samples,) int32 or int64 array
        In ``[0, n_rows)``; nothing checks it.
    out : (n_samples,) or (n_samples, n) array
        Overwritten. Float for features and dense targets, an integer dtype for class numbers.
    """
    out[...] = source[index]


@np.errstate(all="ignore")
def multiply(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Elementwise product: ``out = a * b``.

    Parameters
    ----------
    a, b : arrays of one shape
    out : array of that shape
        Overwritten. May be ``a`` or ``b`` itself.
    """
    np.multiply(a, b, out=out)


@np.errstate(all="ignore")
def normalize_forward(x: FloatArray, mean: FloatArray, scale: FloatArray, y: FloatArray) -> None:
    """Standardise each column: ``y = (x - mean) / scale``.

    Parameters
    ----------
    x : (n_samples, n) array
    mean, scale : (n,) array
    y : (n_samples, n) array
        Overwritten. May be ``x`` itself.
    """
    np.subtract(x, mean, out=y)
    y /= scale


@np.errstate(all="ignore")
def normalize_backward(scale: FloatArray, dy: FloatArray, dx: FloatArray) -> None:
    """Gradient of ``normalize_forward`` with respect to ``x``: ``dx = dy / scale``.

    Parameters
    ----------
    scale : (n,) array
    dy : (n_samples, n) array
    dx : (n_samples, n) array
        Overwritten. May be ``dy`` itself.
    """
    np.divide(dy, scale, out=dx)
