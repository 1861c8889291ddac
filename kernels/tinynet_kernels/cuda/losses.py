"""Losses and their gradients, in one pass over the predictions."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.grids import THREADS, Grid, over_summed_matrix, over_summed_rows
from tinynet_kernels.cuda.loading import REAL, Instance, kernel
from tinynet_kernels.cuda.models import count, grid_of, own, step
from tinynet_kernels.cuda.scratch import scratch
from tinynet_kernels.kinds import LOSSES, n_targets

_FILE, _TOTAL_FILE = "losses.cu", "reductions.cu"


def loss_forward_backward(
    kind: str,
    prediction: DeviceArray,
    target: DeviceArray,
    weight: DeviceArray | None,
    d_prediction: DeviceArray,
    scale: float = 1.0,
    parameter: float = 0.0,
    value: DeviceArray | None = None,
) -> float | None:
    """Loss summed over everything, and its gradient. See ``tinynet_kernels.reference.loss_forward_backward``.

    Waits for the device only where no ``value`` is given. For many models, predictions and their gradients are
    (n_models, n_samples, n_out). Targets and weights may be each model's own or shared, ``parameter`` may be an
    (n_models,) float64 array of the device, and there must be such a ``value``.
    """
    traits = LOSSES[kind]
    result = scratch(1, np.float64) if value is None else value
    (rows, columns), n_models = prediction.shape[-2:], count(prediction, 2)
    real, number = REAL[prediction.dtype], prediction.dtype.type
    template = (real, _struct(kind), weight is not None)
    arrays = (prediction, target, prediction if weight is None else weight, d_prediction)
    settings: tuple[Any, ...] = (*arrays, np.int64(rows), np.int64(columns))
    steps = (
        np.int64(step(target, 1 if traits.index_target else 2)),
        np.int64(0 if weight is None else step(weight, 1)),
    )
    if traits.elementwise:
        grid = over_summed_matrix(rows, columns)
        launch = kernel(_FILE, "elementwise_loss", *template)
        shared, each, parameters = own(parameter, result)
        settings = (*settings, *steps, number(scale), number(shared), np.bool_(each), parameters)
    else:
        grid, lanes = over_summed_rows(rows, columns)
        launch = kernel(_FILE, "row_loss", *template)
        t_columns = np.int64(n_targets(kind, columns))
        settings = (*settings, t_columns, *steps, np.int32(lanes), number(scale))
    n_blocks = _n_blocks(grid)
    if n_blocks == 1:
        launch(*grid_of(grid, n_models), (*settings, np.float64(scale), result))
    else:
        sums = scratch((n_models, n_blocks), np.float64)
        launch(*grid_of(grid, n_models), (*settings, np.float64(1), sums))
        total = kernel(_TOTAL_FILE, "total")
        total(*grid_of(((1,), (THREADS,)), n_models), (sums, np.int64(n_blocks), np.float64(scale), result))
    return float(result.get()[0]) if value is None else None


def _struct(kind: str) -> str:
    """Return what the sources call a kind."""
    return f"tinynet::loss::{kind}"


def _n_blocks(grid: Grid) -> int:
    blocks, _ = grid
    return int(np.prod(blocks))


def instances() -> Iterator[Instance]:
    """Yield every kernel that these functions can launch."""
    yield Instance(_TOTAL_FILE, "total")
    for real in REAL.values():
        for kind, traits in LOSSES.items():
            for weighted in (False, True):
                name = "elementwise_loss" if traits.elementwise else "row_loss"
                yield Instance(_FILE, name, (real, _struct(kind), weighted))
