"""Arrays in: everything that users pass as data becomes a checked array, or an error that names the remedy.

Nothing here imports pandas, polars, SciPy or CuPy: their objects are known by what they can do.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECK_NUMBERS = 1 << 20
"""Numbers that are checked at a time, so that a file larger than memory can be checked."""

HOST_MEMORY = (1, 3, 11)
"""DLPack's device types that the processor reads: its own memory, and what CUDA or ROCm pins there."""

_PLAIN = frozenset(np.dtype(code) for code in "?bhilqBHILQfd")

_KINDS = {
    "O": "Python objects",
    "U": "strings",
    "T": "strings",
    "S": "bytes",
    "c": "complex numbers",
    "M": "dates",
    "m": "time spans",
    "V": "records",
}
_REMEDIES = {
    "U": "Number classes: names, numbers = np.unique(labels, return_inverse=True); tn.Table encodes words of columns.",
    "O": "Convert them with .astype(float), or encode them as numbers first.",
    "c": "Pass the real and the imaginary part as two columns.",
    "M": "Turn dates into numbers first, for instance seconds.",
    "m": "Turn time spans into numbers first, for instance seconds.",
}


def is_cupy(array: object) -> bool:
    """Tell whether an array is CuPy's, without importing CuPy."""
    return type(array).__module__.split(".")[0] == "cupy"


def numpy_namespace(array: object) -> ModuleType:
    """Return the array module, NumPy or CuPy, that an array belongs to.

    Custom layers and losses use it to run on every backend.

    Examples
    --------
    >>> numpy_namespace(np.zeros(3)).__name__
    'numpy'
    """
    if is_cupy(array):
        import importlib

        return importlib.import_module("cupy")
    return np


def refuse_cupy(data: Any, name: str) -> None:
    """Raise TypeError for a CuPy array, where only host memory will do."""
    if is_cupy(data):
        raise TypeError(
            f"{name} must be in host memory for this backend; got a CuPy array. Call {name}.get(), or use "
            "backend='gpu'."
        )


def refuse_masked(data: Any, name: str) -> None:
    """Raise TypeError for a masked array, whose mask NumPy's functions would drop in silence."""
    # NumPy imports its masked arrays when they are first named, in 20 ms; without them nobody has any.
    if "numpy.ma" in sys.modules and isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array; got a masked array, whose mask would be lost. "
            f"Fill or drop the masked entries first, for instance {name}.filled(value)."
        )


def as_real_array(data: Any, name: str) -> NDArray[Any]:
    """Return ``data`` as an array of real numbers in host memory, without a copy where that is possible.

    Raises
    ------
    TypeError
        For masked and sparse arrays, arrays on a GPU, and anything that is not made of real numbers.
    ValueError
        For ragged lists.
    """
    refuse_cupy(data, name)
    refuse_masked(data, name)
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        raise TypeError(f"{name} must be a dense array; got a sparse one. Call {name}.toarray() first.")
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _from_frame(data, name)
    array = _from_any(data, name)
    return _real(array, name)


def as_real_array_anywhere(data: Any, name: str) -> Any:
    """Return ``as_real_array``'s array, but let a CuPy array of real numbers stay where it is.

    For data that a backend has admitted: see ``Backend.admit``.
    """
    return _real(data, name) if is_cupy(data) else as_real_array(data, name)


def resolved(data: Any) -> Any:
    """Return an array whose memory holds what the array says.

    PyTorch keeps "negative", "conjugate" and "all zero" as bits of a tensor beside its memory (``z.conj().imag``), and
    DLPack carries the memory alone.
    """
    if getattr(data, "_is_zerotensor", bool)():
        data = data.clone()
    for resolve in ("resolve_conj", "resolve_neg"):
        data = getattr(data, resolve, lambda data=data: data)()
    return data


def dlpack_device(data: Any) -> int | None:
    """Return DLPack's type of the device that an array lies on; None where it cannot say, or knows no DLPack."""
    try:
        return int(data.__dlpack_device__()[0]) if hasattr(data, "__dlpack_device__") else None
    except (BufferError, RuntimeError, TypeError, ValueError):
        return None  # PyTorch's of devices that DLPack has no number for.


def refuse_gradients(data: Any, name: str) -> None:
    """Raise TypeError for a tensor that records what is done with it: PyTorch does not give its memory away."""
    if getattr(data, "requires_grad", False):
        raise TypeError(f"{name} must not require gradients; got a tensor that does. Call {name}.detach() first.")


def _from_any(data: Any, name: str) -> NDArray[Any]:
    if isinstance(data, np.ndarray):
        return np.asarray(data)
    if hasattr(data, "__dlpack_device__") and not hasattr(data, "__array_interface__"):
        if dlpack_device(data) not in HOST_MEMORY:
            raise TypeError(
                f"{name} must be in host memory for this backend; got {type(data).__name__} on another device. "
                "Copy it to the host first, or use backend='gpu'."
            )
        refuse_gradients(data, name)
    data = resolved(data)
    # A library's own way to NumPy comes first: it knows of what DLPack does not carry.
    take = np.asarray if hasattr(data, "__array__") or not hasattr(data, "__dlpack__") else np.from_dlpack
    try:
        return take(data)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array; got rows of different lengths ({error}).") from None
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(
            f"{name} must be an array that NumPy can read; got {type(data).__name__}, of which it says: {error}. "
            "Convert it first, for instance to a dense array of float32."
        ) from error


def _from_frame(frame: Any, name: str) -> NDArray[Any]:
    """Join the columns of a pandas or polars frame; name the column that is not numeric."""
    columns = []
    for label in frame.columns:
        column = frame[label]
        values = column.to_numpy()
        if values.dtype.kind == "O" and _is_numeric(column):
            values = column.to_numpy(dtype="float64", na_value=np.nan)
        columns.append(_real(np.asarray(values), f"{name}, column {label!r},"))
    if not columns:
        return np.empty((len(frame), 0))
    return np.column_stack(columns)


def refuse_column(column: Any, name: str) -> None:
    """Raise TypeError for a column of a frame that does not hold real numbers; objects may be numbers."""
    values = np.asarray(column.to_numpy())
    if values.dtype.kind in "biuf" or _is_numeric(column):
        return
    if values.dtype.kind == "O" and not has_text(values):
        try:
            values.astype(np.float64)
        except (TypeError, ValueError):
            _real(values, name)
        return
    raise wrong_kind(values, name)


def has_text(array: NDArray[Any]) -> bool:
    """Tell whether there are strings among Python objects: NumPy would take ``"1"`` for a number."""
    return array.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in array.flat)


def _is_numeric(column: Any) -> bool:
    """Tell whether a pandas column of objects is one of its nullable numeric types."""
    return getattr(getattr(column, "dtype", None), "kind", "O") in "biuf" and hasattr(column, "array")


def _real(array: NDArray[Any], name: str) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind in "biuf":
        return array
    if kind == "O" and any(value is None or type(value).__name__ in ("NAType", "NaTType") for value in array.ravel()):
        raise ValueError(f"{name} must not have missing values; got None or NA. Drop or fill them first.")
    raise wrong_kind(array, name)


def wrong_kind(array: NDArray[Any], name: str) -> TypeError:
    """Word the error for an array that is not made of real numbers."""
    if array.dtype.kind == "V" and array.dtype.type is not np.void:
        return TypeError(f"{name} must hold numbers that NumPy has; got {array.dtype}. Convert them to float32 first.")
    kind = "U" if has_text(array) else array.dtype.kind
    remedy = _REMEDIES.get(kind, "Encode it as numbers first.")
    return TypeError(f"{name} must hold real numbers; got {_KINDS.get(kind, kind)} (dtype {array.dtype}). {remedy}")


def check_finite(array: Any, name: str, fits: str | None = None) -> None:
    """Raise ValueError if any element is NaN or infinite, or would be in the dtype ``fits``.

    Reads an array in host memory a block of rows at a time; one on a GPU at once, and waits for the device once.
    """
    if array.dtype.kind != "f":
        return
    width = max(1, math.prod(array.shape[1:]))
    rows = max(1, CHECK_NUMBERS // width if isinstance(array, np.ndarray) else len(array))
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        if not _sum_is_finite(block):
            bad = numpy_namespace(block).nonzero(~numpy_namespace(block).isfinite(block))
            if len(bad[0]):
                place = tuple(int(axis[0]) for axis in bad)
                value, row = block[place], place[0] + start
                where = f"row {row}" + (f", column {place[1]}" if len(place) > 1 else "")
                raise ValueError(
                    f"{name} must be finite; got {value} in {where}. Drop such rows or fill them in before training."
                )
        if fits is not None and array.dtype.itemsize > np.dtype(fits).itemsize:
            convert(block, name, fits)


def _sum_is_finite(block: Any) -> bool:
    """Tell whether the sum is finite: then all elements are; where it is not, it may only have overflowed."""
    with np.errstate(all="ignore"):
        return math.isfinite(float(block.sum()))


def read(*scalars: Any) -> list[float]:
    """Return arrays of one element as numbers; those on a GPU in one transfer.

    Examples
    --------
    >>> read(np.arange(3).max(), np.array([True, False]).all())
    [2.0, 0.0]
    """
    xp = numpy_namespace(scalars[0])
    numbers: list[float] = xp.stack([xp.asarray(scalar, dtype="float64") for scalar in scalars]).tolist()
    return numbers


def as_samples(
    data: Any, name: str, n_columns: int | None, dtype: str, *, expects: str = "the model", kept: bool = False
) -> Any:
    """Return data as a finite, C-contiguous (n_samples, n_columns) array of ``dtype``.

    A ``numpy.memmap`` is left on disk as it lies there, in its own dtype, byte order and layout: batches are converted
    as they are read. A CuPy array, which a backend must have admitted, stays on its device, and is not copied if it
    fits as it is.

    Parameters
    ----------
    data : array-like
    name : str
        What to call it in messages.
    n_columns : int or None
        None: any number.
    dtype : {"float32", "float64"}
    expects : str
        Who expects the shape, for the message.
    kept : bool
        Whether an array that lies as kernels read it may stay in its own dtype, from which they convert it.

    Raises
    ------
    TypeError, ValueError
        What was expected, what was got, and the remedy.
    """
    array = as_real_array_anywhere(data, name)
    wanted = f"(batch, {n_columns if n_columns is not None else 'columns'})"
    if array.ndim == 1:
        raise ValueError(
            f"{expects} expects {name} of shape {wanted}; got the 1-D shape {array.shape}. "
            f"Use {name}.reshape(-1, 1) for one column, or {name}.reshape(1, -1) for one sample."
        )
    if array.ndim != 2 or (n_columns is not None and array.shape[1] != n_columns):
        turned = array.ndim == 2 and array.shape[0] == n_columns
        remedy = f"Samples are rows: use {name}.T." if turned else "Check the number of columns."
        if array.ndim > 2:
            remedy = f"Use {name}.reshape(len({name}), -1) for a row of each sample."
        raise ValueError(f"{expects} expects {name} of shape {wanted}; got {array.shape}. {remedy}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"{expects} expects at least one sample and one column in {name}; got shape {array.shape}.")
    if is_cupy(array) and not kept:
        return _on_device(array, name, dtype)
    if on_disk(array):
        check_finite(array, name, dtype)
        return array
    check_finite(array, name)
    if kept and is_plain(array):
        return array
    return convert(array, name, dtype)


def _on_device(array: Any, name: str, dtype: str) -> Any:
    """Convert an array on a GPU; what came out finite was finite and fits, so the device is waited for once."""
    result = numpy_namespace(array).ascontiguousarray(array, dtype=dtype)
    if array.dtype.kind != "f" or _sum_is_finite(result):
        return result
    check_finite(array, name)
    return convert(array, name, dtype)


def on_disk(array: Any) -> bool:
    """Tell whether an array is a view of a mapped file, which may be larger than memory."""
    while array is not None:
        if isinstance(array, mmap.mmap | np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def is_plain(array: Any, dtype: Any = None) -> bool:
    """Tell whether an array lies as compiled kernels read it: C-contiguous and aligned, in a dtype, or in any of C's.

    Examples
    --------
    >>> x = np.zeros((4, 2), "float32")
    >>> is_plain(x), is_plain(x, "float64"), is_plain(x[:, 1:]), is_plain(x.astype(">f4"))
    (True, False, False, False)
    """
    known = array.dtype in _PLAIN if dtype is None else array.dtype == dtype
    return known and array.flags.c_contiguous and (not isinstance(array, np.ndarray) or array.flags.aligned)


def convert(array: Any, name: str, dtype: str) -> Any:
    """Return a finite array in ``dtype``, C-contiguous; an overflow on the way is an error, not an infinity."""
    xp = numpy_namespace(array)
    if array.dtype == dtype:
        return xp.ascontiguousarray(array)
    with np.errstate(over="ignore"):
        result = xp.ascontiguousarray(array, dtype=dtype)
    if array.dtype.kind == "f" and array.dtype.itemsize > result.dtype.itemsize and not xp.isfinite(result).all():
        raise ValueError(
            f"{name} must fit into {dtype}; its largest magnitude is {float(abs(array).max()):g}. "
            "Scale the data, or build the model with dtype='float64'."
        )
    return result


def each_number(function: Callable[..., float], *arrays: Any) -> Any:
    """Call a function of numbers in Python for each number of arrays; return the results where the arrays live.

    Examples
    --------
    >>> each_number(lambda x, y: max(x, y), np.array([1.0, 4.0]), np.array([3.0, 2.0]))
    array([3., 4.])
    """
    namespace = numpy_namespace(arrays[0])
    host = [array if namespace is np else array.get() for array in arrays]
    found = np.frompyfunc(function, len(arrays), 1)(*host).astype(arrays[0].dtype)
    return found if namespace is np else namespace.asarray(found)
