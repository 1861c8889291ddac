"""Moving, scaling, multiplying and checking data."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import over_matrix, over_vector
from tinynet_kernels.cuda.loading import REAL, Instance, kernel

_FILE = "data.cu"

_INTEGER: dict[np.dtype[Any], str] = {
    np.dtype(np.int8): "signed char",
    np.dtype(np.int16): "short",
    np.dtype(np.int32): "int",
    np.dtype(np.int64): "long long",
    np.dtype(np.uint8): "unsigned char",
    np.dtype(np.uint16): "unsigned short",
    np.dtype(np.uint32): "unsigned int",
    np.dtype(np.uint64): "unsigned long long",
}
_PLAIN = {**REAL, **_INTEGER, np.dtype(np.bool_): "bool"}
_SOURCE = {
    **{dtype: f"tinynet::Plain<{name}>" for dtype, name in _PLAIN.items()},
    np.dtype(np.float16): "tinynet::Half",
}
_INDEX: dict[np.dtype[Any], str] = {dtype: _INTEGER[dtype] for dtype in (np.dtype(np.int32), np.dtype(np.int64))}
_OUT = {**REAL, **_INDEX}


def gather_rows(source: DeviceArray, index: DeviceArray, out: DeviceArray) -> None:
    """Pick rows, cast to ``out.dtype``. See ``tinynet_kernels.reference.gather_rows``."""
    rows, columns = len(index), 1 if source.ndim == 1 else source.shape[1]
    strides = [np.int64(stride // source.itemsize) for stride in (*source.strides, 0)[:2]]
    launch = kernel(_FILE, "gather_rows", _SOURCE[source.dtype], _OUT[out.dtype], _INDEX[index.dtype])
    launch(*over_matrix(rows, columns), (source, index, out, np.int64(rows), np.int64(columns), *strides))


def multiply(a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
    """Elementwise product: ``out = a * b``. See ``tinynet_kernels.reference.multiply``."""
    kernel(_FILE, "multiply", REAL[out.dtype])(*over_vector(out.size), (a, b, out, np.int64(out.size)))


def normalize_forward(x: DeviceArray, mean: DeviceArray, scale: DeviceArray, y: DeviceArray) -> None:
    """Standardise each column. See ``tinynet_kernels.reference.normalize_forward``."""
    rows, columns = x.shape
    launch = kernel(_FILE, "normalize_forward", REAL[x.dtype])
    launch(*over_matrix(rows, columns), (x, mean, scale, y, np.int64(rows), np.int64(columns)))


def normalize_backward(scale: DeviceArray, dy: DeviceArray, dx: DeviceArray) -> None:
    """Gradient of ``normalize_forward``. See ``tinynet_kernels.reference.normalize_backward``."""
    rows, columns = dy.shape
    launch = kernel(_FILE, "normalize_backward", REAL[dy.dtype])
    launch(*over_matrix(rows, columns), (scale, dy, dx, np.int64(rows), np.int64(columns)))


def flag_nonfinite(values: DeviceArray, flag: DeviceArray) -> None:
    """Note whether anything is infinite or NaN, without waiting for the device.

    Parameters
    ----------
    values : array
    flag : (1,) int32 array
        Set to 1 where anything in ``values`` is not finite, and left alone otherwise.
    """
    kernel(_FILE, "flag_nonfinite", REAL[values.dtype])(
        *over_vector(values.size), (values, np.int64(values.size), flag)
    )


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch."""
    for real in REAL.values():
        for name in ("multiply", "normalize_forward", "normalize_backward", "flag_nonfinite"):
            yield Instance(_FILE, name, (real,))
    for source in _SOURCE.values():
        for out in _OUT.values():
            for index in _INDEX.values():
                yield Instance(_FILE, "gather_rows", (source, out, index))
