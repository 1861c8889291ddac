"""scikit-learn's multilayer perceptron: an epoch is one ``partial_fit`` in the common order of the samples.

``fit`` does the same per epoch, but draws an order of its own, and then the losses could not be compared.
"""

from __future__ import annotations

import warnings
from typing import Any

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.problem import Problem, split

ACTIVATIONS = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def _rate(problem: Problem, base: float | None = None) -> float:
    """Return scikit-learn's learning rate for the same step: it halves squares, and divides by the samples only."""
    workload = problem.workload
    factors = {"cross_entropy": 1.0, "mean_squares": 2.0 / workload.sizes[-1], "sum_squares": 2.0 * workload.rows}
    # Adam's steps do not depend on the scale of the gradient, but for its epsilon.
    rate = workload.learning_rate if base is None else base
    return rate * (1.0 if workload.optimizer == "adam" else factors[workload.loss])


def estimator(problem: Problem, model_number: int | None = None) -> Any:
    """Return a fitted estimator that holds the initial weights, or those of one of many models."""
    workload = problem.workload
    kind = MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
    model = kind(
        hidden_layer_sizes=workload.sizes[1:-1],
        activation=ACTIVATIONS[workload.hidden],
        solver=workload.optimizer,
        alpha=0.0,
        batch_size=workload.rows,
        learning_rate_init=_rate(problem, None if model_number is None else float(problem.rates[model_number])),
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    first = slice(0, max(workload.rows, 2 if workload.task == "predict" else 1))
    classes = {"classes": np.arange(workload.sizes[-1])} if kind is MLPClassifier else {}
    with warnings.catch_warnings():
        # The batch size may exceed these few samples; all that is wanted of them is that the arrays are made.
        warnings.simplefilter("ignore", UserWarning)
        model.partial_fit(problem.x[first], problem.y[first], **classes)
    parameters = problem.parameters if model_number is None else problem.parameters[model_number]
    layers = split(parameters.copy(), workload.sizes)
    model.coefs_, model.intercepts_ = [w for w, _ in layers], [b for _, b in layers]
    return model


class Train:
    """``partial_fit``, one call for each epoch."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        self.reset()

    def reset(self) -> None:
        """Take the initial weights and a fresh optimizer."""
        self.model = estimator(self.problem)
        self.model._optimizer = self._fresh_optimizer()
        self.model.t_ = 0

    def _fresh_optimizer(self) -> Any:
        """Return the optimizer of a model that has made no step; scikit-learn has no public way to reset it."""
        from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

        parameters = self.model.coefs_ + self.model.intercepts_
        if self.problem.workload.optimizer == "adam":
            return AdamOptimizer(parameters, _rate(self.problem))
        return SGDOptimizer(parameters, _rate(self.problem), momentum=0.0, nesterov=False)

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        problem, fit = self.problem, self.model.partial_fit
        visited = problem.workload.n_visits
        if problem.workload.shuffle:
            for order in problem.orders(n):
                fit(problem.x[order], problem.y[order])
        else:
            for _ in range(n):
                fit(problem.x[:visited], problem.y[:visited])

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        return _flat(self.model)

    def about(self) -> str:
        """Tell the version."""
        return f"scikit-learn {sklearn.__version__}"


class TrainMany:
    """A loop over estimators by joblib, as many at a time as there are threads."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem, self.threads = problem, threads

    def reset(self) -> None:
        """Make the estimators with their initial weights, and optimizers that have made no step."""
        from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

        self.models = [estimator(self.problem, i) for i in range(self.problem.workload.n_models)]
        for model in self.models:
            parameters = model.coefs_ + model.intercepts_
            model._optimizer = SGDOptimizer(parameters, model.learning_rate_init, momentum=0.0, nesterov=False)
            model.t_ = 0

    def run(self, n: int) -> None:
        """Train all for ``n`` epochs."""
        x, y = self.problem.x, self.problem.y
        self.models = joblib.Parallel(n_jobs=self.threads)(
            joblib.delayed(_trained)(model, x, y, n) for model in self.models
        )

    def result(self) -> NDArray[Any]:
        """Return the trained parameters, (n_models, n_parameters)."""
        return np.stack([_flat(model) for model in self.models])

    def about(self) -> str:
        """Tell the versions."""
        return f"scikit-learn {sklearn.__version__}, joblib {joblib.__version__}"


def _trained(model: Any, x: NDArray[Any], y: NDArray[Any], n: int) -> Any:
    for _ in range(n):
        model.partial_fit(x, y)
    return model


def _flat(model: Any) -> NDArray[Any]:
    return np.concatenate([part.ravel() for pair in zip(model.coefs_, model.intercepts_, strict=True) for part in pair])


class Predict:
    """``predict`` of one sample."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.model, self.x = estimator(problem), problem.x[:1]

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Predict ``n`` times."""
        predict, x = self.model.predict, self.x
        for _ in range(n):
            self.out = predict(x)

    def result(self) -> NDArray[Any]:
        """Return the last prediction."""
        return np.asarray(self.out).reshape(1, -1)

    about = Train.about
