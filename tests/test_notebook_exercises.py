"""tinynet.notebook against the notebook's exercises, transcribed to plain NumPy, and the native calls beside them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from notebook_formulas import (
    ACTIVATIONS,
    LOSSES,
    N_SAMPLES,
    SEED,
    Exercise,
    linear_layers,
    parameters_of,
    sines,
    stack,
    step,
)

import tinynet as tn
from tinynet import notebook

EPOCHS = 10


@pytest.fixture(autouse=True)
def _on_every_backend(backend: str) -> Iterator[None]:
    with tn.use_backend(backend):
        yield


# -- the oracle: formulas and a training loop that know nothing of tinynet ---------------------------------------------

EXERCISES = {
    "one layer": Exercise(),
    "two layers": Exercise(widths=(4, 5, 3), rate=0.01),
    "ReLU": Exercise(activation="ReLU"),
    "TanH": Exercise(activation="TanH"),
    "absolute error": Exercise(widths=(4, 5, 3), loss="AbsoluteError", batch=10),
    "two layers in batches": Exercise(widths=(4, 5, 3), batch=10),
    "one layer in batches": Exercise(batch=10),
    "samples at random": Exercise(shuffle=True),
    "batches at random": Exercise(batch=10, shuffle=True),
    "binary cross-entropy": Exercise(widths=(4, 5, 3), loss="BinaryCrossEntropy", batch=10),
    "batches that do not fit": Exercise(batch=7),
}


def data_for(exercise: Exercise) -> tuple[Any, Any]:
    x, y = sines()
    return x, (y > 0.0).astype(float) if exercise.loss == "BinaryCrossEntropy" else y


def formula_gradients(parameters: list[Any], exercise: Exercise, x: Any, y: Any) -> tuple[float, list[Any]]:
    """The loss of a batch and its gradient with respect to w, b, w, b, ..."""
    activation, loss = ACTIVATIONS[exercise.activation], LOSSES[exercise.loss]
    inputs, outputs = [], [x]
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        inputs.append(outputs[-1] @ w + b)
        outputs.append(activation.value(inputs[-1]))
    delta, gradients = loss.derivative(outputs[-1], y), []
    for i in reversed(range(len(inputs))):
        delta = delta * activation.derivative(inputs[i])
        gradients[:0] = [outputs[i].T @ delta, delta.sum(axis=0, keepdims=True)]
        delta = delta @ parameters[2 * i].T
    return float(loss.value(outputs[-1], y)), gradients


@cache
def formula_run(name: str) -> tuple[list[Any], list[float]]:
    """Parameters after training, and the losses that would be printed."""
    exercise = EXERCISES[name]
    x, y = data_for(exercise)
    np.random.seed(SEED)
    parameters = []
    for n_in, n_out in zip(exercise.widths, exercise.widths[1:], strict=False):
        parameters += [0.01 * np.random.randn(n_in, n_out), 0.01 * np.random.randn(1, n_out)]
    losses = []
    for _ in range(EPOCHS):
        total, visits = 0.0, 0
        while visits + exercise.batch <= N_SAMPLES:
            rows = np.arange(visits, visits + exercise.batch)
            if exercise.shuffle:
                rows = np.random.choice(range(N_SAMPLES), exercise.batch)
            value, gradients = formula_gradients(parameters, exercise, x[rows], y[rows])
            parameters = [p - exercise.rate * g for p, g in zip(parameters, gradients, strict=True)]
            total, visits = total + value, visits + exercise.batch
        losses.append(total / visits)
    return parameters, losses


# -- the same through tinynet.notebook ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_ends_in_the_weights_and_prints_the_losses_of_its_formulas(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, losses = formula_run(name)
    exercise = EXERCISES[name]
    np.random.seed(SEED)
    model = stack(exercise)
    capsys.readouterr()
    x, y = data_for(exercise)
    model.run(x, y, exercise.batch, EPOCHS, exercise.rate, True, 1, exercise.shuffle)
    for array, formula in zip(parameters_of(model), expected, strict=True):
        np.testing.assert_allclose(array, formula, rtol=0, atol=1e-12)
    printed = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[1:]]
    np.testing.assert_allclose(printed, losses, rtol=1e-12)
    assert model.epochLosses == printed


CHECKS = {
    "one layer, one sample": ("one layer", 1),
    "two layers, one sample": ("two layers", 1),
    "ReLU": ("ReLU", 1),
    "TanH": ("TanH", 1),
    "two layers, the whole batch": ("two layers in batches", N_SAMPLES),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_weight_check_passes(check: str) -> None:
    name, n_samples = CHECKS[check]
    exercise = EXERCISES[name]
    x, y = (part[:n_samples] for part in sines())
    np.random.seed(SEED)
    model = stack(exercise)
    step(model.layerStack, x, y, 0.0, 0.0)
    parameters, value = parameters_of(model), LOSSES[exercise.loss].value
    gradients = [g for layer in linear_layers(model) for g in layer.get_parameters()[1]]
    for array, gradient in zip(parameters, gradients, strict=True):
        numeric = np.empty_like(array)
        for index in np.ndindex(array.shape):
            ends = []
            for shift in (1e-5, -2e-5):
                array[index] += shift
                out = x
                for w, b in zip(parameters[::2], parameters[1::2], strict=True):
                    out = ACTIVATIONS[exercise.activation].value(out @ w + b)
                ends.append(value(out, y))
            array[index] += 1e-5
            numeric[index] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient / n_samples, numeric, rtol=1e-6, atol=1e-7 * np.abs(numeric).max())


def test_a_forward_difference_over_a_reassigned_layer_approximates_the_gradient() -> None:
    x, y = np.array([[2.34, 3.8, 34.44, 5.33]]), np.array([[3.2, 4.2, 5.3]])
    np.random.seed(SEED)
    linear, shifted = notebook.Linear(4, 3), notebook.Linear(4, 3)
    activation, loss = notebook.Sigmoid(), notebook.MeanSquareError()
    before = loss.forward(activation.forward(linear.forward(x)), y)
    linear.backward(x, activation.backward(loss.backward()))
    approximate = np.zeros_like(linear.weight)
    for index in np.ndindex(4, 3):
        weight = np.copy(linear.weight)
        weight[index] += 1e-4
        shifted.weight, shifted.bias = weight, linear.bias
        approximate[index] = (loss.forward(activation.forward(shifted.forward(x)), y) - before) / 1e-4
    np.testing.assert_allclose(approximate, linear.gradWeight, rtol=5e-3)


def test_the_error_of_the_printed_example_is_1_6271() -> None:
    predictions = np.tile([0.23, 0.25, 0.33], (4, 1))
    labels = np.repeat([[0.25], [0.33], [0.77], [0.80]], 3, axis=1)
    assert notebook.MeanSquareError().forward(predictions, labels) == pytest.approx(1.6271, abs=1e-12)


# -- the native calls that the docstring names -------------------------------------------------------------------------


def native(exercise: Exercise, backend: str) -> tuple[tn.Sequential, notebook.SimpleModel]:
    """A native network and a notebook model with the same weights."""
    np.random.seed(SEED)
    model = stack(exercise)
    layers: list[tn.Layer] = []
    for n_in, n_out in zip(exercise.widths, exercise.widths[1:], strict=False):
        layers += [tn.Linear(n_in, n_out), tn.Sigmoid()]
    net = tn.Sequential(*layers, dtype="float64", backend=backend)
    net.set_weights([a.reshape(w.shape) for a, w in zip(parameters_of(model), net.get_weights(), strict=True)])
    return net, model


def test_a_native_fit_makes_the_same_steps(backend: str) -> None:
    exercise = Exercise(widths=(4, 5, 3), batch=7, rate=0.001)
    net, model = native(exercise, backend)
    x, y = sines()
    model.run(x, y, batchSize=7, epochs=5, learningRate=0.001)
    loss, optimizer = tn.MeanSquaredError(reduction="sum"), tn.SGD(7 * 0.001)
    history = net.fit(x, y, loss=loss, optimizer=optimizer, batch_size=7, epochs=5, shuffle=False, drop_last=True)
    for got, expected in zip(net.get_weights(), parameters_of(model), strict=True):
        np.testing.assert_allclose(got, expected.reshape(got.shape), rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.array(history["loss"]) / (N_SAMPLES // 7 * 7), model.epochLosses, rtol=1e-12)
