"""The workloads, as plain data. NumPy is not imported here, so that the import of a library can be timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

TRAINING_PEERS = ("floor", "torch", "torch-compile", "torch-graphs", "jax", "jax-scan")
SEED_PEERS = ("c", "notebook", "torch", "torch-compile", "torch-graphs", "jax", "jax-scan", "scikit-learn")
MANY_PEERS = ("c", "torch", "jax-scan", "scikit-learn")
PREDICTING_PEERS = ("floor", "onnxruntime", "torch", "jax", "scikit-learn")

TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}
"""Largest relative difference of the losses of float32 networks, by the precision of their products."""


@dataclass(frozen=True)
class Workload:
    """A network, what it learns, and how; or one that predicts a sample at a time, or is fitted as an estimator.

    Attributes
    ----------
    sizes : tuple of int
        Widths, from the input to the output.
    hidden, output : str
        Activations after the inner layers and after the last one.
    loss : {"sum_squares", "mean_squares", "cross_entropy"}
        The sum over a batch and its outputs, the mean over both, and the mean over the samples of a batch.
    batch_size : int or None
        None: all samples at once. The samples that fill no batch are left out.
    epochs : int
        Of one run; of single predictions if ``task`` is "predict", of fits if it is "fit", of searches if it is "grid".
    n_iterations : int
        The ``max_iter`` of a fit, for the last two.
    spread : float or None
        Standard deviation of the initial weights and biases; None: Glorot's, with biases of zero.
    threaded : bool
        Whether it is worth more than one thread.
    n_models : int
        Networks that are trained at once, each from weights and with a learning rate of its own, on shared samples.
    precision : {"float32", "tf32", "bf16"}
        What the factors of the matrix products may be rounded to, on all sides.
    device : {"any", "gpu"}
        Where it is run: what would take minutes on a processor, or cannot be had there, is for GPUs alone.
    peers : tuple of str
        What tinynet is compared with, by name.
    """

    id: str
    title: str
    sizes: tuple[int, ...]
    hidden: Literal["sigmoid", "tanh", "relu"]
    output: Literal["identity", "sigmoid"] = "identity"
    loss: Literal["sum_squares", "mean_squares", "cross_entropy"] = "mean_squares"
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    dtype: Literal["float32", "float64"] = "float32"
    data: str = "random"
    n_samples: int = 1000
    batch_size: int | None = None
    epochs: int = 1
    shuffle: bool = False
    spread: float | None = None
    task: Literal["train", "predict", "fit", "grid"] = "train"
    n_iterations: int = 1
    threaded: bool = False
    n_models: int = 1
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    device: Literal["any", "gpu"] = "any"
    peers: tuple[str, ...] = TRAINING_PEERS

    @property
    def rows(self) -> int:
        """Samples of one update, or of one prediction."""
        if self.task == "predict":
            return 1
        return min(self.batch_size or self.n_samples, self.n_samples)

    @property
    def unit(self) -> str:
        """What the time is given for."""
        if self.task != "train":
            return {"predict": "prediction", "fit": "fit", "grid": "search"}[self.task]
        return "update of a net" if self.n_models > 1 else "update"

    @property
    def n_updates(self) -> int:
        """Updates of one epoch."""
        return 1 if self.task != "train" else self.n_samples // self.rows

    @property
    def n_units(self) -> int:
        """How many times an epoch does what the time is given for."""
        return self.n_updates * self.n_models

    @property
    def n_visits(self) -> int:
        """Samples that an epoch visits."""
        return self.n_updates * self.rows

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def tolerance(self) -> float:
        """Largest relative difference of two losses that count as the same."""
        return 1e-6 if self.dtype == "float64" else TOLERANCES[self.precision]

    def runs_on(self, device: str) -> bool:
        """Tell whether the workload is for the processor ("cpu"), or for a GPU ("gpu")."""
        return self.task == "train" if device == "gpu" else self.device == "any"


_SEED = Workload(
    id="seed-1",
    title="4-3 sigmoid, batch 1",
    sizes=(4, 3),
    hidden="sigmoid",
    output="sigmoid",
    loss="sum_squares",
    learning_rate=0.001,
    dtype="float64",
    data="sine",
    batch_size=1,
    epochs=400,
    spread=0.01,
    peers=SEED_PEERS,
)
_FASHION = Workload(
    id="fashion",
    title="Fashion-MNIST 784-256-10, batch 128, SGD",
    sizes=(784, 256, 10),
    hidden="relu",
    loss="cross_entropy",
    learning_rate=0.05,
    data="fashion",
    n_samples=60_000,
    batch_size=128,
    shuffle=True,
    threaded=True,
    peers=(*TRAINING_PEERS, "scikit-learn"),
)
_PREDICT = Workload(
    id="predict-1",
    title="one sample through 4-5-3",
    sizes=(4, 5, 3),
    hidden="sigmoid",
    output="sigmoid",
    dtype="float64",
    data="sine",
    task="predict",
    epochs=2000,
    peers=PREDICTING_PEERS,
)


def _adam(workload: Workload) -> Workload:
    return replace(
        workload,
        id=f"{workload.id}-adam",
        title=workload.title.replace("SGD", "Adam"),
        optimizer="adam",
        learning_rate=0.001,
    )


_SEED2 = replace(_SEED, id="seed2-1", title="4-5-3 sigmoid, batch 1", sizes=(4, 5, 3), learning_rate=0.01)
_SMALL = replace(
    _FASHION, id="fashion-small", title="Fashion-MNIST 784-64-64-10, batch 128, SGD", sizes=(784, 64, 64, 10)
)

_WIDE = replace(
    _FASHION,
    id="wide",
    title="784-2048-2048-10, batch 1024, Adam",
    sizes=(784, 2048, 2048, 10),
    optimizer="adam",
    learning_rate=0.001,
    n_samples=4096,
    batch_size=1024,
)

_SWEEP = replace(
    _SEED2,
    id="sweep-1",
    title="1,000 nets 4-5-3 sigmoid at once, batch 1",
    dtype="float32",
    n_models=1000,
    threaded=True,
    peers=MANY_PEERS,
)

_ALL = (
    _SEED,
    replace(_SEED, id="seed-10", title="4-3 sigmoid, batch 10", batch_size=10),
    _SEED2,
    replace(_SEED2, id="seed2-10", title="4-5-3 sigmoid, batch 10", batch_size=10),
    _SWEEP,
    replace(_SWEEP, id="sweep-10", title="1,000 nets 4-5-3 sigmoid at once, batch 10", batch_size=10),
    replace(
        _SWEEP,
        id="sweep-10-10000",
        title="10,000 nets 4-5-3 sigmoid at once, batch 10",
        batch_size=10,
        n_models=10_000,
        device="gpu",
    ),
    replace(
        _SWEEP,
        id="sweep-10-100000",
        title="100,000 nets 4-5-3 sigmoid at once, batch 10",
        batch_size=10,
        n_models=100_000,
        device="gpu",
    ),
    replace(
        _SWEEP,
        id="sweep-regress",
        title="100 nets 4-5-3 tanh at once, batch 10",
        hidden="tanh",
        output="identity",
        loss="mean_squares",
        batch_size=10,
        n_models=100,
    ),
    Workload(
        id="chains",
        title="matrix exponential, 4-32-16-4 tanh, full batch, Adam",
        sizes=(4, 32, 16, 4),
        hidden="tanh",
        optimizer="adam",
        learning_rate=0.001,
        data="expm",
        n_samples=10_000,
        epochs=200,
        threaded=True,
        peers=(*TRAINING_PEERS, "scikit-learn"),
    ),
    Workload(
        id="deep32",
        title="32-32-32-32-10 ReLU, batch 32, SGD",
        sizes=(32, 32, 32, 32, 10),
        hidden="relu",
        n_samples=3200,
        batch_size=32,
        epochs=20,
        peers=(*TRAINING_PEERS, "scikit-learn"),
    ),
    _FASHION,
    _adam(_FASHION),
    _SMALL,
    _adam(_SMALL),
    _WIDE,
    replace(_WIDE, id="wide-tf32", title=f"{_WIDE.title}, TF32", precision="tf32", device="gpu"),
    replace(_WIDE, id="wide-bf16", title=f"{_WIDE.title}, bfloat16", precision="bf16", device="gpu"),
    _PREDICT,
    replace(
        _PREDICT,
        id="predict-1-wide",
        title="one sample through 784-256-10",
        sizes=(784, 256, 10),
        hidden="relu",
        output="identity",
        dtype="float32",
        data="random",
    ),
)

_ESTIMATORS = (
    Workload(
        id="sklearn-fit",
        title="MLPClassifier().fit on the digits, 64-100-10, 50 iterations",
        sizes=(64, 100, 10),
        hidden="relu",
        loss="cross_entropy",
        optimizer="adam",
        learning_rate=0.001,
        dtype="float64",
        data="digits",
        n_samples=1797,
        batch_size=200,
        epochs=20,
        task="fit",
        n_iterations=50,
        peers=("scikit-learn",),
    ),
    Workload(
        id="sklearn-grid",
        title="GridSearchCV over a pipeline on the irises, 28 fits of 4-5..20-3",
        sizes=(4, 10, 3),
        hidden="relu",
        loss="cross_entropy",
        optimizer="adam",
        learning_rate=0.01,
        dtype="float64",
        data="iris",
        n_samples=150,
        batch_size=32,
        epochs=20,
        task="grid",
        n_iterations=100,
        threaded=True,
        peers=("scikit-learn",),
    ),
)
_ALL = (*_ALL, *_ESTIMATORS)

WORKLOADS: Mapping[str, Workload] = MappingProxyType({workload.id: workload for workload in _ALL})
"""The workloads by their names, in the order of the report."""

START = replace(_SEED2, id="start", title="import, and the first fit of a process (4-5-3, one epoch)", epochs=1)
"""What the first fit of a fresh process trains; see ``start.py``."""
