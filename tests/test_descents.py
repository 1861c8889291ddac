"""Levenberg-Marquardt's loop in generated code: the decisions of the one in Python, for every setting that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_second_order import SMOOTH, problem

import tinynet as tn
from tinynet.base.config import use_threads

pytest.importorskip("llvmlite")

from tinynet.backends.second_order.generated import GeneratedEquations
from tinynet.backends.second_order.levenberg import LevenbergMarquardtPlan
from tinynet.ensembles.whole import WholeEnsembleTrainer

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "many attempts": {"damping": 1e-9, "increase": 1.5},
    "gentle": {"increase": 2.0, "decrease": 1 / 3},
    "marquardt": {"scaling": "marquardt", "damping": 0.1},
    "weight decay": {"weight_decay": 1e-3},
    "a goal": {"goal": 0.265},
    "a gradient": {"min_gradient": 0.05},
    "little damping": {"max_damping": 1e-5},
    "acceleration": {"acceleration": True},
    "acceleration and scaling": {"acceleration": True, "scaling": "marquardt", "weight_decay": 1e-3},
}


def data(n: int = 90, weighted: bool = False) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (n, 3))
    y = np.stack([np.sin(2 * x[:, 0]) * x[:, 1], np.cos(x[:, 2])], axis=1)
    return x, y, rng.uniform(0.1, 2.0, n) if weighted else None


def network(dtype: str = "float64", wide: int = 5, backend: str = "numpy") -> tn.Sequential:
    layers = [tn.Linear(3, wide), tn.Tanh(), tn.Linear(wide, 3), tn.SiLU(), tn.Linear(3, 2)]
    net = tn.Sequential(*layers, dtype=dtype, seed=3, backend=backend)
    net.layers[2].trainable = False
    return net


class Asking(GeneratedEquations):
    """What leaves every decision to Python."""

    def descend(self, *anything: Any) -> None:
        return None


def run(
    make: type[GeneratedEquations], net: tn.Sequential, optimizer: tn.Optimizer, epochs: int, l2: float, data: Any,
    loss: tn.Loss | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    x, y, weight = data
    spec = (loss or tn.MeanSquaredError()).lower(net.program.ops, index_target=y.ndim == 1)
    program = replace(net.trained_program, loss=replace(spec, l2=l2), optimizer=optimizer.lower())
    plan = LevenbergMarquardtPlan(program, net.backend, make(program))
    net.prepare_optimizer(optimizer, net.frozen)
    target = y if y.ndim == 1 else y.astype(net.dtype)
    losses = plan.run(net.state, x.astype(net.dtype), target, None, np.ones((epochs, 1)), weight)
    return losses, net.flat_parameters(), net.state.moments[:, 0].copy()


@pytest.mark.parametrize("l2", [0.0, 0.5], ids=["", "penalty"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_decisions_are_those_of_the_loop_in_python(name: str, dtype: str, l2: float) -> None:
    optimizer = tn.LevenbergMarquardt(**SETTINGS[name])
    ways = (Asking, GeneratedEquations)
    found = [run(make, network(dtype), optimizer, 8, l2, data(weighted=l2 > 0)) for make in ways]
    tolerance = 1e-7 if dtype == "float64" else 1e-3
    for asked, went in zip(*found, strict=True):
        np.testing.assert_allclose(went, asked, rtol=tolerance, atol=tolerance * 1e-2)
    reasons = {"a goal": 4, "a gradient": 1, "little damping": 2}
    assert found[1][2][0] == reasons.get(name, 0)
    assert (len(found[1][0]) < 8) == (name in reasons)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_evidence_is_weighed_as_in_python(dtype: str) -> None:
    found = []
    for make in (Asking, GeneratedEquations):
        losses, parameters, kept = run(make, network(dtype), tn.BayesianRegularization(), 8, 0.0, data(weighted=True))
        found.append((losses, parameters, kept))
    tolerance = 1e-7 if dtype == "float64" else 1e-3
    for asked, went in zip(*found, strict=True):
        np.testing.assert_allclose(went, asked, rtol=tolerance, atol=tolerance * 1e-2)
    assert 0 < found[1][2][2] < 1  # What squares are weighed by.
    assert 1 < found[1][2][3] < network().n_parameters


@pytest.mark.parametrize("name", SMOOTH)
def test_steps_bend_as_the_loss_says(name: str) -> None:
    """The second-order part of a step, for losses of single outputs and of rows."""
    found = []
    for make in (Asking, GeneratedEquations):
        net, loss, own = problem(name, weighted=True)
        optimizer = tn.LevenbergMarquardt(acceleration=True, damping=0.1)
        found.append(run(make, net, optimizer, 4, 0.0, own, loss))
    for asked, went in zip(*found, strict=True):
        np.testing.assert_allclose(went, asked, rtol=1e-6, atol=1e-8)


def test_models_have_settings_and_ends_of_their_own() -> None:
    x, y, _ = data()
    goals = [0.0, 0.3, 0.25]
    models = tn.Ensemble(network(backend="numba"), 3)
    alone = [models[i] for i in range(3)]
    history = models.fit(x, y, optimizer=tn.LevenbergMarquardt(goal=goals), epochs=12)
    assert len(set(history.stopped.tolist())) == 3
    for i, one in enumerate(alone):
        own = one.fit(x, y, optimizer=tn.LevenbergMarquardt(goal=goals[i]), epochs=12)
        np.testing.assert_array_equal(history["loss"][: len(own), i], own["loss"])
        np.testing.assert_array_equal(models[i].flat_parameters(), one.flat_parameters())


def test_threads_change_no_bit_of_a_descent() -> None:
    """Two models of which each is worth threads: they share samples, or each has a model to itself."""
    x, y, _ = data(2100)
    found = []
    for threads in (1, 2, 3):
        with use_threads(threads):
            net = network(wide=20)
            made = run(GeneratedEquations, net, tn.LevenbergMarquardt(), 4, 0.0, (x, y, None))
            found.append(b"".join(array.tobytes() for array in made))
    assert found[0] == found[1] == found[2]


def test_a_loss_that_is_no_number_ends_a_descent() -> None:
    net = network()
    net.set_flat_parameters(np.full(net.n_parameters, 1e300))
    losses, *_ = run(GeneratedEquations, net, tn.LevenbergMarquardt(), 5, 0.0, data())
    assert np.isnan(losses).all()
    assert len(losses) == 5


def test_models_stop_in_the_middle_of_a_call_of_many_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody ends the training at an epoch that lies within the call: then all go back to it."""

    class Ends(tn.Callback):
        looks_every = None

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.model.stop_training = epoch == 20

    x, y, _ = data(40)
    optimizer, found, chunks = tn.LevenbergMarquardt(goal=[0.0, 0.25, 0.1, 0.2], min_gradient=0.0), [], []
    run = WholeEnsembleTrainer._run_chunk
    monkeypatch.setattr("tinynet.ensembles.trainer.CHUNK_SECONDS", 10.0)  # However slow the machine is.
    monkeypatch.setattr(WholeEnsembleTrainer, "_run_chunk", lambda self, n: (chunks.append(n), run(self, n)))
    for epochs, callbacks in ((21, []), (400, [Ends()])):
        models = tn.Ensemble(network(backend="numba"), 4)
        history = models.fit(x, y, optimizer=optimizer, epochs=epochs, callbacks=callbacks)
        found.append((models.state.parameters, history["loss"], history.stopped, models.scores["loss"]))
    stopped = found[0][2]
    assert stopped[0] == -1
    assert ((stopped > 1) & (stopped < 20)).any()
    assert max(chunks) > 21
    for straight, back in zip(*found, strict=True):
        np.testing.assert_array_equal(back, straight)


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    x, y, _ = data(40)
    models = tn.Ensemble(network(backend="numba"), 3)
    models.state.parameters[1] = 1e300
    alone = [models[i] for i in (0, 2)]
    with np.errstate(all="ignore"):
        history = models.fit(x, y, optimizer="lm", epochs=30)
    assert history.diverged == [1]
    for i, net in zip((0, 2), alone, strict=True):
        assert history["loss"][:, i].tolist() == net.fit(x, y, optimizer="lm", epochs=30)["loss"]
