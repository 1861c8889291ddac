"""Random trainings: from one number all that ``fit`` is told, as data that the library and the oracle both read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

PLAIN = ("Identity", "Sigmoid", "Tanh", "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Exp", "Softmax")
LOSSES = ("mse", "mae", "huber", "bce", "bce_logits", "cross_entropy", "cross_entropy_probabilities", "poisson")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop")
WHOLE = ("LevenbergMarquardt", "BayesianRegularization", "LBFGS")
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 65, 100)
SMALL = (1, 2, 3, 4, 5, 8)
"""Widths of networks that the code generator writes without loops."""
WAYS = ("once", "once", "once", "twice", "resume", "whole", "ensemble", "slices")
FORMS = ("plain", "plain", "fortran", "strided", "list", "swapped", "other precision")
COPIES = ("npz", "safetensors", "pickle", "deepcopy", "onnx")


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
    """"once", "twice" (fit again with the same optimizer), "resume", "whole" (optimizers that take all samples in each
    step), "ensemble" or "slices" (an ensemble, in parts)."""
    n_models: int
    frozen: tuple[int, ...]
    """Places of the linear layers that are not trained."""
    threads: int | None
    form: str
    """How the samples are given."""
    class_weight: tuple[float, ...] | None
    copy: str
    """Through what the model goes when it is trained."""


def random_case(seed: int) -> Case:
    """Return the case of a seed."""
    rng = np.random.default_rng([seed, 20261128])
    pick = lambda values: values[rng.integers(len(values))]  # noqa: E731 - a name for what every line does
    way = str(pick(WAYS))
    kind = str(pick(WHOLE if way == "whole" else OPTIMIZERS))
    small, large = bool(rng.random() < 0.35), bool(rng.random() < 0.12)
    losses = {"LevenbergMarquardt": [loss for loss in LOSSES if loss != "mae"], "BayesianRegularization": ["mse"]}
    loss = str(pick(losses.get(kind, LOSSES)))
    depth = int(rng.integers(0, 3 if small or large or way == "whole" else 6))
    widths = [int(pick(SMALL if small or way == "whole" else WIDTHS)) for _ in range(depth + 2)]
    if loss.startswith("cross_entropy"):
        widths[-1] = max(2, widths[-1])
    layers = _layers(rng, widths, plain=small or way == "whole")
    layers = [*_trimmed(layers), *_ending(rng, loss, smooth=kind == "LevenbergMarquardt")]
    n_samples = int(pick((300, 520, 777) if large else (1, 2, 3, 5, 8, 13, 20, 33, 64, 100)))
    batch_size = int(pick((257, 300, 513, 1000) if large else (1, 1, 2, 3, 4, 7, 8, 10, 16, 32, 33, 200)))
    normalize = bool(rng.random() < 0.2)
    if normalize:
        layers.insert(0, ("Normalize", widths[0]))
    many = way in ("ensemble", "slices")
    places = [i for i, layer in enumerate(layers) if layer[0] == "Linear"]
    frozen = rng.choice(places, int(rng.integers(0, len(places))), replace=False) if rng.random() < 0.3 else ()
    labels = loss.startswith("cross_entropy") and bool(rng.random() < 0.6)
    weighs = labels and not many and rng.random() < 0.4
    return Case(
        seed,
        str(pick(("float32", "float64"))),
        tuple(layers),
        (loss, round(float(rng.uniform(0.1, 2)), 2), str(pick(("mean", "sum")))),
        (kind, {}) if way == "whole" else _optimizer(rng, kind, plain=small and rng.random() < 0.7),
        _schedule(rng, pick) if not many and way != "whole" and rng.random() < 0.3 else None,
        n_samples,
        widths[0],
        widths[-1],
        labels,
        bool(rng.random() < 0.3),
        normalize,
        n_samples if way == "whole" else batch_size,
        int(rng.integers(1, 5)),
        pick((True, True, False, "replacement")) if way != "whole" else False,
        bool(rng.random() < 0.2) and batch_size <= n_samples and way != "whole",
        way,
        int(pick((1, 2, 3, 8, 9, 17))) if many else 1,
        tuple(sorted(int(i) for i in frozen)),
        pick((None, None, 1, 2, 3)),
        "plain" if many else str(pick(FORMS)),
        tuple(np.round(rng.uniform(0.1, 3, widths[-1]), 2).tolist()) if weighs else None,
        str(pick(COPIES)),
    )


def _layers(rng: np.random.Generator, widths: list[int], *, plain: bool) -> list[tuple[Any, ...]]:
    """Return linear layers with activations and dropout between them; plain ones go number by number."""
    kinds = PLAIN[:-1] if plain else PLAIN
    layers: list[tuple[Any, ...]] = []
    for n_in, n_out in pairwise(widths):
        layers.append(("Linear", n_in, n_out, bool(rng.random() < 0.85)))
        layers += [_activation(rng, str(rng.choice(kinds)))] if rng.random() < 0.85 else []
        dropped = rng.random() < 0.15 and not plain
        layers += [("Dropout", round(float(rng.uniform(0, 0.7)), 3))] if dropped else []
    return layers


def _activation(rng: np.random.Generator, kind: str) -> tuple[Any, ...]:
    return (kind, round(float(rng.uniform(0.01, 1.5)), 3)) if kind in ("LeakyReLU", "ELU") else (kind,)


def _trimmed(layers: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave out what follows the last linear layer: the loss says what a network ends in."""
    while layers[-1][0] != "Linear":
        layers = layers[:-1]
    return layers


def _ending(rng: np.random.Generator, loss: str, *, smooth: bool) -> list[tuple[Any, ...]]:
    """Return the layers that a network ends in, for predictions that the loss can take; with a convex one if smooth."""
    if loss == "bce":
        return [("Sigmoid",)]
    if loss == "cross_entropy_probabilities":
        return [("Softmax",)]
    if loss == "poisson":
        return [("Exp",)] if smooth or rng.random() < 0.5 else []
    if loss in ("bce_logits", "cross_entropy"):
        return []
    return [_activation(rng, str(rng.choice(PLAIN)))] if rng.random() < 0.4 else []


def _optimizer(rng: np.random.Generator, kind: str, *, plain: bool) -> tuple[str, dict[str, Any]]:
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
    if not plain and rng.random() < 0.2:
        settings["clip_norm"] = round(float(10 ** rng.uniform(-2, 0.5)), 4)
    if not plain and rng.random() < 0.2:
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
    if weight is not None and rng.random() < 0.5:
        weight[1:][rng.random(case.n_samples - 1) < 0.4] = 0.0
    rounded = [None if a is None else a if a.dtype.kind == "i" else a.astype(case.dtype) for a in (x, y, weight)]
    return rounded[0], rounded[1], rounded[2]


def formed(case: Case, x: Any) -> Any:
    """Return samples with the values of ``x``, given as the case says."""
    return {
        "plain": lambda: x,
        "fortran": lambda: np.asfortranarray(x),
        "strided": lambda: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
        "list": lambda: x.tolist(),
        "swapped": lambda: x.astype(x.dtype.newbyteorder()),
        "other precision": lambda: x.astype("float64"),
    }[case.form]()
