"""scikit-learn's estimators and tinynet's in their place: whole fits, and searches, as a user writes them."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.problem import SEED, Problem

GRID = {"mlpclassifier__alpha": [1e-4, 1e-2, 1.0], "mlpclassifier__hidden_layer_sizes": [(5,), (10,), (20,)]}


class _Runs:
    """What the two sides share: an estimator with the workload's settings, each time a new one."""

    module: str
    """Where the estimator comes from: the one line that a user changes."""

    def __init__(self, problem: Problem, threads: int, backend: str | None = None) -> None:
        workload = problem.workload
        self.problem, self.threads = problem, threads
        self.classifier = importlib.import_module(self.module).MLPClassifier
        self.settings: dict[str, Any] = {
            "hidden_layer_sizes": workload.sizes[1:-1],
            "solver": workload.optimizer,
            "learning_rate_init": workload.learning_rate,
            "batch_size": workload.batch_size or "auto",
            "max_iter": workload.n_iterations,
            "random_state": SEED,
        }
        if backend is not None:
            self.settings["backend"] = backend

    def reset(self) -> None:
        """Do nothing: every run makes its own estimators."""

    def run(self, n: int) -> None:
        """Make ``n`` fits or searches."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
            for _ in range(n):
                self.once()

    def once(self) -> None:
        """Make one."""
        raise NotImplementedError

    def about(self) -> str:
        """Tell the versions."""
        return f"{self.module}, scikit-learn {sklearn.__version__}"


class _Fit(_Runs):
    """``MLPClassifier(...).fit(x, y)``."""

    def once(self) -> None:
        """Make one fit."""
        self.model = self.classifier(**self.settings).fit(self.problem.x, self.problem.y)

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return np.concatenate([part.ravel() for pair in pairs for part in pair])


class _Grid(_Runs):
    """``GridSearchCV`` over a pipeline that standardises: nine settings, three folds, and the best once more."""

    def once(self) -> None:
        """Make one search."""
        pipeline = make_pipeline(StandardScaler(), self.classifier(**self.settings))
        search = GridSearchCV(pipeline, GRID, cv=3, scoring="neg_log_loss", n_jobs=self.threads)
        self.losses = -search.fit(self.problem.x, self.problem.y).cv_results_["mean_test_score"]

    def result(self) -> NDArray[Any]:
        """Return the loss of each setting on what it was not trained with."""
        return np.asarray(self.losses)


class OurFit(_Fit):
    """tinynet's estimator."""

    module = "tinynet.estimators"


class TheirFit(_Fit):
    """scikit-learn's estimator."""

    module = "sklearn.neural_network"


class OurGrid(_Grid):
    """tinynet's estimator."""

    module = "tinynet.estimators"


class TheirGrid(_Grid):
    """scikit-learn's estimator."""

    module = "sklearn.neural_network"
