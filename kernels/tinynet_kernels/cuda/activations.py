"""Activations and their derivatives, one pass each."""

from collections.abc import Iterator

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import over_matrix, over_rows, over_vector, pack_width
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of, step
from tinynet_kernels.kinds import ACTIVATIONS

_FILE, _SOFTMAX_FILE = "activations.cu", "softmax.cu"


def activation_forward(kind: str, z: DeviceArray, y: DeviceArray, alpha: float = 0.0) -> None:
    """Apply an activation: ``y = f(z)``. See ``tinynet_kernels.reference.activation_forward``."""
    if not ACTIVATIONS[kind].elementwise:
        rows, columns = _as_rows(z)
        grid, lanes = over_rows(rows, columns)
        launch = kernel(_SOFTMAX_FILE, "softmax_forward", REAL[z.dtype])
        launch(*grid, (z, y, np.int64(rows), np.int64(columns), np.int32(lanes)))
        return
    width = pack_width(z.size, z, y)
    launch = kernel(_FILE, "activation_forward", REAL[z.dtype], _struct(kind), width)
    launch(*over_vector(z.size // width), (z, y, np.int64(z.size), z.dtype.type(alpha)))


def activation_backward(
    kind: str, z: DeviceArray, y: DeviceArray, dy: DeviceArray, dz: DeviceArray, alpha: float = 0.0
) -> None:
    """Apply the chain rule: ``dz = dy * f'(z)``. See ``tinynet_kernels.reference.activation_backward``."""
    if not ACTIVATIONS[kind].elementwise:
        rows, columns = _as_rows(y)
        grid, lanes = over_rows(rows, columns)
        launch = kernel(_SOFTMAX_FILE, "softmax_backward", REAL[y.dtype])
        launch(*grid, (y, dy, dz, np.int64(rows), np.int64(columns), np.int32(lanes)))
        return
    read = z if ACTIVATIONS[kind].reads_z else y
    width = pack_width(dy.size, read, dy, dz)
    launch = kernel(_FILE, "activation_backward", REAL[dy.dtype], _struct(kind), width)
    launch(*over_vector(dy.size // width), (read, dy, dz, np.int64(dy.size), dy.dtype.type(alpha)))


def activation_curvature(
    kind: str, z: DeviceArray, y: DeviceArray, t: DeviceArray, dt: DeviceArray, dz: DeviceArray, alpha: float = 0.0
) -> None:
    """Add ``f''(z) * sum_d t_d * dt_d`` to ``dz``. See ``tinynet_kernels.reference.activation_curvature``."""
    if not ACTIVATIONS[kind].elementwise:
        rows, columns = _as_rows(y)
        launch = kernel(_SOFTMAX_FILE, "softmax_curvature", REAL[y.dtype])
        launch(*over_vector(rows), (y, t, dt, dz, np.int64(rows), np.int64(columns), np.int64(len(t))))
        return
    read = z if ACTIVATIONS[kind].reads_z else y
    launch = kernel(_FILE, "activation_curvature", REAL[y.dtype], _struct(kind))
    launch(*over_vector(y.size), (read, t, dt, dz, np.int64(y.size), np.int64(len(t)), y.dtype.type(alpha)))


def bias_activation(kind: str, z: DeviceArray, b: DeviceArray | None, y: DeviceArray, alpha: float) -> None:
    """Add the bias to ``z`` in place and apply the activation: ``z += b`` and ``y = f(z)``.

    Parameters
    ----------
    kind : str
    z, y : ([n_models,] n_samples, n) array
        May be one array, which then holds ``y``.
    b : ([n_models,] n) array or None
    alpha : float
    """
    if b is None:
        activation_forward(kind, z, y, alpha)
    elif not ACTIVATIONS[kind].elementwise:
        bias_activation("identity", z, b, z, 0.0)
        activation_forward(kind, z, y, alpha)
    else:
        rows, columns = z.shape[-2:]
        width = pack_width(columns, z, y)
        launch = kernel(_FILE, "bias_activation", REAL[z.dtype], _struct(kind), width)
        grid = grid_of(over_matrix(rows, columns // width), count(z, 2))
        launch(*grid, (z, b, y, np.int64(rows), np.int64(columns), z.dtype.type(alpha), np.int64(step(b, 1))))


def _struct(kind: str) -> str:
    """Return what the sources call an elementwise kind."""
    return f"tinynet::activation::{kind}"


def _as_rows(z: DeviceArray) -> tuple[int, int]:
    """Return how many rows there are, those of all models together, and their length."""
    columns = int(z.shape[-1])
    return int(z.size) // max(1, columns), columns


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch."""
    for dtype, real in REAL.items():
        yield Instance(_SOFTMAX_FILE, "softmax_forward", (real,))
        yield Instance(_SOFTMAX_FILE, "softmax_backward", (real,))
        yield Instance(_SOFTMAX_FILE, "softmax_curvature", (real,))
        for kind, traits in ACTIVATIONS.items():
            if traits.elementwise:
                yield Instance(_FILE, "activation_curvature", (real, _struct(kind)))
        for name in ("activation_forward", "activation_backward", "bias_activation"):
            for kind, traits in ACTIVATIONS.items():
                for width in (1, 16 // dtype.itemsize) if traits.elementwise else ():
                    yield Instance(_FILE, name, (real, _struct(kind), width))
