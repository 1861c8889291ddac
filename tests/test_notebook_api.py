"""tinynet.notebook against the notebook's formulas, transcribed to plain NumPy: every exercise, on every backend."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinynet as tn
from tinynet import notebook

SEED = 3
EPOCHS = 10
N_SAMPLES = 1000


@pytest.fixture(autouse=True)
def _on_every_backend(backend: str) -> Iterator[None]:
    with tn.use_backend(backend):
        yield


# -- the oracle: formulas and a training loop that know nothing of tinynet ---------------------------------------------


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


def sines() -> tuple[Any, Any]:
    """The notebook's data: three sines of four uniform inputs."""
    x = np.random.default_rng(11).uniform(0.0, 6.0, (N_SAMPLES, 4))
    return x, np.sin(np.column_stack([x.sum(axis=1), 6.0 * x[:, 1], x[:, 1] + x[:, 3]]))


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


# -- layers and losses, one by one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_keeps_the_shape_and_computes_its_formula(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=shape) * 3.0, rng.normal(size=shape)
    layer, formula = getattr(notebook, name)(), ACTIVATIONS[name]
    np.testing.assert_allclose(layer.forward(x), formula.value(x), rtol=1e-14, strict=True)
    np.testing.assert_allclose(layer.backward(grad), formula.derivative(x) * grad, rtol=1e-12, atol=1e-15, strict=True)
    np.testing.assert_allclose(layer.backward(1.0), formula.derivative(x), rtol=1e-12, atol=1e-15, strict=True)


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 3), (7, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_computes_its_formula(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    predictions, labels = rng.uniform(0.05, 0.95, shape), rng.integers(0, 2, shape)
    loss, formula = getattr(notebook, name)(), LOSSES[name]
    assert loss.forward(predictions, labels) == pytest.approx(formula.value(predictions, labels), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), formula.derivative(predictions, labels), rtol=1e-12, strict=True)


def test_the_square_error_differentiates_other_arrays_than_the_last_if_they_are_given() -> None:
    loss = notebook.MeanSquareError()
    loss.forward([[9.0]], [[9.0]])
    np.testing.assert_array_equal(loss.backward([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]), [[4, 8], [12, 16]])
    np.testing.assert_array_equal(loss.backward(), [[0.0]])
    np.testing.assert_array_equal(loss.backward(np.zeros((1, 1)), np.ones((1, 1))), [[-2.0]])


def test_the_derivative_of_the_absolute_error_is_zero_where_predictions_are_right() -> None:
    loss = notebook.AbsoluteError()
    loss.forward([[1.0, 2.0, 3.0]], [[2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(loss.backward(), [[-1.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("name", "expected"), [("Sigmoid", [0.0, 0.5, 1.0]), ("TanH", [-1.0, 0.0, 1.0]), ("ReLU", [0.0, 0.0, 1e4])]
)
def test_an_activation_is_exact_where_the_exponential_overflows(name: str, expected: list[float]) -> None:
    layer = getattr(notebook, name)()
    np.testing.assert_array_equal(layer.forward([[-1e4, 0.0, 1e4]]), [expected])
    assert np.isfinite(layer.backward(np.ones((1, 3)))).all()


def test_cross_entropy_of_certain_predictions_is_finite() -> None:
    loss = notebook.BinaryCrossEntropy()
    assert loss.forward([[0.0], [1.0]], [[0], [1]]) == 0.0
    np.testing.assert_array_equal(np.abs(loss.backward()), [[2.0], [2.0]])
    assert loss.forward([[0.0]], [[1]]) == 100.0
    assert np.isfinite(loss.backward()).all()


def test_numbers_that_are_not_finite_flow_through() -> None:
    linear, loss = notebook.Linear(2, 1), notebook.MeanSquareError()
    out = notebook.TanH().forward(linear.forward([[np.nan, 1.0]]))
    assert np.isnan(out).all()
    assert np.isnan(loss.forward(out, [[1.0]]))


def test_weights_are_drawn_from_the_global_generator_weight_first() -> None:
    np.random.seed(5)
    weight, bias = np.random.randn(4, 3) * 0.5, np.random.randn(1, 3) * 0.5
    np.random.seed(5)
    linear = notebook.Linear(4, 3, 0.5)
    np.testing.assert_array_equal(linear.weight, weight, strict=True)
    np.testing.assert_array_equal(linear.bias, bias, strict=True)
    np.testing.assert_array_equal(linear.gradWeight, np.zeros((4, 3)), strict=True)
    np.testing.assert_array_equal(linear.gradBias, np.zeros((1, 3)), strict=True)


def test_the_parameters_are_the_arrays_themselves() -> None:
    linear = notebook.Linear(2, 2)
    (weight, bias), (grad_weight, grad_bias) = linear.get_parameters()
    assert weight is linear.weight
    assert bias is linear.bias
    assert grad_weight is linear.gradWeight
    assert grad_bias is linear.gradBias


FORMS = {
    "list": lambda a: a.tolist(),
    "int": lambda a: a.astype(int),
    "float32": lambda a: a.astype(np.float32),
    "bool": lambda a: a.astype(bool),
    "Fortran order": np.asfortranarray,
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_form_become_plain_float64(form: str) -> None:
    x, y = np.eye(4)[:, :3], np.eye(4)[:, 1:3]
    model = stack(Exercise(widths=(3, 2)))
    np.random.seed(SEED)
    reference = stack(Exercise(widths=(3, 2)))
    model.layerStack["linear_1"].weight = reference.layerStack["linear_1"].weight.copy()
    model.layerStack["linear_1"].bias = reference.layerStack["linear_1"].bias.copy()
    model.run(FORMS[form](x), FORMS[form](y), 2, 2)
    reference.run(x, y, 2, 2)
    for got, expected in zip(parameters_of(model), parameters_of(reference), strict=True):
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_results_are_float64_whatever_comes_in(dtype: str) -> None:
    x = np.eye(2, dtype=dtype)
    linear, activation, loss = notebook.Linear(2, 2), notebook.Sigmoid(), notebook.MeanSquareError()
    loss.forward(x, x)
    results = [linear.forward(x), linear.backward(x, x), linear.gradWeight, linear.gradBias]
    results += [activation.forward(x), activation.backward(x), loss.backward()]
    assert {result.dtype for result in results} == {np.dtype(np.float64)}


@pytest.mark.parametrize("bias", [0.5, [0.5, 0.5], [[0.5, 0.5]]], ids=["number", "row", "matrix"])
def test_a_bias_of_any_sensible_shape_may_be_assigned(bias: Any) -> None:
    linear = notebook.Linear(1, 2)
    linear.weight, linear.bias = [[1.0, 2.0]], bias
    np.testing.assert_array_equal(linear.forward([[1.0]]), [[1.5, 2.5]])
    np.testing.assert_array_equal(linear.backward([[1.0]], [[1.0, 1.0]]), [[3.0]])
    assert linear.gradBias.shape == (1, 2)


def test_results_are_never_overwritten() -> None:
    linear, activation = notebook.Linear(2, 2), notebook.Sigmoid()
    first, ones = linear.forward(np.ones((3, 2))), np.ones((3, 2))
    kept = first.copy()
    activated = activation.forward(first)
    kept_activated = activated.copy()
    linear.backward(ones, ones)
    gradient = linear.gradWeight
    kept_gradient = gradient.copy()
    activation.forward(linear.forward(-ones))
    linear.backward(-ones, ones)
    for now, before in ((first, kept), (activated, kept_activated), (gradient, kept_gradient)):
        np.testing.assert_array_equal(now, before)


# -- SimpleModel -------------------------------------------------------------------------------------------------------


def count(layerStack: Any, batchInput: Any, batchOutput: Any, learningRate: Any, loss: Any) -> Any:
    layerStack.setdefault("batches", []).append(batchInput[:, 0].tolist())
    return layerStack, loss + 6.0


def test_a_run_prints_what_the_notebook_printed(capsys: pytest.CaptureFixture[str]) -> None:
    model = notebook.SimpleModel(count)
    model.add(notebook.Sigmoid(), "sigmoid")
    model.run(np.ones((4, 1)), np.ones((4, 1)), epochs=3, printStep=2)
    model.run(np.ones((4, 1)), np.ones((4, 1)), batchSize=2, epochs=1)
    model.run(np.ones((4, 1)), np.ones((4, 1)), verbose=False)
    assert capsys.readouterr().out.splitlines() == [
        "Creating PyDeepTensorNet Model",
        "sigmoid Added",
        "Running  Stochastic Gradient Descent on 4 samples",
        "Epoch  0 loss:  6.0",
        "Epoch  2 loss:  6.0",
        "Running Mini-batch Stochastic Gradient Descent on 4 samples",
        "Epoch  0 loss:  3.0",
    ]
    assert len(model.epochLosses) == 30


def test_no_epochs_change_nothing() -> None:
    model = notebook.SimpleModel(count)
    model.run(np.ones((4, 1)), np.ones((4, 1)), epochs=0)
    assert model.layerStack == {}
    assert model.epochLosses == []


def test_an_incomplete_batch_is_dropped() -> None:
    model = notebook.SimpleModel(count)
    model.run(np.arange(5.0)[:, None], np.ones((5, 1)), batchSize=2, epochs=1)
    assert model.layerStack["batches"] == [[0.0, 1.0], [2.0, 3.0]]
    assert model.epochLosses == [3.0]


def test_shuffling_samples_with_replacement_from_the_global_generator() -> None:
    model = notebook.SimpleModel(count)
    np.random.seed(SEED)
    model.run(np.arange(6.0)[:, None], np.ones((6, 1)), batchSize=3, epochs=4, shuffle=True)
    np.random.seed(SEED)
    assert model.layerStack["batches"] == [np.random.choice(range(6), 3).tolist() for _ in range(8)]


def test_layers_of_ones_own_go_on_the_stack() -> None:
    class Twice:
        def forward(self, x: Any) -> Any:
            return 2.0 * x

        def backward(self, grad: Any) -> Any:
            return 2.0 * grad

    model = notebook.SimpleModel(step)
    for name, layer in {"linear": notebook.Linear(4, 3), "twice": Twice(), "loss": notebook.MeanSquareError()}.items():
        model.add(layer, name)
    model.run(*sines(), batchSize=10, epochs=3, learningRate=1e-5)
    assert model.epochLosses[-1] < model.epochLosses[0]


NAMES = {
    "Linear": {
        "__init__": "inputDim, outputDim, _var=0.01",
        "forward": "x",
        "backward": "x, gradOutput",
        "get_parameters": "",
    },
    "Sigmoid": {"forward": "x", "backward": "gradOutput", "reset": ""},
    "ReLU": {"forward": "x", "backward": "gradOutput"},
    "TanH": {"forward": "x", "backward": "gradOutput"},
    "MeanSquareError": {"forward": "predictions, labels", "backward": "predictions=0, labels=0"},
    "AbsoluteError": {"forward": "predictions, labels", "backward": ""},
    "BinaryCrossEntropy": {"forward": "predictions, labels", "backward": ""},
    "SimpleModel": {
        "__init__": "customFunction",
        "add": "layerObject, layerName",
        "run": "inputX=None, outputY=None, batchSize=1, epochs=30, learningRate=0.001, verbose=True, printStep=10, "
        "shuffle=False",
    },
}


@pytest.mark.parametrize("name", notebook.__all__)
def test_the_signatures_are_the_notebooks(name: str) -> None:
    for method, expected in NAMES[name].items():
        signature = inspect.signature(getattr(getattr(notebook, name), method))
        _, *arguments = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        assert ", ".join(map(str, arguments)) == expected


def test_layers_and_losses_remember_under_the_notebooks_names() -> None:
    x, y = np.array([[0.25, 0.75]]), np.array([[0.0, 1.0]])
    sigmoid_layer, relu, tanh = notebook.Sigmoid(), notebook.ReLU(), notebook.TanH()
    assert sigmoid_layer.forward(x) is sigmoid_layer.current_sigma
    assert tanh.forward(x) is tanh.current_tanh
    relu.forward(-x)
    np.testing.assert_array_equal(relu.current_x, -x)
    sigmoid_layer.reset()
    assert sigmoid_layer.current_sigma is None
    loss = notebook.BinaryCrossEntropy()
    loss.forward(x, y)
    np.testing.assert_array_equal(loss.current_preds, x)
    np.testing.assert_array_equal(loss.current_labels, y)
    assert loss.num_of_samples == 1


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


RATIOS = [
    ("MeanSquareError", tn.MeanSquaredError(reduction="sum"), 1, 5),
    ("AbsoluteError", tn.MeanAbsoluteError(), 1, 10),
    ("AbsoluteError", tn.MeanAbsoluteError(reduction="sum"), 1 / 10, 1),
    ("BinaryCrossEntropy", tn.BinaryCrossEntropy(reduction="sum"), 1 / 5, 5),
    ("BinaryCrossEntropy", tn.BinaryCrossEntropy(), 2, 50),
]


@pytest.mark.parametrize(("name", "loss", "of_value", "of_gradient"), RATIOS)
def test_a_loss_differs_from_the_native_one_by_the_factors_of_its_docstring(
    name: str, loss: tn.Loss, of_value: float, of_gradient: float
) -> None:
    rng = np.random.default_rng(2)
    predictions, labels = rng.uniform(0.1, 0.9, (5, 2)), rng.integers(0, 2, (5, 2))
    here = getattr(notebook, name)()
    assert here.forward(predictions, labels) == pytest.approx(of_value * loss.forward(predictions, labels), rel=1e-13)
    expected = of_gradient * loss.backward(predictions, labels)
    np.testing.assert_allclose(here.backward(), expected, rtol=1e-12)


# -- errors ------------------------------------------------------------------------------------------------------------

ONES = np.ones((4, 2))
ERRORS = {
    "columns": (
        lambda: notebook.Linear(4, 5).forward(np.ones((10, 3))),
        ValueError,
        r"Linear\(4, 5\) expects inputs of shape \(batch, 4\); got \(10, 3\)\. Check the number of columns\.",
    ),
    "one-dimensional": (lambda: notebook.Linear(2, 5).forward([1, 2]), ValueError, r"got \(2,\)\. Use x\.reshape"),
    "gradient": (
        lambda: notebook.Linear(2, 5).backward(ONES, np.ones((4, 2))),
        ValueError,
        r"Linear\(2, 5\)\.backward expects a gradient of shape \(4, 5\), as its output; got \(4, 2\)",
    ),
    "weight": (lambda: assigned(weight=np.ones(2)).forward(ONES), ValueError, r"weight of shape .* got \(2,\)"),
    "bias": (lambda: assigned(bias=np.ones((1, 3))).forward(ONES), ValueError, r"bias of shape .* and \(1, 3\)"),
    "activation's gradient": (
        lambda: forwarded(notebook.TanH()).backward(np.ones((3, 2))),
        ValueError,
        r"TanH\.backward expects a gradient of shape \(4, 2\)",
    ),
    "empty": (lambda: notebook.ReLU().forward([]), ValueError, r"x must not be empty; got shape \(0,\)"),
    "strings": (lambda: notebook.ReLU().forward(["a"]), TypeError, "must hold real numbers"),
    "width": (lambda: notebook.Linear(0, 3), ValueError, "inputDim must be a whole number >= 1; got 0"),
    "deviation": (lambda: notebook.Linear(2, 3, "small"), TypeError, "_var must be a number; got 'small'"),
    "labels": (
        lambda: notebook.MeanSquareError().forward(ONES, np.ones(4)),
        ValueError,
        r"MeanSquareError expects predictions and labels of one shape, .* got \(4, 2\) and \(4,\)",
    ),
    "a number for predictions": (
        lambda: notebook.AbsoluteError().forward(1.0, 2.0),
        ValueError,
        r"got \(\) and \(\)\. Reshape",
    ),
    "probabilities": (
        lambda: notebook.BinaryCrossEntropy().forward(2.0 * ONES, ONES),
        ValueError,
        r"expects predictions in \[0, 1\]; got values from 2 to 2",
    ),
    "classes": (
        lambda: notebook.BinaryCrossEntropy().forward(0.5 * ONES, -ONES),
        ValueError,
        r"expects labels in \[0, 1\]; got values from -1 to -1",
    ),
    "no forward": (lambda: notebook.Sigmoid().backward(ONES), RuntimeError, r"Sigmoid\.backward expects forward"),
    "no forward of a loss": (lambda: notebook.AbsoluteError().backward(), RuntimeError, "AbsoluteError.backward"),
    "no function": (lambda: notebook.SimpleModel("step"), TypeError, "expects a function .* got 'step'"),
    "no data": (lambda: notebook.SimpleModel(count).run(), ValueError, "inputX must not have missing values"),
    "lengths": (lambda: run(outputY=np.ones(3)), ValueError, r"as many rows .* got shapes \(4, 2\) and \(3,\)"),
    "a number for data": (lambda: run(inputX=1.0), ValueError, r"as many rows .* got shapes \(\) and \(4, 2\)"),
    "no samples": (lambda: run(inputX=ONES[:0], outputY=ONES[:0]), ValueError, r"at least one; got shapes \(0, 2\)"),
    "infinite inputs": (lambda: run(inputX=ONES * np.inf), ValueError, "inputX must be finite; got inf in row 0"),
    "NaN": (lambda: run(outputY=[1, 1, 1, np.nan]), ValueError, "outputY must be finite; got nan in row 3"),
    "batch size": (lambda: run(batchSize=5), ValueError, "batchSize must be at most the number of samples, 4; got 5"),
    "batch size 0": (lambda: run(batchSize=0), ValueError, "batchSize must be a whole number >= 1; got 0"),
    "epochs": (lambda: run(epochs=2.5), TypeError, r"epochs must be a whole number; got 2\.5"),
    "print step": (lambda: run(printStep=0), ValueError, "printStep must be a whole number >= 1; got 0"),
    "forgotten return": (
        lambda: notebook.SimpleModel(lambda *arguments: None).run(ONES, ONES),
        TypeError,
        r"customFunction must return \(layerStack, loss\); got None",
    ),
}


def assigned(**arrays: Any) -> notebook.Linear:
    linear = notebook.Linear(2, 5)
    for name, array in arrays.items():
        setattr(linear, name, array)
    return linear


def forwarded(layer: Any) -> Any:
    layer.forward(ONES)
    return layer


def run(**arguments: Any) -> None:
    notebook.SimpleModel(count).run(**{"inputX": ONES, "outputY": ONES, **arguments})


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_is_told_with_its_remedy(case: str) -> None:
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


def test_nothing_runs_where_an_argument_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    model = notebook.SimpleModel(count)
    capsys.readouterr()
    with pytest.raises(ValueError, match="printStep"):
        model.run(ONES, ONES, printStep=0)
    assert capsys.readouterr().out == ""
    assert model.layerStack == {}


def test_the_backend_is_the_one_in_force_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, seen = notebook.Linear(2, 1), []
    for name in ("numpy", "numba"):
        kernels = tn.get_backend(name).kernels
        original = kernels.linear_forward
        monkeypatch.setattr(kernels, "linear_forward", lambda *a, n=name, f=original: (seen.append(n), f(*a)))
    for name in ("numba", "numpy", "numba"):
        with tn.use_backend(name):
            linear.forward(ONES)
    assert seen == ["numba", "numpy", "numba"]
