"""The example of a search with Optuna prunes, and finds something."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import optuna

ROOT = Path(__file__).resolve().parent.parent


def test_the_search_prunes_and_finds_a_network(monkeypatch) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")  # Every width would be compiled on its own.
    spec = importlib.util.spec_from_file_location("optuna_pruning", ROOT / "examples" / "optuna_pruning.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = example.search(n_trials=12, epochs=12, n_samples=200)
    states = [trial.state for trial in study.trials]
    assert states.count(optuna.trial.TrialState.PRUNED) >= 1
    assert states.count(optuna.trial.TrialState.COMPLETE) >= 4
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert all(len(trial.intermediate_values) < 12 for trial in pruned)
    assert study.best_value < 1.0
