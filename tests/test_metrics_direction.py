"""Whether more or less of a metric is better: tinynet knows it of its own, and asks for it of others."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_outputs import GUESSED, NUMBERS, RNG

import tinynet as tn
from tinynet.training.metrics import METRICS, direction

RISING = {"accuracy", "balanced_accuracy", "auc", "auc_weighted", "auc_ovo", "top_k", "r2"}
RISING |= {
    f"{n}{a}" for n, a in itertools.product(("precision", "recall", "f1"), ("", "_macro", "_micro", "_weighted"))
}


@pytest.mark.parametrize("name", [*sorted(METRICS), "loss", "top_5"])
def test_directions_of_tinynets_figures(name: str) -> None:
    wanted = "max" if name in RISING | {"top_5"} else "min"
    assert direction(name) == direction(f"val_{name}") == wanted
    assert direction(name, "min" if wanted == "max" else "max") != wanted


@pytest.mark.parametrize(
    "ask",
    [
        lambda: tn.EarlyStopping("val_profit"),
        lambda: tn.ReduceLROnPlateau("learning_rate"),
        lambda: tn.Checkpoint("x.npz", best_path="y.npz", monitor="profit"),
    ],
)
def test_an_unknown_direction_is_asked_for(ask: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"direction is known; got '.*'\. Pass mode='max' if higher is better"):
        ask()


def test_what_best_path_lacks_is_told_in_the_name_of_checkpoint(tmp_path: Any) -> None:
    net = tn.Sequential(tn.Linear(3, 3), backend="numpy")
    keep = tn.Checkpoint(tmp_path / "x.npz", best_path=tmp_path / "y.npz")
    before = net.flat_parameters()
    with pytest.raises(ValueError, match=r"^Checkpoint monitors 'val_loss'"):
        net.fit(GUESSED, NUMBERS, callbacks=keep)
    np.testing.assert_array_equal(net.flat_parameters(), before)


def profit(prediction: np.ndarray, target: np.ndarray) -> float:
    return -float(np.mean((prediction - target) ** 2))


X, Y = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 1))


def build() -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 1), seed=0, backend="numpy")


def test_the_best_of_an_ensemble_by_a_metric_of_the_users() -> None:
    models = tn.Ensemble(build(), 3)
    models.fit(X, Y, optimizer=tn.SGD([1e-6, 0.1, 1e-3]), epochs=4, metrics=profit, validation_split=0.25)
    with pytest.raises(ValueError, match="Pass mode='max'"):
        models.best(by="val_profit")
    scores = models.scores["val_profit"]
    assert models.best(by="val_profit", mode="max").scores["val_profit"][0] == scores.max()
    assert models.best(by="val_profit", mode="min").scores["val_profit"][0] == scores.min()
    assert models.best(by="val_profit", mode="max").seeds == models.best().seeds


def test_the_best_of_a_sweep_by_a_metric_of_the_users(tmp_path: Any) -> None:
    options: dict[str, Any] = {"epochs": 4, "seeds": 2, "metrics": [profit, "mae"], "validation_split": 0.25}
    space = {"learning_rate": [1e-6, 0.1]}
    with pytest.raises(ValueError, match="Pass mode='max'"):
        tn.sweep(build, space, X, Y, by="val_profit", folder=tmp_path / "never", **options)
    assert not (tmp_path / "never").exists()
    made = tn.sweep(build, space, X, Y, by="val_profit", mode="max", optimizer="sgd", folder=tmp_path / "s", **options)
    loaded = tn.SweepResult.load(tmp_path / "s", by="val_profit", mode="max")
    for result in (made, loaded):
        assert result.mode == "max"
        assert result.best_settings == {"learning_rate": 0.1}
        assert result.summary()["setting"].tolist() == [1, 0]
        assert result.summary(mode="min")["setting"].tolist() == [0, 1]
        assert result.summary("val_mae")["setting"].tolist() == [1, 0]
        assert result.best_run() == result.best_run("val_loss")
        assert result.best_run("val_profit", "min") != result.best_run()
    with pytest.raises(ValueError, match="Pass mode='max'"):
        tn.SweepResult.load(tmp_path / "s").summary("val_profit")
