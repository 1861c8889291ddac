"""Layers that standardise, skip and embed train as PyTorch's, running statistics included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
pytestmark = pytest.mark.peers

nn, optim = torch.nn, torch.optim
RNG = np.random.default_rng(5)
X = np.hstack([RNG.normal(1.0, 2.0, (42, 3)), RNG.integers(0, 4, (42, 1)), RNG.normal(size=(42, 1))])
Y = RNG.normal(size=(42, 2))


class Skip(nn.Module):
    """A way around modules, as people write it."""

    def __init__(self, *modules: Any, n_in: int, n_out: int) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)
        self.inner = modules
        if n_in != n_out:
            self.projection = nn.Linear(n_in, n_out, bias=False)

    def forward(self, x: Any) -> Any:
        y = x
        for module in self.inner:
            y = module(y)
        return y + (self.projection(x) if hasattr(self, "projection") else x)


class Embedded(nn.Module):
    """Vectors in the place of column 3."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)

    def forward(self, x: Any) -> Any:
        return torch.cat([x[:, :3], self.table(x[:, 3].long()), x[:, 4:]], dim=1)


PAIRS: dict[str, tuple[Callable[[], list[tn.Layer]], Callable[[], Any]]] = {
    "LayerNorm": (
        lambda: [tn.Linear(5, 6), tn.LayerNorm(6, eps=1e-3), tn.Tanh(), tn.Linear(6, 2)],
        lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6, eps=1e-3), nn.Tanh(), nn.Linear(6, 2)),
    ),
    "BatchNorm1d": (
        lambda: [tn.BatchNorm(5, momentum=0.3), tn.Linear(5, 6), tn.BatchNorm(6, eps=1e-3), tn.Tanh(), tn.Linear(6, 2)],
        lambda: nn.Sequential(
            nn.BatchNorm1d(5, momentum=0.3), nn.Linear(5, 6), nn.BatchNorm1d(6, eps=1e-3), nn.Tanh(), nn.Linear(6, 2)
        ),
    ),
    "without weights": (
        lambda: [tn.BatchNorm(5, affine=False), tn.LayerNorm(5, affine=False), tn.Linear(5, 2)],
        lambda: nn.Sequential(
            nn.BatchNorm1d(5, affine=False), nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 2)
        ),
    ),
    "Residual": (
        lambda: [
            tn.Residual(tn.Linear(5, 6), tn.BatchNorm(6), tn.ReLU()),
            tn.Residual(tn.Linear(6, 6), tn.Tanh()),
            tn.Linear(6, 2),
        ],
        lambda: nn.Sequential(
            Skip(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), n_in=5, n_out=6),
            Skip(nn.Linear(6, 6), nn.Tanh(), n_in=6, n_out=6),
            nn.Linear(6, 2),
        ),
    ),
    "Embedding": (
        lambda: [tn.Embedding(4, 3, columns=[3], n_in=5), tn.Linear(7, 2)],
        lambda: nn.Sequential(Embedded(), nn.Linear(7, 2)),
    ),
}
OPTIMIZERS: dict[str, tuple[Callable[[], tn.Optimizer], Callable[[Any], Any]]] = {
    "sgd": (
        lambda: tn.SGD(0.05, momentum=0.9, weight_decay=0.1),
        lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    ),
    "adamw": (lambda: tn.AdamW(0.01), lambda p: optim.AdamW(p, lr=0.01)),
}


def named(model: Any) -> dict[str, Any]:
    """Return PyTorch's arrays by their names, without what counts batches."""
    return {name: value for name, value in model.state_dict().items() if "num_batches" not in name}


def turned(name: str, array: Any) -> Any:
    """Return an array as the other library has it: weights of linear layers are transposed."""
    return array.T if array.ndim == 2 and "table" not in name else array


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", PAIRS)
def test_layers_train_as_in_pytorch(name: str, kind: str, backend: str) -> None:
    make, make_theirs = PAIRS[name]
    net, model = tn.Sequential(make(), seed=0, dtype="float64", backend=backend), make_theirs().double()
    theirs = named(model)
    assert [each.replace("table.", "") for each in theirs] == net.parameter_names
    with torch.no_grad():
        for (key, parameter), value in zip(theirs.items(), net.get_weights(), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(turned(key, value))))
    ours, other = OPTIMIZERS[kind]
    net.fit(X, Y, optimizer=ours(), epochs=3, batch_size=14, shuffle=False)
    step = other(model.parameters())
    for start in [0, 14, 28] * 3:
        x, y = (torch.from_numpy(array[start : start + 14]) for array in (X, Y))
        step.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        step.step()
    for (key, want), got in zip(named(model).items(), net.get_weights(), strict=True):
        np.testing.assert_allclose(got, turned(key, want.detach().numpy()), rtol=1e-8, atol=1e-9, err_msg=key)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-8, atol=1e-9)
