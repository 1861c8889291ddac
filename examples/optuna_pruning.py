"""A search with Optuna for width, activation and learning rate, which ends hopeless trainings early.

    pip install optuna
    python examples/optuna_pruning.py

Each trial trains one network on the sine problem, and reports its validation loss after every epoch
(``tn.OptunaPruning``). A trial whose loss is above the median of the earlier ones at the same epoch is pruned.
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna

import tinynet as tn
from tinynet.datasets import sine

ACTIVATIONS = {"tanh": tn.Tanh, "relu": tn.ReLU, "silu": tn.SiLU}


def build(trial: Any, n_in: int, n_out: int) -> tn.Sequential:
    """Return the network that a trial proposes."""
    width = trial.suggest_int("width", 4, 64, log=True)
    activation = ACTIVATIONS[trial.suggest_categorical("activation", sorted(ACTIVATIONS))]
    layers: list[tn.Layer] = []
    for _ in range(trial.suggest_int("n_hidden", 1, 3)):
        layers += [tn.Linear(n_in, width), activation()]
        n_in = width
    return tn.Sequential(*layers, tn.Linear(n_in, n_out), seed=0)


def search(n_trials: int, epochs: int, n_samples: int = 1000) -> optuna.Study:
    """Run the search; return the study."""
    data = sine(n_samples, seed=0)

    def objective(trial: Any) -> float:
        net = build(trial, data.x.shape[1], data.y.shape[1])
        history = net.fit(
            data.x,
            data.y,
            optimizer=tn.Adam(trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)),
            epochs=epochs,
            validation_split=0.2,
            callbacks=[tn.OptunaPruning(trial, monitor="val_loss")],
        )
        return min(history["val_loss"])

    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=epochs // 10)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner)
    # A learning rate that is too high is a bad trial, not the end of the search.
    study.optimize(objective, n_trials=n_trials, catch=tn.DivergenceError)
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = search(args.trials, args.epochs)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    print(f"{len(study.trials)} trials, {pruned} of them pruned")
    print(f"lowest validation loss {study.best_value:.5f}, with {study.best_params}")


if __name__ == "__main__":
    main()
