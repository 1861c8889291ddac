"""tinynet.notebook's layers and losses against the notebook's formulas, one by one, on every backend."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from notebook_formulas import ACTIVATIONS, LOSSES, ONES, SEED, Exercise, parameters_of, stack

import tinynet as tn
from tinynet import notebook


@pytest.fixture(autouse=True)
def _on_every_backend(backend: str) -> Iterator[None]:
    with tn.use_backend(backend):
        yield


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


# -- names -------------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("name", notebook.__all__)
def test_a_pickle_from_when_the_module_was_one_file_is_read(name: str) -> None:
    assert pickle.loads(f"ctinynet.notebook\n{name}\n.".encode()) is getattr(notebook, name)
