"""Trainings equal PyTorch's from the same weights and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
pytestmark = pytest.mark.peers

N, BATCH, EPOCHS = 45, 10, 6
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, 4))
TARGETS: dict[str, Any] = {
    "values": RNG.normal(size=(N, 3)) * 2.0,
    "bits": RNG.integers(0, 2, size=(N, 3)).astype(float),
    "labels": RNG.integers(0, 3, size=N),
    "rows": RNG.dirichlet(np.ones(3), size=N),
}

nn, optim = torch.nn, torch.optim
ACTIVATIONS: dict[str, tuple[Callable[[], tn.Layer], Callable[[], Any]]] = {
    "sigmoid": (tn.Sigmoid, nn.Sigmoid),
    "tanh": (tn.Tanh, nn.Tanh),
    "relu": (tn.ReLU, nn.ReLU),
    "leaky_relu": (tn.LeakyReLU, nn.LeakyReLU),
    "elu": (lambda: tn.ELU(1.3), lambda: nn.ELU(1.3)),
    "gelu": (tn.GELU, nn.GELU),
    "silu": (tn.SiLU, nn.SiLU),
    # PyTorch takes softplus(x) = x above a threshold; at 40 that is exact in float64.
    "softplus": (tn.Softplus, lambda: nn.Softplus(threshold=40)),
    "softmax": (tn.Softmax, lambda: nn.Softmax(dim=1)),
}
LOSSES: dict[str, tuple[tn.Loss, Any, str]] = {
    "mse": (tn.MeanSquaredError(), nn.MSELoss(), "values"),
    "mse-sum": (tn.MeanSquaredError(reduction="sum"), nn.MSELoss(reduction="sum"), "values"),
    "mae": (tn.MeanAbsoluteError(), nn.L1Loss(), "values"),
    "huber": (tn.Huber(delta=0.6), nn.HuberLoss(delta=0.6), "values"),
    "bce-logits": (tn.BinaryCrossEntropy(from_logits=True), nn.BCEWithLogitsLoss(), "bits"),
    "cross-entropy": (tn.CrossEntropy(), nn.CrossEntropyLoss(), "labels"),
    "cross-entropy-rows": (tn.CrossEntropy(), nn.CrossEntropyLoss(), "rows"),
}
OPTIMIZERS: dict[str, tuple[Callable[[], tn.Optimizer], Callable[[Any], Any]]] = {
    "gentle": (lambda: tn.SGD(0.001, momentum=0.5), lambda p: optim.SGD(p, lr=0.001, momentum=0.5)),
    "sgd": (lambda: tn.SGD(0.05), lambda p: optim.SGD(p, lr=0.05)),
    "momentum": (lambda: tn.SGD(0.02, momentum=0.9), lambda p: optim.SGD(p, lr=0.02, momentum=0.9)),
    "nesterov": (
        lambda: tn.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "adam": (lambda: tn.Adam(0.01), lambda p: optim.Adam(p, lr=0.01)),
    "adam-decay": (
        lambda: tn.Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.1),
        lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    ),
    "adamw": (lambda: tn.AdamW(0.01), lambda p: optim.AdamW(p, lr=0.01)),
    "rmsprop": (lambda: tn.RMSprop(), lambda p: optim.RMSprop(p)),
    "rmsprop-all": (
        lambda: tn.RMSprop(0.005, alpha=0.9, epsilon=1e-5, weight_decay=0.05, momentum=0.5, centered=True),
        lambda p: optim.RMSprop(p, lr=0.005, alpha=0.9, eps=1e-5, weight_decay=0.05, momentum=0.5, centered=True),
    ),
}


def pair(activation: str, backend: str) -> tuple[tn.Sequential, Any]:
    """Two networks with the same weights."""
    ours, theirs = ACTIVATIONS[activation]
    net = tn.Sequential(tn.Linear(4, 6), ours(), tn.Linear(6, 3), dtype="float64", seed=2, backend=backend)
    model = nn.Sequential(nn.Linear(4, 6), theirs(), nn.Linear(6, 3)).double()
    w1, b1, w2, b2 = net.get_weights()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (w1.T, b1, w2.T, b2), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return net, model


def train_torch(
    model: Any,
    loss: Any,
    optimizer: Any,
    y: np.ndarray,
    orders: list[np.ndarray],
    clip: Callable[[], Any] | None = None,
) -> list[float]:
    x, targets = torch.from_numpy(X), torch.from_numpy(y)
    losses = []
    for order in orders:
        total = 0.0
        for start in range(0, N, BATCH):
            rows = torch.from_numpy(order[start : start + BATCH])
            optimizer.zero_grad()
            value = loss(model(x[rows]), targets[rows])
            value.backward()
            if clip is not None:
                clip()
            optimizer.step()
            total += value.item() * (len(rows) if loss.reduction == "mean" else 1)
        losses.append(total / N if loss.reduction == "mean" else total)
    return losses


def orders_of(net: tn.Sequential) -> list[np.ndarray]:
    """The sample orders that ``fit`` will draw."""
    rng = np.random.default_rng()
    rng.bit_generator.state = net.rng.bit_generator.state
    return [rng.permutation(N) for _ in range(EPOCHS)]


def assert_equal_trainings(activation: str, loss: str, optimizer: str, backend: str) -> None:
    net, model = pair(activation, backend)
    ours, theirs, target = LOSSES[loss]
    y = TARGETS[target]
    make, make_theirs = OPTIMIZERS[optimizer]
    orders = orders_of(net)
    expected = train_torch(model, theirs, make_theirs(model.parameters()), y, orders)
    history = net.fit(X, y, loss=ours, optimizer=make(), epochs=EPOCHS, batch_size=BATCH)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-10)
    weights = [parameter.detach().numpy().T for parameter in model.parameters()]
    for own, other in zip(net.get_weights(), weights, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_decay_by_parameter_is_pytorchs_groups_of_parameters(kind: str, backend: str) -> None:
    net, model = pair("tanh", backend)
    weights, biases = [0, 2], [1, 3]
    parameters = list(model.parameters())
    assert [name for name, _ in model.named_parameters()] == net.parameter_names
    groups = [
        {"params": [parameters[i] for i in weights], "weight_decay": 0.3},
        {"params": [parameters[i] for i in biases], "weight_decay": 0.0},
    ]
    orders = orders_of(net)
    train_torch(model, nn.MSELoss(), getattr(optim, kind)(groups, lr=0.01), TARGETS["values"], orders)
    optimizer = getattr(tn, kind)(0.01, weight_decay=lambda name: 0.3 * name.endswith("weight"))
    net.fit(X, TARGETS["values"], optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH)
    for own, other in zip(net.get_weights(), parameters, strict=True):
        np.testing.assert_allclose(own, other.detach().numpy().T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_loss_trains_as_in_pytorch(activation: str, loss: str) -> None:
    assert_equal_trainings(activation, loss, "gentle", "numpy")


# Compiling takes seconds, so here not every activation meets every loss.
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_compiled_activation_trains_as_in_pytorch(activation: str) -> None:
    assert_equal_trainings(activation, "mse", "gentle", "numba")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_compiled_loss_trains_as_in_pytorch(loss: str) -> None:
    assert_equal_trainings("tanh", loss, "gentle", "numba")


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_as_in_pytorch(optimizer: str, loss: str, backend: str) -> None:
    assert_equal_trainings("tanh", loss, optimizer, backend)


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_clipping_is_pytorchs(kind: str, backend: str) -> None:
    net, model = pair("tanh", backend)
    parameters = list(model.parameters())
    clips: dict[str, Callable[[], Any]] = {
        "norm": lambda: nn.utils.clip_grad_norm_(parameters, 0.1),
        "value": lambda: nn.utils.clip_grad_value_(parameters, 0.01),
    }
    orders = orders_of(net)
    expected = train_torch(
        model, nn.MSELoss(), optim.SGD(parameters, lr=0.5), TARGETS["values"], orders, clip=clips[kind]
    )
    limits = {"norm": {"clip_norm": 0.1}, "value": {"clip_value": 0.01}}[kind]
    history = net.fit(X, TARGETS["values"], optimizer=tn.SGD(0.5, **limits), epochs=EPOCHS, batch_size=BATCH)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-10)


def test_sigmoid_with_binary_cross_entropy_is_pytorchs(backend: str) -> None:
    net = tn.Sequential(tn.Linear(4, 3), tn.Sigmoid(), dtype="float64", seed=0, backend=backend)
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()).double()
    weight, bias = net.get_weights()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(weight.T.copy()))
        model[0].bias.copy_(torch.from_numpy(bias))
    orders = orders_of(net)
    expected = train_torch(model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.01), TARGETS["bits"], orders)
    options = {"optimizer": tn.Adam(0.01), "epochs": EPOCHS, "batch_size": BATCH}
    history = net.fit(X, TARGETS["bits"], loss="bce", **options)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-10)


def test_a_step_schedule_is_pytorchs(backend: str) -> None:
    net, model = pair("tanh", backend)
    orders = orders_of(net)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    expected = []
    for order in orders:
        expected += train_torch(model, nn.MSELoss(), optimizer, TARGETS["values"], [order])
        scheduler.step()
    schedule = tn.StepDecay(0.1, every=2, factor=0.5)
    history = net.fit(X, TARGETS["values"], optimizer=tn.SGD(schedule), epochs=EPOCHS, batch_size=BATCH)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-10)
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
