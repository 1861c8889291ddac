"""Optimizers that take all samples, on a GPU: the same equations and the same trainings as NumPy's."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(37, 3)), RNG.normal(size=(37, 2))
LOSSES: list[tuple[Any, Any]] = [
    (tn.MeanSquaredError(), Y),
    (tn.Huber(0.3), Y),
    (tn.BinaryCrossEntropy(from_logits=True), RNG.uniform(size=(37, 2))),
    (tn.CrossEntropy(), RNG.integers(0, 2, 37)),
    (tn.CrossEntropy(), RNG.dirichlet(np.ones(2), 37)),
    (tn.PoissonLoss(), RNG.poisson(2.0, (37, 2)) * 1.0),
]


def net_on(backend: str) -> tn.Sequential:
    normalize = tn.Normalize(3).adapt(X)
    layers = [tn.Linear(3, 4), tn.SiLU(), tn.Linear(4, 3, bias=False), tn.Softmax(), tn.Linear(3, 2)]
    return tn.Sequential(normalize, *layers, dtype="float64", seed=1, backend=backend)


@pytest.mark.parametrize("number", range(len(LOSSES)))
def test_the_equations_are_numpys(gpu: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    from tinynet.backends.cupy import equations as on_gpu
    from tinynet.backends.second_order.equations import Models, ReferenceEquations

    monkeypatch.setattr(on_gpu, "BLOCK_BYTES", 1 << 13)  # Several blocks.
    (loss, y), found = LOSSES[number], []
    weight = RNG.uniform(0.1, 2.0, (2, 37)) if number % 2 else None
    for net in (net_on("numpy"), net_on(gpu)):
        net.layers[3].trainable = number != 0
        spec = loss.lower(net.program.ops, index_target=y.ndim == 1)
        program = replace(net.trained_program, loss=spec)
        made: Any = ReferenceEquations(program, net.backend)
        if net.backend.name != "numpy":
            made = on_gpu.CuPyEquations(program, net.backend)  # type: ignore[arg-type]
        flat = net_on("numpy").flat_parameters()
        models = Models(np.stack([flat, 1.3 * flat]), np.tile(net_on("numpy").state.buffers, (2, 1)), np.arange(2))
        with net.backend.active():
            data = made.prepare(X, y, weight)
            losses, gradients, matrices = made.sums(models, data)
            ridge = 0.1 * made.diagonals(matrices) + 1e-3
            indefinite = ridge - np.array([[0.0], [50.0]])
            found.append(
                [
                    *(losses, made.values(models, data), gradients, ridge),
                    made.solve(matrices, slice(None), gradients, ridge),
                    made.solve(matrices, np.array([1]), gradients[1:], ridge[1:]),
                    made.solve(matrices, slice(None), gradients, indefinite),
                    made.traces_of_inverses(matrices, ridge),
                    made.second_derivative(models, 1, 0.01 * np.ones(gradients.shape[1]), data),
                ]
            )
    assert np.isnan(found[0][-3][1]).all()
    for ours, theirs in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("optimizer", [tn.LevenbergMarquardt(acceleration=True), "br", "lbfgs"], ids=repr)
def test_trainings_are_numpys(gpu: str, optimizer: Any) -> None:
    """One model, and models that each go their own way; with validation data."""
    nets = [net_on("numpy"), net_on(gpu)]
    histories = [net.fit(X, Y, optimizer=optimizer, epochs=4, validation_split=0.2) for net in nets]
    np.testing.assert_allclose(histories[1]["val_loss"], histories[0]["val_loss"], rtol=1e-6)
    many = [tn.Ensemble(net_on(backend), 3) for backend in ("numpy", gpu)]
    losses = [models.fit(X, Y, optimizer=optimizer, epochs=4)["loss"] for models in many]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_layers_in_python_are_refused(gpu: str, cp: ModuleType) -> None:
    class Double(tn.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, grad: Any) -> Any:
            return 2 * grad

    net = tn.Sequential(tn.Linear(3, 2), Double(), backend=gpu)
    with pytest.raises(ValueError, match="expects layers of tinynet"):
        net.fit(X, Y, optimizer="lm")
