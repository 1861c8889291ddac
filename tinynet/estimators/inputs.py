"""What callers give and get back: what holds no numbers is refused, other libraries' arrays are taken and returned.

What scikit-learn refuses itself (NaN, complex arrays, ragged lists, wrong shapes) is left to it, with its own messages.
It takes dates as nanoseconds, numbers in strings as numbers, and drops masks: that is refused here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._array_api import _convert_to_numpy, _is_numpy_namespace, get_namespace, get_namespace_and_device

from tinynet.base.arrays import has_text, refuse_column, refuse_masked, resolved, wrong_kind


def admitted(X: Any) -> Any:
    """Return samples that may be validated by scikit-learn, in host memory.

    Raises
    ------
    TypeError
        For masked arrays, dates, time spans, strings and records; a column of a frame is named, and may not hold
        complex numbers or Python objects either.

    Examples
    --------
    >>> admitted([[1, 2], [3, 4]])
    array([[1, 2],
           [3, 4]])
    """
    X = on_host(X, "X")
    if isinstance(X, list | tuple):
        X = np.asarray(X)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        for label in X.columns:
            refuse_column(X[label], f"X, column {label!r},")
    elif isinstance(X, np.ndarray) and (X.dtype.kind in "MmUSTV" or has_text(X)):
        raise wrong_kind(X, "X")
    return X


def on_host(array: Any, name: str) -> Any:
    """Return an array of another library as NumPy's if scikit-learn's array-API dispatch is on; anything else as it is.

    Raises
    ------
    TypeError
        For masked arrays.

    Examples
    --------
    >>> on_host(np.ones(2), "y")
    array([1., 1.])
    """
    refuse_masked(array, name)
    array = resolved(array)
    xp, dispatched = get_namespace(array)
    return _convert_to_numpy(array, xp) if dispatched and not _is_numpy_namespace(xp) else array


def beside(result: Any, given: Any) -> Any:
    """Return a result as an array of the library and on the device of what the caller gave, if the dispatch is on.

    Strings, which other libraries do not have, stay NumPy's.

    Examples
    --------
    >>> beside(np.ones(2), [[1.0], [2.0]])
    array([1., 1.])
    """
    xp, dispatched, device = get_namespace_and_device(given)
    if (
        not dispatched
        or _is_numpy_namespace(xp)
        or not isinstance(result, np.ndarray)
        or result.dtype.kind not in "biuf"
    ):
        return result
    return xp.asarray(result, device=device)
