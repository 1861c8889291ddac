"""Layers with ``trainable = False``: nothing of them is changed, remembered or differentiated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinynet_kernels.cpu.generated.table import Sources

import tinynet as tn
from tinynet.backends.numba.generated import GeneratedPlan

RNG = np.random.default_rng(9)
X = RNG.normal(size=(40, 3))
Y = X[:, :1] ** 2
WIDTHS = (3, 5, 4, 1)
LINEAR = (0, 2, 4)
"""Places of the linear layers in ``network``."""

OPTIMIZERS: dict[str, Callable[[], tn.Optimizer]] = {
    "sgd": lambda: tn.SGD(0.1),
    "momentum": lambda: tn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda: tn.Adam(0.01, weight_decay=0.1, clip_norm=0.5),
    "adamw": lambda: tn.AdamW(0.01, weight_decay=0.2),
    "rmsprop": lambda: tn.RMSprop(0.01, momentum=0.9, centered=True, clip_value=0.1),
}
PLANS = {"numpy": "loop: frozen layer", "numba": "fused: whole epochs in generated code, products from tiles"}
FROZEN = [(0,), (2,), (4,), (0, 2), (0, 4), (2, 4)]


def network(frozen: Sequence[int] = (), backend: str = "numpy", **options: Any) -> tn.Sequential:
    layers = [tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 4), tn.Tanh(), tn.Linear(4, 1)]
    net = tn.Sequential(layers, **{"seed": 0, "backend": backend, "dtype": "float64", **options})
    for i in frozen:
        net.layers[i].trainable = False
    return net


def same(before: list[Any], after: list[Any]) -> list[bool]:
    """Tell of each linear layer whether none of its bits is another one."""
    pairs = [a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True)]
    assert pairs[::2] == pairs[1::2]
    return pairs[::2]


# -- an independent trainer ------------------------------------------------------------------------------------------


def gradients(weights: list[Any], x: Any, y: Any) -> list[Any]:
    """Return the gradients of the mean squared error of a network of two hidden layers of tanh."""
    w1, b1, w2, b2, w3, b3 = weights
    h1 = np.tanh(x @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    d3 = 2.0 * (h2 @ w3 + b3 - y) / y.size
    d2 = (d3 @ w3.T) * (1.0 - h2**2)
    d1 = (d2 @ w2.T) * (1.0 - h1**2)
    return [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]


def stepped(weights: list[Any], frozen: Sequence[int], n_steps: int) -> list[Any]:
    """Return the weights after steps of Nesterov's momentum, with decay and clipping, of what is trained."""
    trained = [i for i in range(6) if LINEAR[i // 2] not in frozen]
    velocity = dict.fromkeys(trained, 0.0)
    weights = [np.array(array) for array in weights]
    for _ in range(n_steps):
        found = gradients(weights, X, Y)
        norm = np.sqrt(sum(float((found[i] ** 2).sum()) for i in trained))
        for i in trained:
            g = found[i] * min(1.0, 0.3 / (norm + 1e-6)) + 0.1 * weights[i]
            velocity[i] = 0.9 * velocity[i] + g
            weights[i] = weights[i] - 0.05 * (g + 0.9 * velocity[i])
    return weights


@pytest.mark.parametrize("frozen", [(), *FROZEN], ids=str)
def test_what_is_left_is_trained_as_by_hand(frozen: tuple[int, ...], backend: str) -> None:
    net = network(frozen, backend)
    expected = stepped(net.get_weights(), frozen, 6)
    optimizer = tn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1, clip_norm=0.3)
    net.fit(X, Y, optimizer=optimizer, epochs=6, batch_size=len(X), shuffle=False)
    for got, want in zip(net.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-14)


RAGGED: dict[str, Callable[[], list[tn.Layer]]] = {
    "normalized": lambda: [tn.Normalize(3).adapt(X), tn.Linear(3, 5), tn.Linear(5, 4, bias=False), tn.Linear(4, 1)],
    "dropped": lambda: [tn.Linear(3, 9), tn.Dropout(0.3), tn.Linear(9, 5), tn.Softmax(), tn.Linear(5, 1), tn.SiLU()],
}


CALM: dict[str, Callable[[], tn.Optimizer]] = {
    "sgd": lambda: tn.SGD(0.002),
    "momentum": lambda: tn.SGD(0.002, momentum=0.5, nesterov=True, weight_decay=0.1, clip_norm=0.5),
    "adam": lambda: tn.Adam(0.01, weight_decay=0.1, clip_value=0.5),
    "rmsprop": lambda: tn.RMSprop(0.001, momentum=0.5),
}
"""What does not make much of roundings."""


@pytest.mark.parametrize("kind", CALM)
@pytest.mark.parametrize("name", RAGGED)
def test_backends_agree_on_any_choice_of_layers_and_size_of_batch(name: str, kind: str) -> None:
    places = [i for i, layer in enumerate(RAGGED[name]()) if isinstance(layer, tn.Linear)]
    x = np.resize(X, (300, 3)) + np.linspace(0, 1, 300)[:, None]
    for frozen in [*[(i,) for i in places], tuple(places[:2]), tuple(places[1:]), (places[0], places[2])]:
        for batch in (7, 280):  # In one piece, and in ranges.
            found = []
            for backend in PLANS:
                net = tn.Sequential(RAGGED[name](), seed=0, backend=backend, dtype="float64")
                for i in frozen:
                    net.layers[i].trainable = False
                net.fit(x, x[:, :1], optimizer=CALM[kind](), epochs=2, batch_size=batch)
                found.append(np.concatenate([net.flat_parameters(), net.state.moments.ravel()]))
            np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("frozen", [(0,), (0, 2), (2,), (4,)], ids=str)
def test_generated_code_does_nothing_below_the_first_layer_that_is_trained(frozen: tuple[int, ...]) -> None:
    net = network(frozen, "numba")
    plan = net.plan(tn.MeanSquaredError(), tn.Adam(), Y, 8, "epoch")
    assert isinstance(plan, GeneratedPlan)
    steps = [step.kernel for step in plan._training_task(Sources("<f8", "<f8"), 8, dense=True)._table.parts["rows"]]
    n_passed = 2 - min(i for i in range(3) if LINEAR[i] not in frozen)
    assert steps.count("gradient") == 3 - len(frozen)
    assert steps.count("transposition") == steps.count("tanh_backward") == n_passed


@pytest.mark.parametrize("frozen", FROZEN, ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_frozen_weights_keep_their_bits(kind: str, frozen: tuple[int, ...], backend: str) -> None:
    net, optimizer = network(frozen, backend, dtype="float32"), OPTIMIZERS[kind]()
    before = net.get_weights()
    history = net.fit(X, Y, optimizer=optimizer, epochs=3, batch_size=16)
    assert same(before, net.get_weights()) == [i in frozen for i in LINEAR]
    n_trained = sum((n + 1) * m for i, n, m in zip(LINEAR, WIDTHS[:-1], WIDTHS[1:], strict=True) if i not in frozen)
    assert net.state.moments.shape == (optimizer.n_moments, n_trained)
    assert history.plan.startswith(PLANS[backend])


def test_a_frozen_beginning_costs_no_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network((0, 2))
    kernels, calls = net.backend.kernels, []
    whole = kernels.linear_backward
    monkeypatch.setattr(kernels, "linear_backward", lambda *given: (calls.append(given), whole(*given)))
    net.fit(X, Y, batch_size=len(X))
    ((_, _, _, dw, _, dx),) = calls
    assert dw is not None
    assert dx is None


def test_a_frozen_layer_in_the_middle_is_gone_through_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network((2,))
    kernels, calls = net.backend.kernels, []
    whole = kernels.linear_backward
    monkeypatch.setattr(kernels, "linear_backward", lambda *given: (calls.append(given), whole(*given)))
    net.fit(X, Y, batch_size=len(X))
    assert [(dw is None, db is None, dx is None) for _, _, _, dw, db, dx in calls] == [
        (False, False, False),
        (True, True, False),
        (False, False, True),
    ]


# -- turning it on and off -------------------------------------------------------------------------------------------


def test_freezing_acts_from_the_next_fit_on_and_the_optimizer_starts_afresh() -> None:
    net, optimizer = network(), tn.Adam(0.01)
    net.fit(X, Y, optimizer=optimizer)
    assert net.state.step == 2
    net.layers[0].trainable = False
    before = net.get_weights()
    net.fit(X, Y, optimizer=optimizer)
    assert net.state.step == 2
    assert same(before, net.get_weights()) == [True, False, False]
    net.layers[0].trainable = True
    net.fit(X, Y, optimizer=optimizer)
    assert same(before, net.get_weights()) == [False, False, False]


def test_other_layers_of_the_same_size_are_another_memory() -> None:
    net, optimizer = tn.Sequential(tn.Linear(3, 3), tn.Linear(3, 3), seed=0, backend="numpy"), tn.Adam()
    for i in (0, 1):
        net.layers[i].trainable, net.layers[1 - i].trainable = False, True
        net.fit(X, X, optimizer=optimizer)
        assert net.state.step == 2


def test_a_callback_that_freezes_does_so_for_the_next_fit() -> None:
    net, plain = network(), network()
    plain.fit(X, Y, epochs=2)

    def freeze(epoch: int, logs: Any) -> None:
        net.layers[0].trainable = False

    net.fit(X, Y, epochs=2, callbacks=tn.LambdaCallback(on_epoch_end=freeze))
    np.testing.assert_array_equal(net.flat_parameters(), plain.flat_parameters())


def test_a_whole_model_is_frozen_and_says_so() -> None:
    net = network()
    net.trainable = False
    before = net.get_weights()
    with pytest.warns(UserWarning, match="every layer with parameters is frozen, so nothing is trained"):
        history = net.fit(X, Y, optimizer=tn.AdamW(), epochs=2)
    assert same(before, net.get_weights()) == [True] * 3
    assert history["loss"][0] == pytest.approx(history["loss"][1])
    assert not net.trainable
    net.trainable = True
    assert net.frozen == ()


@pytest.mark.parametrize("value", [0, "no", None])
def test_trainable_is_true_or_false(value: Any) -> None:
    layer = tn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"Linear\.trainable must be True or False"):
        layer.trainable = value
    assert layer.trainable


# -- custom layers, loops by hand, other optimizers ------------------------------------------------------------------


class Factor(tn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("factor", (1,), init=1.5)
        self.backs = 0

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.factor

    def backward(self, grad: Any) -> Any:
        self.backs += 1
        self.factor_grad[...] = (grad * self.x).sum()
        return grad * self.factor


@pytest.mark.parametrize("place", [0, 2])
def test_custom_layers(place: int, backend: str) -> None:
    layers: list[tn.Layer] = [tn.Linear(3, 4), tn.Linear(4, 1)]
    layer = Factor()
    layers.insert(place, layer)
    net = tn.Sequential(layers, seed=0, backend=backend)
    layer.trainable = False
    net.fit(X, Y, optimizer=tn.AdamW(), epochs=2, batch_size=20)
    assert layer.factor == 1.5
    # Behind the layers that are trained it is gone through; before them nobody asks.
    assert layer.backs == (0 if place == 0 else 4)


def test_a_loop_by_hand(backend: str) -> None:
    net, optimizer = network((0, 4), backend), tn.SGD(0.1, momentum=0.9)
    before = net.get_weights()
    for _ in range(2):
        y = net.forward(X)
        net.backward(np.ones_like(y))
        assert not net.layers[0].weight_grad.any()
        assert net.layers[2].weight_grad.any()
        optimizer.step(net)
    assert same(before, net.get_weights()) == [True, False, True]


def test_a_layer_by_itself() -> None:
    layer = tn.Linear(3, 2).build(backend="numpy")
    layer.trainable = False
    layer.backward(np.ones_like(layer.forward(X)))
    assert not layer.weight_grad.any()


@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 4)], ids=str)
@pytest.mark.parametrize("kind", [tn.LevenbergMarquardt, tn.LBFGS, tn.BayesianRegularization])
def test_optimizers_of_second_order(kind: Any, frozen: tuple[int, ...]) -> None:
    net = network(frozen)
    before = net.get_weights()
    history = net.fit(X, Y, optimizer=kind(), epochs=20)
    assert same(before, net.get_weights()) == [i in frozen for i in LINEAR]
    assert history["loss"][-1] < history["loss"][0]


def test_levenberg_marquardt_on_a_frozen_beginning_is_that_of_the_rest() -> None:
    net = network((0, 2))
    rest = tn.Sequential(tn.Linear(4, 1), dtype="float64", backend="numpy", initial_values=net.flat_parameters()[-5:])
    w1, b1, w2, b2 = net.get_weights()[:4]
    features = np.tanh(np.tanh(X @ w1 + b1) @ w2 + b2)
    for each, x in ((net, X), (rest, features)):
        each.fit(x, Y, optimizer=tn.LevenbergMarquardt(), epochs=5)
    np.testing.assert_allclose(net.flat_parameters()[-5:], rest.flat_parameters(), rtol=1e-8)


def test_second_order_needs_something_to_train() -> None:
    net = network(LINEAR)
    with pytest.raises(ValueError, match=r"expects parameters that it can train; got none.*trainable = True"):
        net.fit(X, Y, optimizer=tn.LBFGS())


# -- many models -----------------------------------------------------------------------------------------------------


def test_the_models_of_an_ensemble_keep_the_frozen_weights_of_the_network(backend: str) -> None:
    net = network((0,), backend)
    net.layers[0].weight[...] = 0.25
    models = tn.Ensemble(net, 3)
    assert (models.get_weights()[0] == 0.25).all()
    assert not (models.get_weights()[2] == models.get_weights()[2][0]).all()
    alone = [models[i] for i in range(3)]
    history = models.fit(X, Y, optimizer=tn.AdamW([0.01, 0.02, 0.03]), epochs=3)
    assert history.plan.startswith(f"model by model: {PLANS[backend]}")
    assert models.state.moments.shape == (2, 3, net.n_parameters - 20)
    for i, single in enumerate(alone):
        single.fit(X, Y, optimizer=tn.AdamW(0.01 * (i + 1)), epochs=3)
        np.testing.assert_array_equal(models.state.parameters[i], single.state.parameters)
    assert (models.get_weights()[0] == 0.25).all()
    assert models[1:].frozen == tn.Ensemble.concatenate([models, models]).frozen == (0,)


def test_ensembles_are_joined_with_others_that_are_frozen_alike() -> None:
    with pytest.raises(ValueError, match="frozen or not"):
        tn.Ensemble.concatenate([tn.Ensemble(network((0,)), 2), tn.Ensemble(network(), 2)])


# -- what keeps it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
def test_files_keep_it(name: str, tmp_path: Path) -> None:
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    network((0, 4)).save(tmp_path / name)
    assert tn.load(tmp_path / name).frozen == (0, 4)
    models = tn.Ensemble(network((2,)), 2)
    models.save(tmp_path / "models.npz")
    assert tn.Ensemble.load(tmp_path / "models.npz").frozen == (2,)


def test_copies_keep_it() -> None:
    net = network((2,))
    net.fit(X, Y, optimizer=tn.Adam(0.01))
    assert net.clone().frozen == (2,)
    other = copy.deepcopy(net)
    for each in (net, other):
        each.fit(X, Y, optimizer=each.optimizer)
    np.testing.assert_array_equal(other.flat_parameters(), net.flat_parameters())


def test_the_summary_shows_it() -> None:
    lines: list[str] = []
    network((0,)).summary(lines.append)
    assert "0  Linear(3, 5)  (batch, 5)  20 frozen" in lines[0]
    assert "49 parameters (29 of them trained)" in lines[0]
    assert "20 frozen" in network((0,))._repr_html_()


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_checkpoint_resumes_with_it_and_with_nothing_else(many: bool, tmp_path: Path) -> None:
    def make(frozen: Sequence[int]) -> Any:
        net = network(frozen)
        return tn.Ensemble(net, 2) if many else net

    def train(model: Any, epochs: int, **options: Any) -> None:
        checkpoint = tn.Checkpoint(tmp_path / "run.npz", every=2)
        model.fit(X, Y, optimizer=tn.AdamW(0.01), epochs=epochs, callbacks=checkpoint, **options)

    whole, resumed = make((0,)), make((0,))
    train(whole, 4)
    train(make((0,)), 2)
    train(resumed, 4, resume_from=tmp_path / "run.npz")
    np.testing.assert_array_equal(resumed.state.parameters, whole.state.parameters)
    with pytest.raises(tn.ResumeError, match="layer 0"):
        train(make(()), 6, resume_from=tmp_path / "run.npz")


def test_predictions_and_derivatives_are_those_of_all_layers(backend: str) -> None:
    net, plain = network((0,), backend), network((), backend)
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))
    assert net.jacobian(X).any()
    assert tn.gradient_check(net, X[:4], Y[:4]).passed
