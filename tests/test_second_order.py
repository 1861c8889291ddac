"""Optimizers that take all samples in each step: their matrices, their steps, and where they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from formula_table import table

import tinynet as tn
from tinynet.backends.second_order.normal import NormalEquations
from tinynet.base.config import use_threads
from tinynet.losses import get_loss
from tinynet.optimizers import LBFGS, BayesianRegularization, LevenbergMarquardt, get_optimizer

SMOOTH: dict[str, tuple[Any, Any]] = {
    "mse": (tn.MeanSquaredError(), None),
    "mse sum": (tn.MeanSquaredError("sum"), None),
    "huber": (tn.Huber(0.3), None),
    "bce": (tn.BinaryCrossEntropy(), tn.Sigmoid),
    "bce logits": (tn.BinaryCrossEntropy(from_logits=True), None),
    "cross_entropy": (tn.CrossEntropy(), None),
    "cross_entropy rows": (tn.CrossEntropy(from_logits=False), tn.Softmax),
    "poisson": (tn.PoissonLoss(), None),
}


def problem(name: str, n: int = 40, weighted: bool = False) -> tuple[tn.Sequential, Any, tuple[Any, Any, Any]]:
    rng = np.random.default_rng(0)
    loss, last = SMOOTH[name]
    layers = [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 3), tn.SiLU(), tn.Linear(3, 2, bias=False)]
    net = tn.Sequential(*layers, *([last()] if last else []), dtype="float64", seed=1, backend="numpy")
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    if name.startswith("bce"):
        y = rng.uniform(size=(n, 2))
    elif name == "poisson":
        y = rng.poisson(2.0, (n, 2)) * 1.0
    elif name == "cross_entropy":
        y = rng.integers(0, 2, n)
    elif name == "cross_entropy rows":
        y = rng.dirichlet(np.ones(2), n)
    return net, loss, (x, y, rng.uniform(0.1, 2, n) if weighted else None)


def equations_of(net: tn.Sequential, loss: Any, y: Any) -> NormalEquations:
    spec = loss.lower(net.program.ops, index_target=y.ndim == 1)
    return NormalEquations(replace(net.program, loss=spec), net.backend)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_of_the_normal_equations_is_that_of_backpropagation(name: str, weighted: bool) -> None:
    net, loss, (x, y, w) = problem(name, weighted=weighted)
    equations = equations_of(net, loss, y)
    value, gradient = equations.sum(equations.bind(net.state), x, y, w)
    from tinynet.backends.loop import LoopPlan

    plan = LoopPlan(equations.program, net.backend, "")
    assert value == pytest.approx(plan.gradient(net.state, x, y, w), rel=1e-13)
    np.testing.assert_allclose(gradient, net.state.gradients, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", [name for name in SMOOTH if name != "huber"])
def test_the_matrix_is_that_of_a_network_that_is_linear_in_its_parameters(name: str, weighted: bool) -> None:
    """There is then no second derivative of the network: the Gauss-Newton matrix is the Hessian of the loss."""
    net, loss, (x, y, w) = problem(name, weighted=weighted)
    last = [SMOOTH[name][1]()] if SMOOTH[name][1] else []
    net = tn.Sequential(tn.Linear(3, 2), *last, dtype="float64", seed=2, backend="numpy")
    equations = equations_of(net, loss, y)
    bound = equations.bind(net.state)
    equations.sum(bound, x, y, w)
    matrix, start = equations.matrix.copy(), net.state.parameters.copy()
    hessian = np.empty_like(matrix)
    for i in range(len(start)):
        sides = []
        for sign in (-1, 1):
            net.state.parameters[...] = start
            net.state.parameters[i] += sign * 1e-5
            sides.append(equations.sum(bound, x, y, w)[1].copy())
        hessian[i] = (sides[1] - sides[0]) / 2e-5
    np.testing.assert_allclose(matrix, hessian, rtol=1e-6, atol=1e-8)


def test_sums_over_blocks_are_the_sum() -> None:
    net, loss, (x, y, _) = problem("mse", n=500)
    whole, blocks = equations_of(net, loss, y), equations_of(net, loss, y)
    blocks.block = 7
    values = [equations.sum(equations.bind(net.state), x, y, None) for equations in (whole, blocks)]
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-13)
    np.testing.assert_allclose(values[0][1], values[1][1], rtol=1e-10)
    np.testing.assert_allclose(whole.matrix, blocks.matrix, rtol=1e-10, atol=1e-14)


def test_the_second_derivative_along_a_direction_is_that_of_the_network() -> None:
    net, loss, (x, y, _) = problem("mse")
    equations = equations_of(net, loss, y)
    bound, start = equations.bind(net.state), net.state.parameters.copy()
    direction = 0.01 * np.random.default_rng(3).normal(size=len(start))
    got = equations.second_derivative(bound, start, direction, (x, y, None))
    np.testing.assert_array_equal(net.state.parameters, start)
    h, outputs = 1e-2, []
    for factor in (-h, 0, h):
        net.state.parameters[...] = start + factor * direction
        outputs.append(net.predict(x))
    net.state.parameters[...] = start
    curve = (outputs[2] - 2 * outputs[1] + outputs[0]) / h**2
    net.forward(x, training=False)
    net.zero_grad()
    net.backward(2 * curve / curve.size)  # J' H K, with the second derivative of the mean square.
    np.testing.assert_allclose(got, net.state.gradients, rtol=1e-2, atol=1e-9)


# -- generated code ----------------------------------------------------------------------------------------------------


def both_equations(net: tn.Sequential, loss: Any, y: Any, models: int = 2) -> tuple[list[Any], Any]:
    """Return the reference and the generated equations of a network, and some models of it."""
    pytest.importorskip("llvmlite")
    from tinynet.backends.second_order.equations import Models, ReferenceEquations
    from tinynet.backends.second_order.generated import GeneratedEquations

    spec = loss.lower(net.program.ops, index_target=y.ndim == 1)
    program = replace(net.trained_program, loss=spec)
    rng = np.random.default_rng(4)
    parameters = net.flat_parameters() + 0.3 * rng.normal(size=(models, net.n_parameters))
    buffers = np.tile(np.asarray(net.state.buffers, np.float64), (models, 1))
    return [ReferenceEquations(program, net.backend), GeneratedEquations(program)], Models(
        parameters, buffers, np.arange(models)
    )


def assert_equal_equations(net: tn.Sequential, loss: Any, x: Any, y: Any, w: Any) -> None:
    """Losses, gradients, matrices, steps: with the same damping, in both ways."""
    results = []
    equations, models = both_equations(net, loss, y)
    for one in equations:
        data = one.prepare(x, y, w)
        losses, gradients, matrices = one.sums(models, data)
        ridge = 0.1 * one.diagonals(matrices) + 1e-3
        steps = one.solve(matrices, slice(None), gradients, ridge)
        results.append(
            [losses, one.values(models, data), gradients, ridge, steps, one.traces_of_inverses(matrices, ridge)]
        )
    for got, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", SMOOTH)
def test_generated_equations_are_those_of_the_reference(name: str, weighted: bool) -> None:
    net, loss, (x, y, w) = problem(name, n=37, weighted=weighted)
    assert_equal_equations(net, loss, x, y, w if w is None else np.stack([w, w[::-1]]))


@pytest.mark.parametrize("n", [1, 300, 2600])
def test_generated_equations_of_all_kinds_of_layers(n: int) -> None:
    """Of a few samples and of many, which are cut into parts; with a layer that is not trained."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 2))
    normalize = tn.Normalize(5).adapt(rng.normal(1, 3, (20, 5)))
    layers = [normalize, tn.Linear(5, 9), tn.GELU(), tn.Normalize(9), tn.Linear(9, 6, bias=False), tn.Softmax()]
    net = tn.Sequential(*layers, tn.Softplus(), tn.Linear(6, 2), dtype="float64", seed=0, backend="numpy")
    net.layers[4].trainable = n != 300
    assert_equal_equations(net, tn.MeanSquaredError(), x, y, None)


def test_a_loss_without_any_curvature_still_has_its_gradient() -> None:
    """Far out on the logits the second derivative rounds to 0, the slope to 1."""
    net = tn.Sequential(tn.Linear(1, 1), dtype="float64", seed=0, backend="numpy")
    net.set_weights([[[900.0]], [0.0]])
    x, y = np.array([[1.0], [1.0]]), np.array([[0.0], [1.0]])
    equations, models = both_equations(net, tn.BinaryCrossEntropy(from_logits=True), y)
    models.parameters[...] = net.flat_parameters()
    for one in equations:
        _, gradients, _ = one.sums(models, one.prepare(x, y, None))
        np.testing.assert_allclose(gradients, 0.5)


def test_what_is_not_positive_definite_has_no_solution() -> None:
    net, loss, (x, y, _) = problem("mse")
    equations, models = both_equations(net, loss, y)
    for one in equations:
        _, gradients, matrices = one.sums(models, one.prepare(x, y, None))
        diagonals = np.full_like(gradients, 1e-3)
        diagonals[1, 5] = -1e3
        steps = one.solve(matrices, slice(None), gradients, diagonals)
        assert np.isfinite(steps[0]).all()
        assert not np.isfinite(steps[1]).any()


def test_the_number_of_threads_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1500, 6)), rng.normal(size=(1500, 1))
    net = tn.Sequential(tn.Linear(6, 14), tn.Tanh(), tn.Linear(14, 1), dtype="float64", seed=0, backend="numpy")
    (_, generated), models = both_equations(net, tn.MeanSquaredError(), y, 3)
    found = []
    for threads in (1, 3):
        with use_threads(threads):
            found.append([array.copy() for array in generated.sums(models, generated.prepare(x, y, None))[:2]])
    assert generated._kernels.parts > 1
    for one, three in zip(*found, strict=True):
        np.testing.assert_array_equal(one, three)


def names_of(optimizer: tn.Optimizer) -> str:
    return type(optimizer).__name__


def test_names_stand_for_the_optimizers() -> None:
    from tinynet.optimizers import get_optimizer

    assert names_of(get_optimizer("lm")) == "LevenbergMarquardt"
    assert names_of(get_optimizer("br")) == "BayesianRegularization"
    assert names_of(get_optimizer("lbfgs", memory=3)) == "LBFGS"
    assert get_loss("mse").kind == "mse"
    assert repr(LBFGS()) == "LBFGS(memory=10, min_gradient=1e-07, goal=0.0)"
    assert BayesianRegularization().damping == 5e-3
    assert "damping=0.001" in repr(LevenbergMarquardt())


# -- trainings ---------------------------------------------------------------------------------------------------------


def surface(n: int = 200) -> tuple[Any, Any]:
    x = np.random.default_rng(0).uniform(-2, 2, (n, 2))
    return x, np.sin(2 * x[:, :1]) * np.cos(x[:, 1:])


def small(backend: str = "numpy", dtype: str = "float64", seed: int = 0) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 12), tn.Tanh(), tn.Linear(12, 1), dtype=dtype, seed=seed, backend=backend)


def test_levenberg_marquardt_goes_where_adam_does_not(backend: str) -> None:
    x, y = surface()
    net = small(backend)
    history = net.fit(x, y, optimizer="lm", epochs=200)
    assert history["loss"][-1] < 3e-4
    assert (np.diff(history["loss"]) < 0).all()
    assert history.plan.startswith("Levenberg-Marquardt")
    assert "learning_rate" not in history
    assert net.evaluate(x, y)["loss"] == pytest.approx(history["loss"][-1], rel=1e-9)
    adam = small(backend).fit(x, y, optimizer=tn.Adam(0.01), epochs=200)
    assert history["loss"][-1] < 0.1 * min(adam["loss"])


@pytest.mark.parametrize("scaling", ["identity", "marquardt"])
@pytest.mark.parametrize("acceleration", [False, True])
def test_all_forms_of_the_step_get_there(scaling: str, acceleration: bool) -> None:
    x, y = surface()
    optimizer = tn.LevenbergMarquardt(scaling=scaling, acceleration=acceleration)
    assert small().fit(x, y, optimizer=optimizer, epochs=150)["loss"][-1] < 1e-3


@pytest.mark.parametrize("name", SMOOTH)
def test_every_smooth_loss_falls_in_every_step(name: str) -> None:
    net, loss, (x, y, w) = problem(name, weighted=True)
    before = net.evaluate(x, y, loss=loss, sample_weight=w)["loss"]
    history = net.fit(x, y, loss=loss, optimizer="lm", epochs=10, sample_weight=w)
    losses = [before, *history["loss"]]
    assert (np.diff(losses) < 0).all()
    assert losses[-1] < before


def test_a_linear_problem_is_solved_in_one_step_of_little_damping() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    net = tn.Sequential(tn.Linear(3, 1), dtype="float64", seed=0, backend="numpy")
    net.fit(x, y, optimizer=tn.LevenbergMarquardt(damping=1e-14), epochs=1)
    weights, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(50)]), y, rcond=None)
    np.testing.assert_allclose(net.flat_parameters(), weights[:, 0], rtol=1e-10)


def test_weight_decay_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    net = tn.Sequential(tn.Linear(3, 1, bias=False), dtype="float64", seed=0, backend="numpy")
    net.fit(x, y, optimizer=tn.LevenbergMarquardt(damping=1e-12, weight_decay=0.3), epochs=5)
    ridge = np.linalg.solve(x.T @ x * 2 / 50 + 0.3 * np.eye(3), x.T @ y * 2 / 50)
    np.testing.assert_allclose(net.flat_parameters(), ridge[:, 0], rtol=1e-9)


def test_lbfgs_finds_the_minimum_of_a_convex_problem(backend: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    net = tn.Sequential(tn.Linear(4, 3), dtype="float64", seed=0, backend=backend)
    history = net.fit(x, y, loss="cross_entropy", optimizer=tn.LBFGS(min_gradient=1e-9), epochs=200)
    assert history.stop_reason in ("gradient", "line search")
    assert (np.diff(history["loss"]) <= 0).all()
    net.zero_grad()
    loss = tn.CrossEntropy()
    net.backward(loss.backward(net.forward(x, training=False), y))
    assert abs(net.state.gradients).max() < 1e-7


def test_lbfgs_trains_layers_and_losses_of_your_own() -> None:
    class Scale(tn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.add_parameter("factor", (1,), init="ones")

        def forward(self, x: Any) -> Any:
            self.x = x
            return x * self.factor

        def backward(self, grad: Any) -> Any:
            self.factor_grad[...] = (grad * self.x).sum()
            return grad * self.factor

    x, y = surface()
    net = tn.Sequential(tn.Linear(2, 8), Scale(), tn.Tanh(), tn.Linear(8, 1), dtype="float64", seed=0, backend="numpy")
    history = net.fit(x, y, loss=tn.MeanAbsoluteError(), optimizer="lbfgs", epochs=30)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    with pytest.raises(ValueError, match=r"got Scale, which is written in Python.*LBFGS"):
        net.fit(x, y, optimizer="lm")


def test_the_evidence_weighs_weights_against_errors() -> None:
    """Of 50 noisy samples of a sine, a net of 61 parameters learns a few, and predicts better than without."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(-1, 1, (50, 1)), axis=0)
    y = np.sin(3 * x) + 0.2 * rng.normal(size=x.shape)
    grid = np.linspace(-1, 1, 200)[:, None]
    errors = {}
    for name in ("br", "lm"):
        net = tn.Sequential(tn.Linear(1, 20), tn.Tanh(), tn.Linear(20, 1), dtype="float64", seed=0, backend="numpy")
        history = net.fit(x, y, optimizer=name, epochs=300)
        errors[name] = float(np.square(net.predict(grid) - np.sin(3 * grid)).mean())
        if name == "br":
            assert 3 < history["effective_parameters"][-1] < 12
    assert errors["br"] < 0.01
    assert errors["br"] < 0.5 * errors["lm"]


def test_what_is_not_learned_yet_is_not_noise() -> None:
    """At first the evidence takes waves that no weight follows for noise, and would draw all weights to 0."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (45, 1))
    y, noise = np.sin(3 * x), 0.1 * rng.normal(size=x.shape)
    for seed in range(3):
        net = tn.Sequential(tn.Linear(1, 10), tn.Tanh(), tn.Linear(10, 1), dtype="float64", seed=seed, backend="numpy")
        history = net.fit(x, y + noise, optimizer="br", epochs=100)
        assert np.square(net.predict(x) - y).mean() < 0.01
        assert 8 < history["effective_parameters"][-1] < 20
    assert net.fit(x, noise, optimizer=tn.BayesianRegularization(), epochs=100)["effective_parameters"][-1] < 8


@pytest.mark.parametrize("optimizer", ["lm", "br", "lbfgs"])
def test_a_resumed_training_ends_with_the_same_bits(optimizer: str, tmp_path: Any) -> None:
    x, y = surface(60)
    straight = small()
    straight.fit(x, y, optimizer=optimizer, epochs=12)
    path = tmp_path / "checkpoint.npz"
    small().fit(x, y, optimizer=optimizer, epochs=5, callbacks=[tn.Checkpoint(path)])
    resumed = small()
    history = resumed.fit(x, y, optimizer=optimizer, epochs=12, callbacks=[tn.Checkpoint(path)], resume_from=path)
    assert len(history["loss"]) == 12
    assert resumed.flat_parameters().tobytes() == straight.flat_parameters().tobytes()


@pytest.mark.parametrize("optimizer", ["lm", "br"])
def test_steps_in_one_call_are_those_of_many(optimizer: str, backend: str) -> None:
    """How many steps a call makes depends on the clock, so what is kept between two must be all that a step knows."""
    x, y = surface(40)
    found = []
    for calls in ([8], [1] * 8):
        net = small(backend, "float32")
        plan = net.plan(tn.MeanSquaredError(), get_optimizer(optimizer), y, None, "epoch")
        net.prepare_optimizer(get_optimizer(optimizer))
        x32, y32 = x.astype("f4"), y.astype("f4")
        for n in calls:
            plan.run(net.state, x32, y32, None, np.ones((n, 1)))
        found.append(net.flat_parameters().tobytes() + net.state.moments.tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("optimizer", ["lm", "br", "lbfgs"])
def test_validation_and_early_stopping_work_as_for_the_others(optimizer: str) -> None:
    x, y = surface(60)
    stop = tn.EarlyStopping(patience=3)
    history = small().fit(
        x, y + 0.3, optimizer=optimizer, epochs=80, validation_split=0.3, callbacks=[stop], metrics="r2"
    )
    assert len(history["val_loss"]) == len(history["loss"]) == len(history["val_r2"]) <= 80


def test_it_says_why_it_stopped() -> None:
    x, y = surface(30)
    assert small().fit(x, y, optimizer=tn.LevenbergMarquardt(goal=1e-3), epochs=100).stop_reason == "goal"
    linear = tn.Sequential(tn.Linear(2, 1), dtype="float64", seed=0, backend="numpy")
    history = linear.fit(x, y, optimizer=tn.LevenbergMarquardt(), epochs=100)
    assert history.stop_reason == "gradient"
    assert len(history) < 100
    again = linear.fit(x, y, optimizer=tn.LevenbergMarquardt(min_gradient=0.0), epochs=100)
    assert again.stop_reason == "damping"


def test_batches_and_dropout_are_refused_with_the_reason() -> None:
    x, y = surface(100)
    net = small()
    before = net.flat_parameters()
    with pytest.raises(ValueError, match="expects no batches; got batch_size=32 for 100 samples"):
        net.fit(x, y, optimizer="lm", batch_size=32)
    with pytest.raises(ValueError, match="has no learning rate for ReduceLROnPlateau"):
        net.fit(x, y, optimizer="lm", callbacks=[tn.ReduceLROnPlateau()])
    with pytest.raises(ValueError, match=r"convex.*Use tn.LBFGS"):
        net.fit(x, y, loss="mae", optimizer="lm")
    with pytest.raises(ValueError, match="expects loss='mse'"):
        net.fit(x, y, loss="huber", optimizer="br")
    assert net.flat_parameters().tobytes() == before.tobytes()
    dropping = tn.Sequential(tn.Linear(2, 4), tn.Dropout(0.5), tn.Linear(4, 1), backend="numpy")
    with pytest.raises(ValueError, match="without Dropout"):
        dropping.fit(x, y, optimizer="lbfgs")
    wide = tn.Sequential(tn.Linear(2, 2000), tn.Tanh(), tn.Linear(2000, 1), backend="numpy")
    with pytest.raises(ValueError, match=r"at most 5,000; this network has 8,001. Use tn.LBFGS"):
        wide.fit(x, y, optimizer="lm")


def test_a_loss_that_is_no_number_is_told() -> None:
    x, y = surface(20)
    net = small()
    net.set_weights([np.full_like(w, 1e300) for w in net.get_weights()])
    with pytest.raises(tn.DivergenceError), np.errstate(all="ignore"):
        net.fit(x, y, optimizer="lm", epochs=3)


def test_float32_networks_are_trained_too() -> None:
    x, y = surface()
    assert small(dtype="float32").fit(x, y, optimizer="lm", epochs=100)["loss"][-1] < 1e-3


@pytest.mark.parametrize("optimizer", ["lm", "br", "lbfgs"])
def test_each_model_of_an_ensemble_ends_where_it_ends_alone(optimizer: str) -> None:
    x, y = surface(60)
    models = tn.Ensemble(small(), 4)
    alone = [models[i] for i in range(4)]
    settings = {"epochs": 15, "validation_split": 0.2}
    history = models.fit(x, y, optimizer=optimizer, **settings)
    for i, net in enumerate(alone):
        own = net.fit(x, y, optimizer=optimizer, **settings)
        np.testing.assert_array_equal(models[i].flat_parameters(), net.flat_parameters())
        np.testing.assert_array_equal(history["loss"][: len(own), i], own["loss"])
        np.testing.assert_array_equal(history["val_loss"][: len(own), i], own["val_loss"])


def test_models_of_an_ensemble_stop_for_themselves() -> None:
    x, y = surface(30)
    models = tn.Ensemble(tn.Sequential(tn.Linear(2, 1), dtype="float64", seed=0, backend="numpy"), 3)
    scales = [1e-3, 1.0, 1e3]
    models.state.parameters[...] *= np.array(scales)[:, None]
    history = models.fit(x, y, optimizer="lm", epochs=50)
    assert history.stop_reason == "every model has stopped"
    assert (history.stopped >= 0).all()
    assert not history.diverged
    assert len(history) < 50
    best, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), y, rcond=None)
    np.testing.assert_allclose(models.state.parameters, np.tile(best[:, 0], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(models.scores["loss"], models.evaluate(x, y)["loss"], rtol=1e-9)


# -- the maths in the documentation ------------------------------------------------------------------------------------


def step_of(name: str, **known: Any) -> dict[str, Any]:
    """Run the code beside an optimizer's formula."""
    names = {f: getattr(np, f) for f in ("eye", "trace", "dot", "outer")} | {
        "solve": np.linalg.solve,
        "inv": np.linalg.inv,
    }
    exec(table()["optimizers"][name]["step"], names, known)
    return known


def test_the_step_is_the_one_of_the_formula() -> None:
    net, loss, (x, y, _) = problem("mse")
    equations, start = equations_of(net, loss, y), net.flat_parameters()
    _, gradient = equations.sum(equations.bind(net.state), x, y, None)
    net.fit(x, y, optimizer=tn.LevenbergMarquardt(damping=0.1), epochs=1)
    known = step_of("LevenbergMarquardt", p=start, H=equations.matrix, g=gradient, damping=0.1)
    np.testing.assert_allclose(net.flat_parameters(), known["p"], rtol=1e-12)


def test_the_evidence_is_the_one_of_the_formula() -> None:
    from tinynet.backends.second_order.levenberg import DECAY, EFFECTIVE, LevenbergMarquardtPlan

    net, loss, (x, y, _) = problem("mse")
    spec, optimizer = loss.lower(net.program.ops), tn.BayesianRegularization()
    plan = LevenbergMarquardtPlan(replace(net.program, loss=spec, optimizer=optimizer.lower()), net.backend)
    net.prepare_optimizer(optimizer)
    plan.run(net.state, x, y, None, np.ones((3, 1)))
    decay = float(net.state.moments[DECAY, 0])
    equations = equations_of(net, loss, y)
    value, _ = equations.sum(equations.bind(net.state), x, y, None)
    matrix, p = equations.matrix.copy(), net.flat_parameters()
    plan.run(net.state, x, y, None, np.ones((1, 1)))
    known = step_of("BayesianRegularization", p=p, H=matrix, n=len(p), N=y.size, loss=value, decay=decay)
    assert net.state.moments[EFFECTIVE, 0] == pytest.approx(known["gamma"], rel=1e-10)
    assert net.state.moments[DECAY, 0] == pytest.approx(known["decay"], rel=1e-10)


def test_the_direction_is_the_one_of_the_formula() -> None:
    from tinynet.backends.second_order.lbfgs import LBFGSPlan

    net, loss, _ = problem("mse")
    program = replace(net.program, loss=loss.lower(net.program.ops), optimizer=LBFGS().lower())
    plan, n = LBFGSPlan(program, net.backend), net.n_parameters
    net.prepare_optimizer(LBFGS())
    rng = np.random.default_rng(0)
    step = rng.normal(size=n)
    change = step + 0.1 * rng.normal(size=n)
    plan._remember(net.state, step, change)
    gradient = rng.normal(size=n)
    known = step_of("LBFGS", p=step, s=step, y=change, g=gradient)
    np.testing.assert_allclose(plan._direction(net.state, gradient), known["direction"], rtol=1e-10, atol=1e-12)


def test_the_direction_is_that_of_the_two_loops() -> None:
    """Nocedal and Wright (2006), algorithm 7.4, as it stands there, with more steps made than are kept."""
    from tinynet.backends.second_order.lbfgs import LBFGSPlan

    net, loss, _ = problem("mse")
    program = replace(net.program, loss=loss.lower(net.program.ops), optimizer=LBFGS(memory=4).lower())
    plan, rng = LBFGSPlan(program, net.backend), np.random.default_rng(0)
    net.prepare_optimizer(LBFGS(memory=4))
    pairs = []
    for _ in range(6):
        step = rng.normal(size=net.n_parameters)
        pairs.append((step, step + 0.3 * rng.normal(size=net.n_parameters)))
        plan._remember(net.state, *pairs[-1])
    gradient = rng.normal(size=net.n_parameters)
    q, kept, weights = gradient.copy(), pairs[-4:], []
    for s, y in reversed(kept):
        weights.append(s @ q / (y @ s))
        q -= weights[-1] * y
    s, y = kept[-1]
    r = s @ y / (y @ y) * q
    for (s, y), weight in zip(kept, reversed(weights), strict=True):
        r += s * (weight - y @ r / (y @ s))
    np.testing.assert_allclose(plan._direction(net.state, gradient), -r, rtol=1e-10)


@pytest.mark.parametrize("optimizer", ["lm", "br", "lbfgs"])
def test_a_training_without_a_step_has_figures_without_epochs(optimizer: str) -> None:
    net = tn.Sequential(tn.Linear(1, 1, weight_init=0.0), dtype="float64", backend="numpy")
    history = net.fit(np.zeros((4, 1)), np.zeros((4, 1)), optimizer=optimizer, metrics="mae", epochs=3)
    assert len(history) == 0
    assert history["loss"] == history["mae"] == []
    many = tn.Ensemble(net, 2).fit(np.zeros((4, 1)), np.zeros((4, 1)), optimizer=optimizer, epochs=3)
    assert many["loss"].shape == (len(many), 2)
