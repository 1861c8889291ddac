"""Targets and weights, checked: what losses are given beside the samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynet.backends.base import Array
from tinynet.base.arrays import as_real_array_anywhere, as_samples, check_finite, convert, numpy_namespace, read
from tinynet.base.gaps import with_gaps


def as_numbers(y: Any, n_out: int, dtype: str, loss: str, *, missing: bool = False) -> Array:
    """Return targets as (n_samples, n_out) numbers; a column may come as (n_samples,).

    With ``missing``, some of them may be NaN.

    Raises
    ------
    TypeError, ValueError
        If they are not, or not so many; ``loss`` is the name of the loss that wants them.
    """
    array = as_real_array_anywhere(y, "y")
    if n_out == 1 and array.ndim == 1:
        array = array.reshape(-1, 1)
    if n_out > 1 and (array.ndim == 1 or array.shape[1:] == (1,)):
        raise ValueError(
            f"{loss} expects y of shape (batch, {n_out}), a number for each output; got {array.shape}. If y has class "
            f"numbers, use loss='cross_entropy', or one-hot rows: np.eye({n_out})[y]. If it has one number for each "
            "sample, end the network in one output."
        )
    return with_gaps(array, "y", n_out, dtype) if missing else as_samples(array, "y", n_out, dtype)


def class_numbers(array: Array, n_classes: int) -> Array:
    """Return whole numbers from 0 to ``n_classes - 1`` as int64, or say which are not.

    Examples
    --------
    >>> class_numbers(np.array([0.0, 2.0]), 3)
    array([0, 2])
    """
    with np.errstate(invalid="ignore"):  # Numbers beyond int64 are refused by their size.
        labels = numpy_namespace(array).ascontiguousarray(array, dtype=np.int64)
    whole, low, high = read((labels == array).all(), array.min(), array.max())
    if low < 0 or high >= n_classes:
        raise ValueError(
            f"class numbers in y must lie in 0..{n_classes - 1}, as the network has {n_classes} outputs; got "
            f"{low if low < 0 else high:.17g}. Renumber the classes, or widen the last layer."
        )
    if not whole:
        bad = float(array[labels != array][0])
        raise ValueError(f"class numbers in y must be whole numbers; got {bad:g}. Encode the classes as 0, 1, 2, ...")
    return labels


def as_weights(weights: Any, n_samples: int, dtype: str, name: str = "sample_weight") -> Array:
    """Return weights as a checked (n_samples,) array of ``dtype``: finite, not negative, not all zero."""
    array = as_real_array_anywhere(weights, name)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} must have shape ({n_samples},), one weight for each sample; got {array.shape}.")
    low, high = read(array.min(), array.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN anywhere makes both NaN.
        check_finite(array, name)
    if low < 0 or high == 0:
        raise ValueError(f"{name} must not be negative and not all zero; got {low:g} to {high:g}.")
    converted = convert(array, name, dtype)
    if high < float(np.finfo(dtype).tiny) and read(converted.max()) == [0.0]:
        raise ValueError(
            f"{name} must not be all zero in {dtype}, what the model computes in; got {low:g} to {high:g}. "
            "Scale the weights: a mean of 1 leaves the learning rate as it is."
        )
    return converted
