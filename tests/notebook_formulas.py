"""The teaching notebook's formulas and exercises in plain NumPy, which know nothing of tinynet, and its own steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinynet import notebook

SEED = 3

N_SAMPLES = 1000


def sigmoid(z: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z))


class Formula(NamedTuple):
    value: Any
    derivative: Any


ACTIVATIONS = {
    "Sigmoid": Formula(sigmoid, lambda z: sigmoid(z) * (1.0 - sigmoid(z))),
    "ReLU": Formula(lambda z: np.maximum(z, 0.0), lambda z: (z > 0.0).astype(float)),
    "TanH": Formula(np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
}
LOSSES = {
    "MeanSquareError": Formula(lambda p, t: np.sum((p - t) ** 2), lambda p, t: 2.0 * len(t) * (p - t)),
    "AbsoluteError": Formula(lambda p, t: np.mean(np.abs(p - t)), lambda p, t: np.sign(p - t)),
    "BinaryCrossEntropy": Formula(
        lambda p, t: -np.sum(t * np.log(p) + (1.0 - t) * np.log(1.0 - p)) / len(t),
        lambda p, t: len(t) * (p - t) / (p * (1.0 - p)),
    ),
}


@dataclass(frozen=True)
class Exercise:
    widths: tuple[int, ...] = (4, 3)
    activation: str = "Sigmoid"
    loss: str = "MeanSquareError"
    batch: int = 1
    rate: float = 0.001
    shuffle: bool = False


def sines() -> tuple[Any, Any]:
    """The notebook's data: three sines of four uniform inputs."""
    x = np.random.default_rng(11).uniform(0.0, 6.0, (N_SAMPLES, 4))
    return x, np.sin(np.column_stack([x.sum(axis=1), 6.0 * x[:, 1], x[:, 1] + x[:, 3]]))


def step(layerStack: Any, batchInput: Any, batchOutput: Any, learningRate: float, loss: Any) -> Any:
    """Forward and backward through the whole stack, and one update of its linear layers."""
    *layers, criterion = layerStack.values()
    inputs = [batchInput]
    for layer in layers:
        inputs.append(layer.forward(inputs[-1]))
    loss += criterion.forward(inputs.pop(), batchOutput)
    grad = criterion.backward()
    for layer, x in zip(reversed(layers), reversed(inputs), strict=True):
        grad = layer.backward(x, grad) if isinstance(layer, notebook.Linear) else layer.backward(grad)
    for layer in layers[::2]:
        layer.weight -= layer.gradWeight * learningRate
        layer.bias -= layer.gradBias * learningRate
    return layerStack, loss


def stack(exercise: Exercise) -> notebook.SimpleModel:
    model = notebook.SimpleModel(step)
    for i, (n_in, n_out) in enumerate(zip(exercise.widths, exercise.widths[1:], strict=False), 1):
        model.add(notebook.Linear(n_in, n_out), f"linear_{i}")
        model.add(getattr(notebook, exercise.activation)(), f"activation_{i}")
    model.add(getattr(notebook, exercise.loss)(), "loss")
    return model


def linear_layers(model: notebook.SimpleModel) -> list[notebook.Linear]:
    return [layer for layer in model.layerStack.values() if isinstance(layer, notebook.Linear)]


def parameters_of(model: notebook.SimpleModel) -> list[Any]:
    return [array for layer in linear_layers(model) for array in layer.get_parameters()[0]]


ONES = np.ones((4, 2))
