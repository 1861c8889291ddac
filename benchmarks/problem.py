"""Problem: a workload with its numbers, the same in every process; and the loss at the end, from one plain formula."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import Workload

SEED = 1
MOST_MODELS = 1000
"""Models, evenly spread, of which the loss at the end is compared."""
Samples = tuple[NDArray[Any], NDArray[Any], str]
"""Inputs, targets, and where they come from."""

FASHION_FOLDERS = (os.environ.get("TINYNET_FASHION_MNIST"), "/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Problem:
    """A workload, its samples, and the weights that everyone starts from.

    Attributes
    ----------
    x : (n_samples, n_in) array
    y : (n_samples, n_out) array, or (n_samples,) int64 class numbers
    parameters : (n_parameters,) array
        ``w0, b0, w1, b1, ...``, each ``w`` of shape (n_in, n_out). Of many models (n_models, n_parameters).
    source : str
        Where the samples come from.
    rates : (n_models,) array
        The learning rate of each model.
    """

    workload: Workload
    x: NDArray[Any]
    y: NDArray[Any]
    parameters: NDArray[Any]
    source: str
    rates: NDArray[Any]

    def orders(self, n_epochs: int) -> Iterator[NDArray[np.int64]]:
        """Draw the order of the samples, epoch by epoch, as tinynet does; it costs time, and everyone pays for it."""
        rng = order_generator()
        for _ in range(n_epochs):
            yield rng.permutation(len(self.x))[: self.workload.n_visits]


def order_generator() -> np.random.Generator:
    """Return a generator that draws the same orders for everyone."""
    return np.random.default_rng(SEED)


def problem_of(workload: Workload) -> Problem:
    """Return the numbers of a workload."""
    rng = np.random.default_rng(SEED)
    x, y, source = DATA[workload.data](workload, rng)
    dtype = np.dtype(workload.dtype)
    targets = np.ascontiguousarray(y, np.int64 if y.ndim == 1 else dtype)
    several = (workload.n_models,) if workload.n_models > 1 else ()
    parts: list[NDArray[Any]] = []
    for n_in, n_out in pairwise(workload.sizes):
        spread = workload.spread if workload.spread is not None else np.sqrt(2.0 / (n_in + n_out))
        parts.append(rng.normal(0, spread, (*several, n_in * n_out)))
        parts.append(rng.normal(0, workload.spread or 0.0, (*several, n_out)))
    parameters = np.concatenate(parts, axis=-1).astype(dtype)
    rates = workload.learning_rate * np.logspace(0, -1, workload.n_models).astype(dtype)
    return Problem(workload, np.ascontiguousarray(x, dtype), targets, parameters, source, rates)


def _sine(workload: Workload, rng: np.random.Generator) -> Samples:
    x = rng.uniform(0, 6, (workload.n_samples, 4))
    y = np.column_stack([np.sin(x.sum(axis=1)), np.sin(6 * x[:, 1]), np.sin(x[:, 1] + x[:, 3])])
    return x, y, "the sine problem"


def _expm(workload: Workload, rng: np.random.Generator) -> Samples:
    from scipy.linalg import expm

    matrices = rng.normal(size=(workload.n_samples, 2, 2))
    return matrices.reshape(-1, 4), expm(matrices).reshape(-1, 4), "exponentials of random 2x2 matrices"


def _random(workload: Workload, rng: np.random.Generator) -> Samples:
    x = rng.normal(size=(workload.n_samples, workload.sizes[0]))
    y = np.tanh(x @ rng.normal(0, workload.sizes[0] ** -0.5, (workload.sizes[0], workload.sizes[-1])))
    return x, y, "random numbers"


def _fashion(workload: Workload, rng: np.random.Generator) -> Samples:
    """Return the images, or random ones of the same shape and about as many zeros where they are not there."""
    from tinynet.datasets.idx import read_idx_folder

    n = workload.n_samples
    for folder in filter(None, FASHION_FOLDERS):
        if Path(folder).is_dir():
            data, _ = read_idx_folder(folder)
            assert data.y is not None
            return data.x[:n] / np.float32(255), data.y[:n], "Fashion-MNIST"
    x, y, source = _images(workload, rng)
    return x, y, f"{source}: set TINYNET_FASHION_MNIST to the folder of the real ones"


def _bundled(workload: Workload, rng: np.random.Generator) -> Samples:
    """Return one of the sets that scikit-learn brings along."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{workload.data}")(return_X_y=True)
    return x[: workload.n_samples], y[: workload.n_samples], f"scikit-learn's {workload.data}"


def _images(workload: Workload, rng: np.random.Generator) -> Samples:
    shape = workload.n_samples, workload.sizes[0]
    x = rng.uniform(0, 1, shape).astype(np.float32) * (rng.uniform(size=shape) < 0.5)
    return x, rng.integers(0, workload.sizes[-1], workload.n_samples), "random images"


DATA: dict[str, Callable[[Workload, np.random.Generator], Samples]] = {
    "sine": _sine,
    "expm": _expm,
    "random": _random,
    "images": _images,
    "digits": _bundled,
    "iris": _bundled,
    "fashion": _fashion,
}

ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}


def split(parameters: NDArray[Any], sizes: tuple[int, ...]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return views of the weight and the bias of each layer; of many models, with the model as the first axis."""
    layers, start, several = [], 0, parameters.shape[:-1]
    for n_in, n_out in pairwise(sizes):
        middle, stop = start + n_in * n_out, start + (n_in + 1) * n_out
        layers.append((parameters[..., start:middle].reshape(*several, n_in, n_out), parameters[..., middle:stop]))
        start = stop
    return layers


def forward(workload: Workload, parameters: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the output of the network in float64."""
    *inner, (w, b) = split(parameters.astype(np.float64), workload.sizes)
    y: NDArray[np.float64] = x.astype(np.float64)
    for w_inner, b_inner in inner:
        y = ACTIVATIONS[workload.hidden](y @ w_inner + b_inner)
    return ACTIVATIONS[workload.output](y @ w + b)


def loss_of(problem: Problem, parameters: NDArray[Any]) -> float:
    """Return the mean loss of a sample in float64, whoever trained the parameters; of many models, the mean of some.

    Examples
    --------
    >>> from benchmarks.workloads import WORKLOADS
    >>> problem = problem_of(WORKLOADS["seed2-1"])
    >>> round(loss_of(problem, problem.parameters), 1)
    2.3
    """
    workload = problem.workload
    if parameters.ndim == 2:
        step = -(-len(parameters) // MOST_MODELS)
        return float(np.mean([loss_of(problem, row) for row in parameters[::step]]))
    prediction = forward(workload, parameters, problem.x)
    if workload.loss == "cross_entropy":
        top = prediction.max(axis=1)
        log_sum = top + np.log(np.exp(prediction - top[:, None]).sum(axis=1))
        return float((log_sum - prediction[np.arange(len(prediction)), problem.y]).mean())
    squares = (prediction - problem.y) ** 2
    return float(squares.sum(axis=1).mean() if workload.loss == "sum_squares" else squares.mean())


def difference(problem: Problem, ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return how far two results are apart, as a share: of the loss at the end, or of the largest number."""
    if problem.workload.task in ("predict", "grid"):
        return float(np.abs(ours - theirs).max() / np.abs(ours).max())
    a, b = loss_of(problem, ours), loss_of(problem, theirs)
    return abs(a - b) / max(abs(a), abs(b))
