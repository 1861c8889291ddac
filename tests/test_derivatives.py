"""Derivatives of predictions: against central differences, and against one another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.layers import ACTIVATIONS

KINDS = sorted(ACTIVATIONS)


def net_of(kind: str, n_in: int = 3, n_out: int = 2, backend: str = "numpy", normalize: bool = False) -> tn.Sequential:
    first = [tn.Normalize(n_in).adapt(np.random.default_rng(5).normal(1, 3, (20, n_in)))] if normalize else []
    make = ACTIVATIONS[kind]
    layers = [tn.Linear(n_in, 5), make(), tn.Dropout(0.3), tn.Linear(5, 4, bias=False), make(), tn.Linear(4, n_out)]
    return tn.Sequential(*first, *layers, make(), dtype="float64", seed=3, backend=backend)


def samples(n: int = 6, n_in: int = 3) -> Any:
    return np.random.default_rng(7).normal(size=(n, n_in))


def difference(f: Any, x: Any, h: float = 1e-6) -> Any:
    """Central differences of ``f``, (n_samples, ...), by each input, as a last axis."""
    sides = []
    for j in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, j] = h
        sides.append((f(x + step) - f(x - step)) / (2 * h))
    return np.stack(sides, axis=-1)


@pytest.mark.parametrize("normalize", [False, True], ids=["", "normalized"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_jacobian_is_what_differences_show(kind: str, normalize: bool) -> None:
    net, x = net_of(kind, normalize=normalize), samples()
    np.testing.assert_allclose(net.jacobian(x), difference(net.predict, x), rtol=1e-6, atol=1e-8)


def derivatives_of(net: tn.Sequential, x: Any) -> dict[str, Any]:
    """Every derivative, of products with vectors that follow from the samples."""
    v, u = np.cos(x[:, :1] + np.arange(2)), np.sin(x)
    products = {"vjp": net.vjp(x, v.astype(x.dtype)), "jvp": net.jvp(x, u)}
    return products | {name: getattr(net, name)(x) for name in ("jacobian", "hessian", "parameter_jacobian")}


@pytest.mark.parametrize("kind", KINDS)
def test_generated_derivatives_are_those_of_the_reference(kind: str) -> None:
    """Of few samples and of many, in both dtypes; of the weights that there are when it is asked."""
    pytest.importorskip("llvmlite")
    net, x = net_of(kind, normalize=True), samples(300)
    numba = net.clone().to("numba")
    for n in (1, 5, 64, 65, 300):
        wants = derivatives_of(net, x[:n])
        for name, found in derivatives_of(numba, x[:n]).items():
            np.testing.assert_allclose(found, wants[name], rtol=1e-10, atol=1e-14, err_msg=name)
    for model in (net, numba):
        model.set_flat_parameters(0.5 * model.flat_parameters())
    single = net.clone(dtype="float32").to("numba")
    wants = derivatives_of(net, x[:2])
    for name, found in derivatives_of(numba, x[:2]).items():
        np.testing.assert_allclose(found, wants[name], rtol=1e-10, atol=1e-14, err_msg=name)
    for name, found in derivatives_of(single, x[:2].astype("float32")).items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wants[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for call in (numba.jacobian, lambda x: numba.vjp(x, np.ones((1, 2))), lambda x: numba.jvp(np.ones((1, 3)), x)):
        with pytest.raises(ValueError, match="finite"):
            call(np.array([[1.0, np.nan, 0.0]]))


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every arena have a word behind it that nothing may change."""
    passes = pytest.importorskip("tinynet_kernels.cpu.generated.passes", exc_type=ImportError)
    tails: list[Any] = []
    page, made = passes.PAGE, passes.Memory.of

    def of(size: int) -> Any:
        memory = made(size + 16 * page)
        place = memory.words[passes.PLACES["arena"]] - passes.address(memory.arrays[1])
        tails.append(memory.arrays[1][place + size :])
        tails[-1][:] = 0xA5
        return memory

    monkeypatch.setattr(passes.Memory, "of", of)
    yield
    assert len(tails) > 1
    assert all((tail == 0xA5).all() for tail in tails)


@pytest.mark.usefixtures("guarded")
def test_layers_of_all_kinds_behind_one_another_have_generated_derivatives() -> None:
    """Nothing bent, an end that is not, activations in a row, columns that are scaled within."""
    x = samples(20)
    for layers in (
        [tn.Linear(3, 2)],
        [tn.Tanh(), tn.Softmax(), tn.Linear(3, 2), tn.Denormalize(2).adapt(x[:, :2])],
        [tn.Normalize(3).adapt(x), tn.SiLU(), tn.Exp(), tn.Linear(3, 2, bias=False), tn.Softmax(), tn.Tanh()],
    ):
        net = tn.Sequential(*layers, dtype="float64", seed=0, backend="numpy")
        wants = derivatives_of(net, x)
        for name, found in derivatives_of(net.to("numba"), x).items():
            np.testing.assert_allclose(found, wants[name], rtol=1e-10, atol=1e-14, err_msg=name)


def test_what_a_table_has_no_room_for_numpy_derives() -> None:
    net = tn.Sequential(tn.Linear(90, 30), tn.Tanh(), tn.Linear(30, 30), dtype="float64", seed=0)
    x = samples(2, 90)
    assert net.hessian(x).shape == (2, 30, 90, 90)
    np.testing.assert_allclose(net.hessian(x), net.to("numpy").hessian(x), rtol=1e-10, atol=1e-14)


def test_products_of_few_rows_wake_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    net = tn.Sequential(tn.Linear(40, 300), tn.Tanh(), tn.Linear(300, 2), seed=0, backend="numpy")
    asked: list[int | None] = []
    monkeypatch.setattr("tinynet.backends.hostproducts.at_most", lambda n: asked.append(n) or nullcontext())
    x = samples(10, 40)
    net.jacobian(x), net.vjp(x, x[:, :2]), net.jvp(x, x), net.parameter_jacobian(x)
    assert asked == [1, 1, 1, 1]


@pytest.mark.parametrize("n_in", [1, 2, 5])
@pytest.mark.parametrize("n_out", [1, 3])
def test_forward_and_reverse_mode_give_the_same(n_in: int, n_out: int) -> None:
    """The Jacobian goes forward where there are fewer inputs, back where there are fewer outputs."""
    net, x = net_of("tanh", n_in, n_out), samples(n_in=n_in)
    by_vectors = np.stack([net.vjp(x, np.tile(row, (len(x), 1))) for row in np.eye(n_out)], axis=1)
    along = np.stack([net.jvp(x, np.tile(row, (len(x), 1))) for row in np.eye(n_in)], axis=2)
    np.testing.assert_allclose(net.jacobian(x), by_vectors, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(net.jacobian(x), along, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("normalize", [False, True], ids=["", "normalized"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_is_the_difference_of_jacobians(kind: str, normalize: bool) -> None:
    net, x = net_of(kind, normalize=normalize), samples()
    found = net.hessian(x)
    np.testing.assert_allclose(found, difference(net.jacobian, x), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found, found.transpose(0, 1, 3, 2), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["tanh", "softmax", "gelu"])
def test_the_derivatives_by_the_parameters_are_what_differences_show(kind: str) -> None:
    net, x = net_of(kind, normalize=True), samples()
    found, start = net.parameter_jacobian(x), net.flat_parameters()
    assert found.shape == (6, 2, net.n_parameters)
    for i in range(net.n_parameters):
        sides = []
        for sign in (-1, 1):
            moved = start.copy()
            moved[i] += sign * 1e-6
            net.set_flat_parameters(moved)
            sides.append(net.predict(x))
        np.testing.assert_allclose(found[:, :, i], (sides[1] - sides[0]) / 2e-6, rtol=1e-5, atol=1e-9)


def test_blocks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = net_of("tanh", 2, 3), samples(50, 2)
    whole = net.jacobian(x), net.hessian(x)
    monkeypatch.setattr("tinynet.backends.derivatives.BLOCK_VALUES", 100)
    np.testing.assert_allclose(net.jacobian(x), whole[0], rtol=1e-14)
    np.testing.assert_allclose(net.hessian(x), whole[1], rtol=1e-14, atol=1e-16)


def test_results_have_the_dtype_of_the_model_and_come_from_lists() -> None:
    net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Linear(3, 1), seed=0, backend="numpy")
    assert net.jacobian([[0.1, 0.2]]).dtype == np.float32
    assert net.hessian([[0.1, 0.2]]).shape == (1, 1, 2, 2)


def test_what_cannot_be_derived_is_named() -> None:
    class Double(tn.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, grad: Any) -> Any:
            return 2 * grad

    net = tn.Sequential(tn.Linear(2, 2), Double(), backend="numpy")
    with pytest.raises(NotImplementedError, match="layer 1 is written in Python"):
        net.jacobian([[1.0, 2.0]])
    net = tn.Sequential(tn.Linear(2, 3), backend="numpy")
    with pytest.raises(ValueError, match="a row for each of 1 samples; got 2"):
        net.jvp([[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="3"):
        net.vjp([[1.0, 2.0]], [[1.0, 2.0]])


def test_many_threads_get_what_one_gets() -> None:
    net, x = net_of("tanh"), samples(200)
    right, wrong = net.jacobian(x), []

    def ask() -> None:
        for _ in range(20):
            if not np.array_equal(net.jacobian(x), right):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["tanh", "silu", "gelu", "softplus", "sigmoid"])
def test_derivatives_equal_pytorchs(kind: str) -> None:
    torch = pytest.importorskip("torch")
    functions = {
        "tanh": torch.tanh,
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "softplus": torch.nn.functional.softplus,
        "sigmoid": torch.sigmoid,
    }
    net = tn.Sequential(tn.Linear(3, 5), ACTIVATIONS[kind](), tn.Linear(5, 2), dtype="float64", seed=0, backend="numpy")
    w0, b0, w1, b1 = (torch.from_numpy(array) for array in net.get_weights())
    x = samples()

    def predict(row: Any) -> Any:
        return functions[kind](row @ w0 + b0) @ w1 + b1

    rows = torch.from_numpy(x)
    first, second = (torch.func.vmap(f(predict))(rows).numpy() for f in (torch.func.jacrev, torch.func.hessian))
    np.testing.assert_allclose(net.jacobian(x), first, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(net.hessian(x), second, rtol=1e-9, atol=1e-14)
