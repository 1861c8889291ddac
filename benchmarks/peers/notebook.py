# ruff: noqa: D102 - the methods are the notebook's.
"""The teaching notebook that tinynet grew from: its NumPy code, in Python 3 and with nothing changed but the prints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem, split


class Sigmoid:
    """The notebook's."""

    def forward(self, x):
        self.current_sigma = 1 / (1 + np.exp(-x))
        return self.current_sigma

    def backward(self, gradOutput):
        return np.multiply(np.multiply(self.current_sigma, 1 - self.current_sigma), gradOutput)


class Linear:
    """The notebook's, with given weights."""

    def __init__(self, weight, bias):
        self.weight = weight
        self.bias = bias

    def forward(self, x):
        return np.dot(x, self.weight) + self.bias

    def backward(self, x, gradOutput):
        self.gradWeight = np.dot(x.T, gradOutput)
        self.gradBias = np.dot(np.ones((1, gradOutput.shape[0])), gradOutput)
        return np.dot(gradOutput, self.weight.T)


class MeanSquareError:
    """The notebook's: the gradient carries a factor of the batch size."""

    def forward(self, predictions, labels):
        self.current_preds = predictions
        self.current_labels = labels
        return np.sum(np.square(predictions - labels))

    def backward(self):
        return 2 * len(self.current_labels) * (self.current_preds - self.current_labels)


class Train:
    """The notebook's training functions for one and for two layers."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        # The notebook's gradient is the true one times the batch size.
        self.learning_rate = problem.workload.learning_rate / problem.workload.rows

    def reset(self) -> None:
        """Take the initial weights."""
        layers = split(self.problem.parameters.copy(), self.problem.workload.sizes)
        self.linears = [Linear(w, b.reshape(1, -1)) for w, b in layers]
        self.sigmoids = [Sigmoid() for _ in layers]
        self.mse = MeanSquareError()

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        x, y, size = self.problem.x, self.problem.y, self.problem.workload.rows
        train = self._one if len(self.linears) == 1 else self._two
        for _ in range(n):
            self.loss = 0.0
            for iteration in range(len(x) // size):
                rows = slice(iteration * size, (1 + iteration) * size)
                self.loss += train(x[rows], y[rows])

    def _one(self, x: NDArray[Any], y: NDArray[Any]) -> Any:
        (linear,), (sigmoid,), mse = self.linears, self.sigmoids, self.mse
        loss = mse.forward(sigmoid.forward(linear.forward(x)), y)
        linear.backward(x, sigmoid.backward(mse.backward()))
        linear.weight -= linear.gradWeight * self.learning_rate
        linear.bias -= linear.gradBias * self.learning_rate
        return loss

    def _two(self, x: NDArray[Any], y: NDArray[Any]) -> Any:
        (linear_1, linear_2), (sigmoid_1, sigmoid_2), mse = self.linears, self.sigmoids, self.mse
        hidden = sigmoid_1.forward(linear_1.forward(x))
        loss = mse.forward(sigmoid_2.forward(linear_2.forward(hidden)), y)
        gradient = linear_2.backward(hidden, sigmoid_2.backward(mse.backward()))
        linear_1.backward(x, sigmoid_1.backward(gradient))
        for linear in (linear_2, linear_1):
            linear.weight -= linear.gradWeight * self.learning_rate
            linear.bias -= linear.gradBias * self.learning_rate
        return loss

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        return np.concatenate([part.ravel() for linear in self.linears for part in (linear.weight, linear.bias)])

    def about(self) -> str:
        """Tell the version."""
        return f"numpy {np.__version__}"
