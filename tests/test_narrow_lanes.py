"""Few models take narrower registers, which have no lanes to spare; the models are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn


@pytest.mark.parametrize("width", [4, 30], ids=["unrolled", "looped"])
def test_few_models_have_the_bits_of_the_first_of_many(width: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "loss": "cross_entropy", "shuffle": False}
    found = []
    for n_models in (2, 9):
        layers = (tn.Linear(3, width), tn.Tanh(), tn.Dropout(0.1), tn.Linear(width, 2))
        models = tn.Ensemble(tn.Sequential(*layers, seed=0), n_models)
        models.fit(x, y, **options, optimizer=tn.Adam(clip_norm=1.0))
        found.append((models.predict(x)[:2].tobytes(), [model.flat_parameters().tobytes() for model in models][:2]))
    assert found[0] == found[1]
