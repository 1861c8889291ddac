"""A network, its training and all that a refused resume must leave, for the tests of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn

RNG = np.random.default_rng(7)
X = RNG.normal(size=(24, 3))
Y = X[:, :1] * X[:, 1:2]
KINDS = ("Sequential", "Ensemble")


def network(rate: float = 0.1, seed: int | None = 0, columns: Any = X, activation: str = "tanh") -> tn.Sequential:
    layers = [tn.Normalize(3).adapt(columns), tn.Linear(3, 4), tn.Tanh() if activation == "tanh" else tn.ReLU()]
    return tn.Sequential(*layers, tn.Dropout(rate), tn.Linear(4, 1), dtype="float64", seed=seed, backend="numpy")


def made(kind: str, **settings: Any) -> Any:
    return network(**settings) if kind == "Sequential" else tn.Ensemble(network(**settings), 2)


def fit(model: Any, path: Path, epochs: int = 6, x: Any = X, y: Any = Y, **options: Any) -> Any:
    chosen: dict[str, Any] = {
        "optimizer": tn.Adam(0.01),
        "batch_size": 5,
        "callbacks": [tn.EarlyStopping("loss", patience=50), tn.Checkpoint(path, every=2)],
    }
    return model.fit(x, y, epochs=epochs, **chosen | options)


def held(model: Any) -> list[Any]:
    """All that a refused resume must leave as it was."""
    state = model.state
    arrays = [np.asarray(value).tobytes() for value in (state.parameters, state.moments, state.buffers, state.step)]
    generators = model.generators if isinstance(model, tn.Ensemble) else [model.rng]
    random = [str(rng.bit_generator.state) for rng in generators]
    return [arrays, np.asarray(state.draws).tobytes(), random, repr(model.loss), id(model.history), model._optimizer]
