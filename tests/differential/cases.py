"""Random trainings: from one number all that ``fit`` is told, as data that the library and the oracle both read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

PLAIN = ("Identity", "Sigmoid", "Tanh", "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Exp", "Softmax")
LOSSES = ("mse", "mae", "huber", "bce", "bce_logits", "cross_entropy", "cross_entropy_probabilities", "poisson")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop")
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 65, 100)


@dataclass(frozen=True)
class Case:
    """One training; ``python -m tests.differential --case SEED`` runs it again."""

    seed: int
    dtype: str
    layers: tuple[tuple[Any, ...], ...]
    loss: tuple[str, float, str]
    optimizer: tuple[str, dict[str, Any]]
    schedule: tuple[str, dict[str, Any]] | None
    n_samples: int
    n_in: int
    n_out: int
    labels: bool
    weighted: bool
    normalize: bool
    batch_size: int
    epochs: int
    shuffle: bool | str
    drop_last: bool
    way: str
    """"once", "twice" (fit again with the same optimizer), "resume", "ensemble" or "slices" (an ensemble, in parts)."""
    n_models: int


def random_case(seed: int) -> Case:
    """Return the case of a seed."""
    rng = np.random.default_rng([seed, 20261128])
    pick = lambda values: values[rng.integers(len(values))]  # noqa: E731 - a name for what every line does
    loss = pick(LOSSES)
    depth = int(rng.integers(0, 6))
    widths = [int(pick(WIDTHS)) for _ in range(depth + 2)]
    if loss.startswith("cross_entropy"):
        widths[-1] = max(2, widths[-1])
    layers: list[tuple[Any, ...]] = []
    for n_in, n_out in pairwise(widths):
        layers.append(("Linear", n_in, n_out, bool(rng.random() < 0.85)))
        layers += [_activation(rng, pick(PLAIN))] if rng.random() < 0.85 else []
        layers += [("Dropout", round(float(rng.uniform(0, 0.7)), 3))] if rng.random() < 0.15 else []
    layers = [*_trimmed(layers), *_ending(rng, loss)]
    n_samples = int(pick((1, 2, 3, 5, 8, 13, 20, 33, 64, 100)))
    batch_size = int(pick((1, 2, 3, 4, 7, 8, 10, 16, 32, 33, 200)))
    way = str(pick(("once", "once", "twice", "resume", "ensemble", "slices")))
    normalize = bool(rng.random() < 0.2)
    if normalize:
        layers.insert(0, ("Normalize", widths[0]))
    return Case(
        seed,
        str(pick(("float32", "float64"))),
        tuple(layers),
        (loss, round(float(rng.uniform(0.1, 2)), 2), str(pick(("mean", "sum")))),
        _optimizer(rng, str(pick(OPTIMIZERS))),
        _schedule(rng, pick) if way not in ("ensemble", "slices") and rng.random() < 0.3 else None,
        n_samples,
        widths[0],
        widths[-1],
        loss.startswith("cross_entropy") and bool(rng.random() < 0.6),
        bool(rng.random() < 0.3),
        normalize,
        batch_size,
        int(rng.integers(1, 5)),
        pick((True, True, False, "replacement")),
        bool(rng.random() < 0.2) and batch_size <= n_samples,
        way,
        int(pick((1, 2, 3, 8, 9, 17))) if way in ("ensemble", "slices") else 1,
    )


def _activation(rng: np.random.Generator, kind: str) -> tuple[Any, ...]:
    return (kind, round(float(rng.uniform(0.01, 1.5)), 3)) if kind in ("LeakyReLU", "ELU") else (kind,)


def _trimmed(layers: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave out what follows the last linear layer: the loss says what a network ends in."""
    while layers[-1][0] != "Linear":
        layers = layers[:-1]
    return layers


def _ending(rng: np.random.Generator, loss: str) -> list[tuple[Any, ...]]:
    """Return the layers that a network ends in, for predictions that the loss can take."""
    if loss == "bce":
        return [("Sigmoid",)]
    if loss == "cross_entropy_probabilities":
        return [("Softmax",)]
    if loss == "poisson":
        return [("Exp",)] if rng.random() < 0.5 else []
    if loss in ("bce_logits", "cross_entropy"):
        return []
    return [_activation(rng, str(rng.choice(PLAIN)))] if rng.random() < 0.4 else []


def _optimizer(rng: np.random.Generator, kind: str) -> tuple[str, dict[str, Any]]:
    some = lambda share, value: value if rng.random() < share else 0.0  # noqa: E731
    rate = round(float(10 ** rng.uniform(-4, -1.5)), 6)
    settings: dict[str, Any] = {"learning_rate": rate, "weight_decay": some(0.3, 0.01)}
    if kind == "SGD":
        settings["momentum"] = some(0.5, 0.9)
        settings["nesterov"] = bool(settings["momentum"] and rng.random() < 0.5)
    elif kind == "RMSprop":
        settings |= {"alpha": 0.95, "epsilon": 1e-3, "momentum": some(0.4, 0.8), "centered": bool(rng.random() < 0.4)}
    else:
        settings |= {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3}
        settings |= {"epsilon_hat": True} if kind == "Adam" and rng.random() < 0.2 else {}
    if rng.random() < 0.2:
        settings["clip_norm"] = round(float(10 ** rng.uniform(-2, 0.5)), 4)
    if rng.random() < 0.2:
        settings["clip_value"] = round(float(10 ** rng.uniform(-2, 0)), 4)
    return kind, settings


def _schedule(rng: np.random.Generator, pick: Any) -> tuple[str, dict[str, Any]]:
    kind = pick(("CosineDecay", "ExponentialDecay", "StepDecay"))
    rate = round(float(10 ** rng.uniform(-4, -1.5)), 6)
    own = {
        "CosineDecay": {"initial": rate, "epochs": int(rng.integers(1, 6))},
        "ExponentialDecay": {"initial": rate, "factor": 0.7},
        "StepDecay": {"initial": rate, "every": int(rng.integers(1, 3)), "factor": 0.5},
    }
    return kind, own[kind]


def data_of(case: Case) -> tuple[Any, Any, Any]:
    """Return samples, targets and sample weights (or None), rounded to the dtype of the case."""
    rng = np.random.default_rng([case.seed, 1])
    kind = case.loss[0]
    x = rng.normal(size=(case.n_samples, case.n_in))
    if case.normalize:
        x = x * rng.uniform(0.1, 9, case.n_in) + rng.normal(0, 5, case.n_in)
    shape = (case.n_samples, case.n_out)
    if case.labels:
        y: Any = rng.integers(0, case.n_out, case.n_samples)
    elif kind.startswith("cross_entropy"):
        y = rng.dirichlet(np.ones(case.n_out), case.n_samples)
    elif kind.startswith("bce"):
        y = rng.uniform(size=shape) if rng.random() < 0.5 else rng.integers(0, 2, shape) * 1.0
    else:
        y = rng.poisson(2.0, shape) * 1.0 if kind == "poisson" else rng.normal(size=shape)
    weight = rng.uniform(0, 2, case.n_samples) + 0.01 if case.weighted else None
    rounded = [None if a is None else a if a.dtype.kind == "i" else a.astype(case.dtype) for a in (x, y, weight)]
    return rounded[0], rounded[1], rounded[2]
