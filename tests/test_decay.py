"""Weight decay by parameter: each decays by the number that a function gives for its name."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(4)
X = RNG.normal(size=(40, 3))
Y = X[:, :1] ** 2
DECAYS = {"0.weight": 0.3, "0.bias": 0.0, "2.weight": 0.0, "2.bias": 0.7, "4.weight": 0.2}
OPTIMIZERS: dict[str, Callable[[Any], tn.Optimizer]] = {
    "sgd": lambda decay: tn.SGD(0.05, weight_decay=decay),
    "momentum": lambda decay: tn.SGD(0.02, momentum=0.5, nesterov=True, weight_decay=decay, clip_norm=0.3),
    "adam": lambda decay: tn.Adam(0.01, weight_decay=decay, clip_value=0.5),
    "adamw": lambda decay: tn.AdamW(0.01, weight_decay=decay),
    "rmsprop": lambda decay: tn.RMSprop(0.002, momentum=0.5, weight_decay=decay),
}


def only_weights(name: str) -> float:
    return 0.1 * name.endswith("weight")


def layers() -> list[tn.Layer]:
    return [tn.Linear(3, 17), tn.Tanh(), tn.Linear(17, 4), tn.Tanh(), tn.Linear(4, 1, bias=False)]


def network(backend: str = "numpy", **options: Any) -> tn.Sequential:
    return tn.Sequential(layers(), **{"seed": 0, "backend": backend, "dtype": "float64", **options})


def test_names_are_those_of_pytorch() -> None:
    assert network().parameter_names == list(DECAYS)


def gradients(weights: list[Any]) -> list[Any]:
    """Return the gradients of the mean squared error."""
    w1, b1, w2, b2, w3 = weights
    h1 = np.tanh(X @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    d3 = 2.0 * (h2 @ w3 - Y) / Y.size
    d2 = (d3 @ w3.T) * (1.0 - h2**2)
    d1 = (d2 @ w2.T) * (1.0 - h1**2)
    return [X.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_each_parameter_decays_as_by_hand(kind: str, backend: str) -> None:
    net, decays = network(backend), list(DECAYS.values())
    weights = net.get_weights()
    first, second = [0.0] * 5, [0.0] * 5
    for t in range(1, 5):
        for i, g in enumerate(gradients(weights)):
            if kind == "sgd":
                weights[i] = weights[i] - 0.05 * (g + decays[i] * weights[i])
                continue
            first[i], second[i] = 0.9 * first[i] + 0.1 * g, 0.999 * second[i] + 0.001 * g**2
            step = first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
            weights[i] = weights[i] * (1 - 0.01 * decays[i]) - 0.01 * step
    net.fit(X, Y, optimizer=OPTIMIZERS[kind](DECAYS.get), epochs=4, batch_size=len(X), shuffle=False)
    for got, want in zip(net.get_weights(), weights, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("frozen", [(), (2,), (0, 4)], ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_generated_code_decays_as_the_loop_does(kind: str, frozen: tuple[int, ...]) -> None:
    found = []
    for backend in ("numpy", "numba"):
        net = network(backend)
        for i in frozen:
            net.layers[i].trainable = False
        history = net.fit(X, Y, optimizer=OPTIMIZERS[kind](DECAYS.get), epochs=3, batch_size=7)
        found.append(net.flat_parameters())
    assert history.plan.startswith("fused: whole epochs in generated code, products from tiles")
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_model_of_an_ensemble_decays_as_one_does(kind: str, backend: str) -> None:
    rates = [0.01, 0.02, 0.005]

    def optimizer(learning_rate: Any) -> tn.Optimizer:
        made = OPTIMIZERS[kind](DECAYS.get)
        return type(made)(**made.arguments() | {"learning_rate": learning_rate})

    models = tn.Ensemble(network(backend), 3)
    alone = [models[i] for i in range(3)]
    history = models.fit(X, Y, optimizer=optimizer(rates), epochs=3, batch_size=7)
    assert ("generated code" in history.plan) == (backend == "numba")
    for i, (net, rate) in enumerate(zip(alone, rates, strict=True)):
        net.fit(X, Y, optimizer=optimizer(rate), epochs=3, batch_size=7)
        np.testing.assert_allclose(models[i].flat_parameters(), net.flat_parameters(), rtol=1e-9, atol=1e-12)


def test_a_function_that_gives_all_the_same_is_a_number() -> None:
    assert tn.Adam(weight_decay=lambda name: 0.2).lower(list(DECAYS)) == tn.Adam(weight_decay=0.2).lower()


def test_the_small_network_of_registers_decays_too() -> None:
    found = []
    for backend in ("numpy", "numba"):
        net = tn.Sequential(tn.Linear(3, 2), tn.Tanh(), tn.Linear(2, 1), seed=0, dtype="float64", backend=backend)
        net.fit(X, Y, optimizer=tn.SGD(0.05, weight_decay=only_weights), epochs=2, batch_size=1)
        found.append(net.flat_parameters())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)


def test_a_step_by_hand_decays_and_leaves_the_gradients() -> None:
    net, optimizer = network(), tn.SGD(0.1, weight_decay=only_weights)
    before = net.get_weights()
    net.zero_grad()
    optimizer.step(net)
    assert not net.state.gradients.any()
    for name, old, new in zip(net.parameter_names, before, net.get_weights(), strict=True):
        np.testing.assert_allclose(new, old * (1 - 0.1 * only_weights(name)), rtol=1e-14)


def test_decays_are_part_of_what_a_checkpoint_goes_on_with(tmp_path: Path) -> None:
    def fit(decay: Any, epochs: int, **more: Any) -> tn.Sequential:
        net, optimizer, kept = network(), tn.Adam(0.01, weight_decay=decay), tn.Checkpoint(tmp_path / f"{epochs}.npz")
        net.fit(X, Y, optimizer=optimizer, epochs=epochs, batch_size=8, callbacks=[kept], **more)
        return net

    fit(only_weights, 2)
    whole = fit(only_weights, 4)
    resumed = fit(lambda name: only_weights(name), 4, resume_from=tmp_path / "2.npz")
    assert whole.flat_parameters().tobytes() == resumed.flat_parameters().tobytes()
    with pytest.raises(ValueError, match="weight_decay"):
        fit(lambda name: 0.1 * name.endswith("bias"), 4, resume_from=tmp_path / "2.npz")


@pytest.mark.parametrize("decay", [lambda name: -1.0, lambda name: None, lambda name: float("nan")])
def test_what_is_no_decay_is_refused_with_the_name(decay: Any) -> None:
    net = network()
    before = net.flat_parameters()
    with pytest.raises((TypeError, ValueError), match=r"weight_decay\('0.weight'\) must be"):
        net.fit(X, Y, optimizer=tn.SGD(0.1, weight_decay=decay), epochs=1)
    assert (net.flat_parameters() == before).all()


def test_a_model_that_was_trained_with_a_function_travels() -> None:
    net = network()
    net.fit(X, Y, optimizer=tn.Adam(weight_decay=only_weights), epochs=1)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.optimizer is not None
        assert other.optimizer.arguments()["weight_decay"] is only_weights


def test_a_linear_layer_can_be_frozen_from_the_start() -> None:
    net = tn.Sequential(tn.Linear(3, 4, trainable=False), tn.Tanh(), tn.Linear(4, 1), seed=0)
    before = net.get_weights()
    net.fit(X, Y, optimizer=tn.AdamW(0.1), epochs=2)
    after = net.get_weights()
    assert [(a == b).all() for a, b in zip(before, after, strict=True)] == [True, True, False, False]
    assert net.frozen == (0,)
    with pytest.raises(TypeError, match="trainable must be True or False"):
        tn.Linear(3, 4, trainable="no")  # type: ignore[arg-type]
