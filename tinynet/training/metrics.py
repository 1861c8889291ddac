"""Metrics: figures that are reported beside the loss. They see predictions and targets as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import member

Metric = Callable[[NDArray[Any], NDArray[Any]], float]


def accuracy(prediction: NDArray[Any], target: NDArray[Any]) -> float:
    """Share of samples whose class is right.

    Several outputs: the largest one is the class. One output: class 1 from 0.5 up, so it must be a probability (end the
    network in ``Sigmoid``).

    Examples
    --------
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    if prediction.shape[1] == 1:
        return float(np.mean((prediction[:, 0] >= 0.5) == (np.reshape(target, -1) >= 0.5)))
    truth = target if target.ndim == 1 else target.argmax(axis=1)
    return float(np.mean(prediction.argmax(axis=1) == truth))


def mean_absolute_error(prediction: NDArray[Any], target: NDArray[Any]) -> float:
    """Mean of ``|p - t|`` over all elements."""
    return float(np.mean(np.abs(prediction - _dense(prediction, target)), dtype=np.float64))


def r2_score(prediction: NDArray[Any], target: NDArray[Any]) -> float:
    """Coefficient of determination, ``1 - SS_res / SS_tot``, the mean over the outputs.

    An output that never changes counts 1 if it is met exactly and 0 otherwise, as in scikit-learn.

    Examples
    --------
    >>> r2_score(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))
    1.0
    """
    target = _dense(prediction, target).astype(np.float64)
    residual = np.square(target - prediction).sum(axis=0)
    total = np.square(target - target.mean(axis=0)).sum(axis=0)
    constant = total == 0
    scores = np.where(constant, residual == 0, 1.0 - residual / np.where(constant, 1.0, total))
    return float(scores.mean())


def _dense(prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    if target.shape == prediction.shape:
        return target
    if target.ndim == 1 and prediction.shape[1] == 1:
        return target.reshape(-1, 1)
    raise ValueError(
        f"this metric expects targets of shape {prediction.shape}, as the predictions; got {target.shape}. "
        "Class numbers go with 'accuracy'."
    )


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "mae": mean_absolute_error,
    "r2": r2_score,
}


RISING = ("accuracy", "r2")
"""Metrics of which a higher value is the better one."""


def rises(figure: str) -> bool:
    """Tell whether a figure of a training is the better the higher it is; losses and unknown metrics should fall.

    Examples
    --------
    >>> rises("val_accuracy"), rises("val_loss")
    (True, False)
    """
    return figure.removeprefix("val_") in RISING


def get_metrics(specs: str | Metric | Iterable[str | Metric]) -> dict[str, Metric]:
    """Return metrics by name, from names or callables ``f(prediction, target) -> float``.

    Examples
    --------
    >>> sorted(get_metrics(["mae", "r2"]))
    ['mae', 'r2']
    """
    if isinstance(specs, str) or callable(specs):
        specs = [specs]
    found: dict[str, Metric] = {}
    for spec in specs:
        if callable(spec):
            found[getattr(spec, "__name__", type(spec).__name__)] = spec
        else:
            found[spec] = METRICS[member("metric", spec, METRICS)]
    return found


def figures_of(metrics: Iterable[str], validated: bool) -> list[str]:
    """Return the names of the figures of an epoch, in their order.

    Examples
    --------
    >>> figures_of(["r2"], True)
    ['loss', 'r2', 'val_loss', 'val_r2', 'learning_rate']
    """
    names = ["loss", *metrics]
    return [*names, *(f"val_{name}" for name in names if validated), "learning_rate"]
