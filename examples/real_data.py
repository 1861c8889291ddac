"""tinynet beside scikit-learn's MLP on the data sets that come with scikit-learn.

Both get the same network, the same optimizer and the same splits; what is printed is the mean score of three splits on
the quarter of the data that was held out (accuracy, or R2 for diabetes) and the seconds of one training.

    python examples/real_data.py
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

import tinynet as tn

HIDDEN, BATCH_SIZE, RATE = 64, 32, 0.001
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Problem:
    """A data set, and how long to train on it."""

    name: str
    load: Any
    epochs: int
    is_regression: bool = False


PROBLEMS = (
    Problem("digits", load_digits, 40),
    Problem("wine", load_wine, 60),
    Problem("breast_cancer", load_breast_cancer, 40),
    Problem("diabetes", load_diabetes, 60, is_regression=True),
)


@dataclass(frozen=True)
class Result:
    """Mean scores of both libraries on held-out data, and the seconds of their quickest training."""

    name: str
    tinynet: float
    sklearn: float
    tinynet_seconds: float
    sklearn_seconds: float


def split(problem: Problem, seed: int) -> list[np.ndarray]:
    """Return x and y to train on, and x and y to test on; targets that are numbers are standardised."""
    x, y = problem.load(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, random_state=seed, stratify=None if problem.is_regression else y)
    if problem.is_regression:
        mean, scale = y.mean(), y.std()
        y, y_test = (y - mean) / scale, (y_test - mean) / scale
    return [x, y, x_test, y_test]


def score_tinynet(problem: Problem, seed: int, backend: str | None = None) -> tuple[float, float]:
    """Return the score on the test set and the seconds of the training."""
    x, y, x_test, y_test = split(problem, seed)
    n_out = 1 if problem.is_regression else int(y.max()) + 1
    net = tn.Sequential(
        tn.Normalize(x.shape[1]).adapt(x),
        tn.Linear(x.shape[1], HIDDEN),
        tn.ReLU(),
        tn.Linear(HIDDEN, n_out),
        seed=seed,
        backend=backend,
    )
    loss, metric = ("mse", "r2") if problem.is_regression else ("cross_entropy", "accuracy")
    started = time.perf_counter()
    net.fit(x, y, loss=loss, optimizer=tn.Adam(RATE), epochs=problem.epochs, batch_size=BATCH_SIZE)
    seconds = time.perf_counter() - started
    return net.evaluate(x_test, y_test, metrics=metric)[metric], seconds


def score_sklearn(problem: Problem, seed: int) -> tuple[float, float]:
    """Return the score on the test set and the seconds of the training."""
    x, y, x_test, y_test = split(problem, seed)
    scaler = StandardScaler().fit(x)
    model = (MLPRegressor if problem.is_regression else MLPClassifier)(
        hidden_layer_sizes=(HIDDEN,),
        alpha=0.0,
        batch_size=BATCH_SIZE,
        learning_rate_init=RATE,
        max_iter=problem.epochs,
        n_iter_no_change=problem.epochs,
        random_state=seed,
    )
    started = time.perf_counter()
    with warnings.catch_warnings():
        # The number of epochs is given, as it is for tinynet: that it was reached is no surprise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(x), y)
    seconds = time.perf_counter() - started
    return float(model.score(scaler.transform(x_test), y_test)), seconds


def compare(problem: Problem) -> Result:
    """Train both libraries on every split."""
    ours = [score_tinynet(problem, seed) for seed in SEEDS]
    theirs = [score_sklearn(problem, seed) for seed in SEEDS]
    (score, seconds), (sklearn_score, sklearn_seconds) = (
        (float(np.mean([s for s, _ in runs])), min(t for _, t in runs)) for runs in (ours, theirs)
    )
    return Result(problem.name, score, sklearn_score, seconds, sklearn_seconds)


def main() -> None:
    print(f"{'':<14}{'score':>18}{'seconds':>22}")
    print(f"{'data set':<14}{'tinynet':>9}{'sklearn':>9}{'tinynet':>11}{'sklearn':>11}")
    for problem in PROBLEMS:
        r = compare(problem)
        print(f"{r.name:<14}{r.tinynet:9.3f}{r.sklearn:9.3f}{r.tinynet_seconds:11.3f}{r.sklearn_seconds:11.3f}")


if __name__ == "__main__":
    main()
