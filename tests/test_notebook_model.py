"""SimpleModel: what a run prints, draws and leaves out; and what it and the layers refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from notebook_formulas import ONES, SEED, sines, step

import tinynet as tn
from tinynet import notebook


@pytest.fixture(autouse=True)
def _on_every_backend(backend: str) -> Iterator[None]:
    with tn.use_backend(backend):
        yield


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


# -- errors ------------------------------------------------------------------------------------------------------------

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
