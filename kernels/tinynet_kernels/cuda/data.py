"""Moving, scaling, multiplying and checking data."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import over_matrix, over_vector
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of, step

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
    """Pick rows, cast to ``out.dtype``. See ``tinynet_kernels.reference.gather_rows``.

    An index of many models, (n_models, n_rows), picks rows for each from a source that they share.
    """
    _gather(source, index, out, source.strides, 0)


def gather_own(source: DeviceArray, index: DeviceArray, out: DeviceArray) -> None:
    """Pick numbers of each model from its own: ``out[m, i] = source[m, index[m, i]]``, cast to ``out.dtype``.

    Parameters
    ----------
    source : (n_models, n) array
    index : (n_models, n_picked) or (n_picked,) int array
    out : (n_models, n_picked) array
    """
    _gather(source, index, out, source.strides[1:], step(source, 1))


def _gather(
    source: DeviceArray, index: DeviceArray, out: DeviceArray, strides: tuple[int, ...], source_step: int
) -> None:
    rows, columns = index.shape[-1], source.shape[1] if len(strides) > 1 else 1
    models = count(out, len(strides))
    launch = kernel(_FILE, "gather_rows", _SOURCE[source.dtype], _OUT[out.dtype], _INDEX[index.dtype])
    steps = [stride // source.itemsize for stride in (*strides, 0)[:2]]
    sizes = [np.int64(size) for size in (rows, columns, *steps, source_step, step(index, 1))]
    launch(*grid_of(over_matrix(rows, columns), models), (source, index, out, *sizes))


def multiply(a: DeviceArray, b: DeviceArray, out: DeviceArray) -> None:
    """Elementwise product: ``out = a * b``. See ``tinynet_kernels.reference.multiply``."""
    kernel(_FILE, "multiply", REAL[out.dtype])(*over_vector(out.size), (a, b, out, np.int64(out.size)))


def normalize_forward(x: DeviceArray, mean: DeviceArray, scale: DeviceArray, y: DeviceArray) -> None:
    """Standardise each column. See ``tinynet_kernels.reference.normalize_forward``."""
    rows, columns = x.shape[-2:]
    launch = kernel(_FILE, "normalize_forward", REAL[x.dtype], REAL[y.dtype])
    sizes = [np.int64(size) for size in (rows, columns, step(mean, 1))]
    launch(*grid_of(over_matrix(rows, columns), count(x, 2)), (x, mean, scale, y, *sizes))


def normalize_backward(scale: DeviceArray, dy: DeviceArray, dx: DeviceArray) -> None:
    """Gradient of ``normalize_forward``. See ``tinynet_kernels.reference.normalize_backward``."""
    rows, columns = dy.shape[-2:]
    launch = kernel(_FILE, "normalize_backward", REAL[dy.dtype])
    sizes = [np.int64(size) for size in (rows, columns, step(scale, 1))]
    launch(*grid_of(over_matrix(rows, columns), count(dy, 2)), (scale, dy, dx, *sizes))


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
        for name in ("multiply", "normalize_backward", "flag_nonfinite"):
            yield Instance(_FILE, name, (real,))
        for given in REAL.values():
            yield Instance(_FILE, "normalize_forward", (given, real))
    for source in _SOURCE.values():
        for out in _OUT.values():
            for index in _INDEX.values():
                yield Instance(_FILE, "gather_rows", (source, out, index))
