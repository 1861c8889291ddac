"""Networks of tinynet predict the same in PyTorch and Keras."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

pytestmark = pytest.mark.peers
os.environ.setdefault("KERAS_BACKEND", "torch")

X = np.random.default_rng(2).normal(size=(50, 4)) * 3 + 1
ATOL = {"float32": 2e-6, "float64": 1e-12}
ACTIVATIONS: dict[str, Callable[[], tn.Layer]] = {
    "Identity": tn.Identity,
    "Sigmoid": tn.Sigmoid,
    "Tanh": tn.Tanh,
    "ReLU": tn.ReLU,
    "LeakyReLU": lambda: tn.LeakyReLU(0.3),
    "ELU": lambda: tn.ELU(0.7),
    "GELU": tn.GELU,
    "SiLU": tn.SiLU,
    "Softplus": tn.Softplus,
    "Softmax": tn.Softmax,
    "Dropout": lambda: tn.Dropout(0.4),
}


X_LEVELS = np.insert(X, 2, np.random.default_rng(3).integers(0, 3, 50), axis=1)
NORMS: dict[str, Callable[[], tn.Layer]] = {
    "LayerNorm": lambda: tn.LayerNorm(5, eps=1e-3),
    "BatchNorm": lambda: tn.BatchNorm(5, eps=1e-3, momentum=0.3),
    "without weights": lambda: tn.BatchNorm(5, affine=False),
}
SKIPS: dict[str, Callable[[], tn.Layer]] = {
    "Residual": lambda: tn.Residual(tn.Linear(5, 4), tn.BatchNorm(4), tn.Tanh(), tn.Linear(4, 5)),
    "projected": lambda: tn.Residual(tn.Linear(5, 5), tn.Residual(tn.LayerNorm(5), tn.Dropout(0.2))),
}


def learned(layer: tn.Layer, dtype: str) -> tn.Sequential:
    """A network whose norms have seen batches."""
    net = network(layer, dtype)
    net.fit(X, X[:, :3], epochs=2, optimizer=tn.Adam(0.05))
    return net


def network(layer: tn.Layer, dtype: str) -> tn.Sequential:
    return tn.Sequential(
        tn.Normalize(4).adapt(X),
        tn.Linear(4, 5),
        layer,
        tn.Linear(5, 3, bias=False),
        tn.Denormalize(3).adapt(X[:, :3] / 4),
        seed=0,
        dtype=dtype,
        backend="numpy",
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pytorch_predicts_the_same(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = network(ACTIVATIONS[name](), dtype)
    module, x = net.to_torch(), X.astype(dtype)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, net.predict(x), rtol=0, atol=ATOL[dtype])


def test_modules_are_pytorchs_own_and_come_back() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 1), seed=0, backend="numpy")
    net.layers[0].trainable = False
    module = net.to_torch()
    assert [type(one) for one in module] == [torch.nn.Linear, torch.nn.Tanh, torch.nn.Linear]
    assert [parameter.requires_grad for parameter in module.parameters()] == [False, False, True, True]
    x = X.astype("float32")
    before = net.predict(x)
    np.testing.assert_array_equal(tn.from_torch(module, backend="numpy").predict(x), before)
    with torch.no_grad():
        module[0].weight.fill_(0.0)
    np.testing.assert_array_equal(net.predict(x), before)


def test_pytorch_standardises_columns_far_from_zero_as_exactly() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    x = 1.7e9 + np.random.default_rng(0).uniform(0, 1000, (20, 2))
    net = tn.Sequential(tn.Normalize(2).adapt(x), tn.Linear(2, 1), seed=0, backend="numpy")
    found = net.to_torch()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, net.predict(x), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's, of PyTorch's parameters.
@pytest.mark.parametrize("name", [*ACTIVATIONS, "Exp"])
def test_keras_predicts_the_same(name: str) -> None:
    pytest.importorskip("keras", reason="Keras is not installed: pip install keras (the extra `peers`)")
    net = network(tn.Exp() if name == "Exp" else ACTIVATIONS[name](), "float32")
    model, x = net.to_keras(), X.astype("float32")
    found = np.asarray(model.predict_on_batch(x))
    np.testing.assert_allclose(found, net.predict(x), rtol=2e-6, atol=ATOL["float32"])
    assert model.count_params() == 4 * 5 + 5 + 5 * 3


class Doubled(tn.Linear):
    """A subclass computes what it likes."""


@pytest.mark.parametrize("who", ["to_torch", "to_keras"])
@pytest.mark.parametrize("make", [lambda: tn.Activation(lambda z: z * z), lambda: Doubled(4, 4)])
def test_layers_that_others_do_not_have_are_refused_by_name(who: str, make: Callable[[], tn.Layer]) -> None:
    pytest.importorskip("torch" if who == "to_torch" else "keras", reason="not installed (the extra `peers`)")
    convert: Any = getattr(tn.Sequential(tn.Linear(4, 4), make(), backend="numpy"), who)
    with pytest.raises(NotImplementedError, match=rf"{who} cannot write (Activation|Doubled|Linear)"):
        convert()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*NORMS, *SKIPS])
def test_norms_and_residuals_predict_the_same_in_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = learned((NORMS | SKIPS)[name](), dtype)
    module = net.to_torch()
    with torch.no_grad():
        found = module(torch.from_numpy(X.astype(dtype))).numpy()
    np.testing.assert_allclose(found, net.predict(X), rtol=0, atol=20 * ATOL[dtype])
    if name in NORMS:
        alone = tn.Sequential(*[layer.fresh_copy() for layer in net.layers[1:4]], dtype=dtype, backend="numpy")
        alone.set_weights(net.get_weights())
        again = tn.from_torch(alone.to_torch(), backend="numpy")
        np.testing.assert_array_equal(again.predict(X[:, :4]), alone.predict(X[:, :4]))


def test_an_embedding_predicts_the_same_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = tn.Sequential(tn.Embedding(3, 2, columns=[2], n_in=5), tn.Linear(6, 2), seed=0, backend="numpy")
    x = X_LEVELS.astype("float32")
    found = net.to_torch()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, net.predict(x), rtol=0, atol=ATOL["float32"] * 5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's, of PyTorch's parameters.
@pytest.mark.parametrize("name", NORMS)
def test_norms_predict_the_same_in_keras(name: str) -> None:
    pytest.importorskip("keras", reason="Keras is not installed: pip install keras (the extra `peers`)")
    net = learned(NORMS[name](), "float32")
    found = np.asarray(net.to_keras().predict_on_batch(X.astype("float32")))
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-5, atol=2e-5)


def test_a_residual_that_holds_what_pytorch_does_not_have_is_refused() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    net = tn.Sequential(tn.Residual(tn.Linear(4, 4), tn.Activation(lambda z: z * z)), backend="numpy")
    with pytest.raises(NotImplementedError, match="to_torch cannot write Activation"):
        net.to_torch()
