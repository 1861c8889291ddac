"""Moving, scaling and multiplying data."""

import numpy as np

from tinynet_kernels._typing import Doubles, FloatArray, IndexArray, RealArray


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
def normalize_forward(x: FloatArray, mean: Doubles, scale: Doubles, y: FloatArray) -> None:
    """Standardise each column: ``y = (x - mean) / scale``, in float64, rounded once to the dtype of ``y``.

    A column of large numbers that differ by little, seconds since 1970 for instance, would have lost what tells its
    numbers from one another if it were rounded before.

    Parameters
    ----------
    x : (n_samples, n) array
        float32 or float64, whatever ``y`` is.
    mean, scale : (n,) float64 array
    y : (n_samples, n) array
        Overwritten. May be ``x`` itself.
    """
    y[...] = (x - mean) / scale


@np.errstate(all="ignore")
def normalize_backward(scale: Doubles, dy: FloatArray, dx: FloatArray) -> None:
    """Gradient of ``normalize_forward`` with respect to ``x``: ``dx = dy / scale``, in float64.

    Parameters
    ----------
    scale : (n,) float64 array
    dy : (n_samples, n) array
    dx : (n_samples, n) array
        Overwritten. May be ``dy`` itself.
    """
    dx[...] = dy / scale
