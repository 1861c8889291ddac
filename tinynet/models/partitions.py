"""Data in partitions, as Dask has them: predictions of each when somebody asks for it, losses added up over all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.losses import Loss

if TYPE_CHECKING:
    from tinynet.models.inference import Inference
    from tinynet.training.metrics import Metric

Part = tuple[float, int, NDArray[Any], NDArray[Any], NDArray[Any] | None]
"""Of a partition: its loss, how many samples it has, and predictions, targets and weights, for metrics."""


def is_partitioned(data: Any) -> bool:
    """Tell whether data are a collection of Dask's, which is not imported for that."""
    return type(data).__module__.partition(".")[0] == "dask"


def predicted(net: Inference, x: Any) -> Any:
    """Return the output for ``x``, a Dask array or data frame, as a Dask array with the blocks of ``x``.

    Nothing is computed yet. The weights are those of now, whatever happens to the model before somebody asks.
    """
    import dask

    samples = _blocks(x, net.program.n_in, "x")
    model, n_out, dtype = dask.delayed(net.clone(), traverse=False), net.program.n_out, np.dtype(net.dtype)
    net._require_adapted()
    return samples.map_blocks(
        _predicted_block,
        net=model,
        chunks=(samples.chunks[0], (n_out,)),
        dtype=dtype,
        meta=np.empty((0, n_out), dtype),
    )


def _predicted_block(block: NDArray[Any], net: Any) -> NDArray[Any]:
    if not len(block):  # A partition of which a filter has left nothing.
        return np.empty((0, net.program.n_out), net.dtype)
    found: NDArray[Any] = net.predict(block)
    return found


def evaluated(
    net: Inference,
    x: Any,
    y: Any,
    loss: Loss,
    metrics: str | Metric | Iterable[str | Metric],
    sample_weight: Any,
) -> dict[str, float]:
    """Return the loss and metrics over Dask collections, by name.

    The loss of each partition is computed where it lies; for metrics predictions, targets and weights come here.

    Raises
    ------
    ValueError
        If partitions do not fit each other, or the loss is code of the user's: it need not be a sum over samples.
    """
    import dask

    from tinynet.training.data import Data
    from tinynet.training.metrics import Meter, get_metrics

    if loss.ignores_missing:
        raise ValueError(
            "evaluate of partitions expects every target to be there: each would divide by what it has measured alone. "
            "Pass x.compute() and y.compute(), or leave missing_targets out."
        )
    if loss.is_custom and not hasattr(loss, "scalar_functions"):
        raise ValueError(
            "evaluate adds up the losses of partitions, so it expects one that is a sum over samples; "
            f"{type(loss).__name__} need not be one. Pass x.compute() and y.compute(), or take a tn.ElementwiseLoss."
        )
    samples = _blocks(x, net.program.n_in, "x")
    model, chosen = dask.delayed(net.clone(), traverse=False), get_metrics(metrics)
    names = ("y", "sample_weight")
    beside = [_beside(data, samples, name) for data, name in zip((y, sample_weight), names, strict=True)]
    blocks = zip(samples.to_delayed().ravel(), *beside, strict=True)
    part = dask.delayed(_part)
    parts: list[Part | None] = list(dask.compute(*(part(model, *b, loss, bool(chosen)) for b in blocks)))
    found = [one for one in parts if one is not None]
    if not found:
        raise ValueError("evaluate expects at least one sample in x; got partitions without any.")
    rows = sum(n for _, n, *_ in found)
    mean = loss.reduction == "mean"
    total = math.fsum(value * n if mean else value for value, n, *_ in found)
    figures = {"loss": total / rows if mean else total}
    if not chosen:
        return figures
    outputs, targets = (np.concatenate([one[place] for one in found]) for place in (2, 3))
    weights = None if sample_weight is None else np.concatenate([w for *_, w in found if w is not None])
    data = Data(net.backend, outputs, targets, None, targets, weights, net.dtype)
    return figures | Meter(chosen, data, loss, net.program)(outputs)


def _part(net: Any, x: Any, y: Any, weight: Any, loss: Loss, measured: bool) -> Part | None:
    """Return what a partition tells; None of one without samples."""
    if not len(x):
        return None
    data = net._data(loss, x, y, weight)
    value = net.evaluate(x, y, loss=loss, sample_weight=weight)["loss"]
    nothing = np.empty(0)
    if not measured:
        return value, len(x), nothing, nothing, None
    return value, len(x), net.predict_on_host(data.x), data.y_host, data.sample_weight_host


def _blocks(data: Any, n_columns: int, name: str) -> Any:
    """Return a Dask array whose blocks are whole rows."""
    array = data.to_dask_array() if hasattr(data, "to_dask_array") else data
    if not hasattr(array, "map_blocks"):
        raise TypeError(
            f"{name} expects an array or a data frame of Dask; got {type(data).__name__}, which has no blocks. Pass "
            f"{name}.compute()."
        )
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ValueError(
            f"the model expects {name} of shape (batch, {n_columns}); got {array.shape}. Check the number of columns."
        )
    return array.rechunk({1: -1}) if len(array.chunks[1]) > 1 else array


def _beside(data: Any, samples: Any, name: str) -> list[Any]:
    """Return the parts of targets or weights that go with the blocks of samples."""
    if data is None:
        return [None] * samples.numblocks[0]
    sizes = samples.chunks[0]
    if is_partitioned(data):
        array = data.to_dask_array() if hasattr(data, "to_dask_array") else data
        own = array.chunks[0]
        if not any(math.isnan(size) for size in (*own, *sizes)) and sum(own) == sum(sizes):
            array = array.rechunk({0: sizes, **({1: -1} if array.ndim == 2 else {})})
        if len(array.chunks[0]) != len(sizes):
            raise ValueError(
                f"evaluate expects x and {name} in the same partitions; got {len(sizes)} and {len(array.chunks[0])}. "
                f"Repartition one of them, or pass {name}.compute()."
            )
        return list(array.to_delayed().ravel())
    if any(math.isnan(size) for size in sizes):
        raise ValueError(
            f"evaluate expects {name} as a collection of Dask's, as x does not tell how long its partitions are; got "
            f"{type(data).__name__}. Pass x.to_dask_array(lengths=True)."
        )
    ends = np.cumsum(sizes)
    if len(data) != ends[-1]:
        raise ValueError(f"x and {name} must have as many samples as each other; got {ends[-1]} and {len(data)}.")
    return [data[stop - size : stop] for size, stop in zip(sizes, ends, strict=True)]
