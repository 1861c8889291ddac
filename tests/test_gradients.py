"""Gradients: every activation with every loss on every backend and dtype, against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.layers import ACTIVATIONS
from tinynet.program import Program

N_IN, N_HIDDEN, N_OUT = 3, 4, 3
RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, N_IN))

TARGETS: dict[str, Any] = {
    "values": RNG.normal(size=(6, N_OUT)) * 3.0,
    "bits": RNG.integers(0, 2, size=(6, N_OUT)).astype(float),
    "labels": np.arange(6) % N_OUT,
    "rows": RNG.dirichlet(np.ones(N_OUT), size=6),
}
LOSSES: dict[str, tuple[tn.Loss, str]] = {
    "mse": (tn.MeanSquaredError(), "values"),
    "mse-sum": (tn.MeanSquaredError(reduction="sum"), "values"),
    "mae": (tn.MeanAbsoluteError(), "values"),
    "huber": (tn.Huber(delta=0.7), "values"),
    "bce-logits": (tn.BinaryCrossEntropy(from_logits=True), "bits"),
    "cross-entropy-labels": (tn.CrossEntropy(), "labels"),
    "cross-entropy-rows": (tn.CrossEntropy(), "rows"),
    "cross-entropy-sum": (tn.CrossEntropy(reduction="sum"), "labels"),
}
ENDINGS: dict[str, tuple[tn.Loss, type[tn.Layer], str]] = {
    "sigmoid": (tn.BinaryCrossEntropy(), tn.Sigmoid, "bits"),
    "softmax-labels": (tn.CrossEntropy(from_logits=False), tn.Softmax, "labels"),
    "softmax-rows": (tn.CrossEntropy(from_logits=False), tn.Softmax, "rows"),
}


def network(kind: str, backend: str, dtype: str = "float64", *ending: tn.Layer) -> tn.Sequential:
    layers = [tn.Linear(N_IN, N_HIDDEN, bias_init=0.1), ACTIVATIONS[kind](), tn.Linear(N_HIDDEN, N_OUT)]
    return tn.Sequential(*layers, *ending, dtype=dtype, seed=3, backend=backend)


@pytest.mark.parametrize("samples", [1, 6])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_the_gradient_check_passes(kind: str, loss: str, backend: str, samples: int) -> None:
    chosen, target = LOSSES[loss]
    report = tn.gradient_check(network(kind, backend), X[:samples], TARGETS[target][:samples], loss=chosen)
    assert len(report.names) == N_IN * N_HIDDEN + N_HIDDEN + N_HIDDEN * N_OUT + N_OUT + samples * N_IN
    assert report.max_relative_error < 1e-7, str(report)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_gradient_check_passes_through_the_last_activation(ending: str, backend: str) -> None:
    loss, layer, target = ENDINGS[ending]
    report = tn.gradient_check(network("tanh", backend, "float64", layer()), X, TARGETS[target], loss=loss)
    assert report.max_relative_error < 1e-7, str(report)


@pytest.mark.parametrize("loss", ["bce", "cross-entropy"])
def test_the_gradient_check_passes_on_probabilities_of_any_network(loss: str, backend: str) -> None:
    chosen: tn.Loss = tn.BinaryCrossEntropy() if loss == "bce" else tn.CrossEntropy(from_logits=False)
    ending = [tn.Softmax()] if loss == "bce" else [tn.Softmax(), tn.Identity()]
    target = TARGETS["bits" if loss == "bce" else "labels"]
    report = tn.gradient_check(network("tanh", backend, "float64", *ending), X, target, loss=chosen)
    assert report.max_relative_error < 1e-7, str(report)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_float32_gradients_are_the_float64_ones_rounded(kind: str, loss: str, backend: str) -> None:
    chosen, target = LOSSES[loss]
    gradients = []
    for dtype in ("float32", "float64"):
        net = network(kind, backend, dtype)
        net.set_flat_parameters(network(kind, backend).flat_parameters().astype("float32"))
        y = chosen.check_target(np.asarray(TARGETS[target], "float32" if target != "labels" else None), N_OUT, dtype)
        program = Program(net.program.ops, chosen.lower(net.program.ops, index_target=y.ndim == 1), None, dtype)
        plan = net.backend.plan(program)
        plan.gradient(net.state, X.astype("float32").astype(dtype), y)
        gradients.append(net.state.gradients.astype("float64"))
    scale = np.abs(gradients[1]).max()
    np.testing.assert_allclose(gradients[0], gradients[1], atol=3e-6 * scale, rtol=3e-5)


WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 1.0])


def test_on_numba_what_is_checked_is_the_code_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    from tinynet.backends.numba.generated import GeneratedPlan

    layers = [tn.Normalize(N_IN).adapt(X), tn.Linear(N_IN, 8), tn.Dropout(0.5), tn.Tanh(), tn.Linear(8, N_OUT)]
    net = tn.Sequential(*layers, tn.Denormalize(N_OUT).adapt(TARGETS["values"]), seed=1, backend="numba")

    def check() -> Any:
        return tn.gradient_check(net, X, TARGETS["values"], sample_weight=WEIGHTS)

    with monkeypatch.context() as without:
        without.setattr("tinynet.training.gradcheck.MOST_UNITS", 0)
        by_kernels = check()
    monkeypatch.setattr("tinynet.training.gradcheck.LoopPlan", None)
    found = check()
    assert found.names == by_kernels.names
    np.testing.assert_allclose(found.analytic, by_kernels.analytic, rtol=1e-12, atol=1e-14)
    assert found.passed

    gradient = GeneratedPlan.gradient

    def wrong(plan: Any, state: Any, *given: Any) -> float:
        value = gradient(plan, state, *given)
        state.gradients *= 1.001
        return value

    monkeypatch.setattr(GeneratedPlan, "gradient", wrong)
    assert not check().passed


def test_sample_weights_are_in_the_gradient(backend: str) -> None:
    report = tn.gradient_check(network("tanh", backend), X, TARGETS["values"], sample_weight=WEIGHTS)
    assert report.max_relative_error < 1e-7, str(report)
    ignored = [value for name, value in zip(report.names, report.analytic, strict=True) if name.startswith("x[0,")]
    assert ignored == [0.0] * N_IN


def test_dropout_and_normalize_are_in_the_gradient(backend: str) -> None:
    layers = [tn.Normalize(N_IN).adapt(X), tn.Linear(N_IN, 8), tn.Dropout(0.5), tn.Tanh(), tn.Linear(8, N_OUT)]
    net = tn.Sequential(*layers, seed=1, backend=backend)
    report = tn.gradient_check(net, X, TARGETS["values"])
    assert report.max_relative_error < 1e-7, str(report)


def test_the_check_leaves_the_model_alone(backend: str) -> None:
    net = network("tanh", backend, "float32")
    before = net.flat_parameters().tobytes(), net.state.gradients.tobytes(), str(net.rng.bit_generator.state)
    tn.gradient_check(net, X, TARGETS["values"])
    assert (net.flat_parameters().tobytes(), net.state.gradients.tobytes(), str(net.rng.bit_generator.state)) == before


class WrongScale(tn.Layer):
    """A layer with a mistake in its backward pass."""

    def forward(self, x: Any) -> Any:
        return 2.0 * x

    def backward(self, grad: Any) -> Any:
        return 2.001 * grad


def test_the_check_finds_a_wrong_gradient_and_shows_it(backend: str) -> None:
    net = tn.Sequential(tn.Linear(2, 2), WrongScale(), tn.Linear(2, 1), seed=0, backend=backend)
    report = tn.gradient_check(net, X[:, :2], TARGETS["values"][:, :1])
    assert not report.passed
    assert 1e-4 < report.max_relative_error < 1e-2
    assert "layer0.weight[0, 1]" in str(report)
    assert "FAILED" in str(report)


def test_a_long_report_shows_the_worst() -> None:
    net = tn.Sequential(tn.Linear(3, 20), tn.Tanh(), tn.Linear(20, 3), seed=0, backend="numpy")
    report = tn.gradient_check(net, X, TARGETS["values"])
    text = str(report)
    assert "(the 40 worst are shown)" in text
    assert len(text.splitlines()) == 43
    assert repr(report) == f"GradientCheck({text.splitlines()[-1]})"


@pytest.mark.parametrize(("bias", "n_kinks"), {0.0: 3, 5e-4: 0}.items(), ids=["at a kink", "near a kink"])
def test_what_has_no_slope_is_left_out(bias: float, n_kinks: int, backend: str) -> None:
    """A unit without weights is where its bias puts it: at the kink of ReLU, or nearer to it than a step is long."""
    net = tn.Sequential(tn.Linear(2, 3), tn.ReLU(), tn.Linear(3, 1), seed=0, backend=backend, dtype="float64")
    weight, biases, *others = net.get_weights()
    weight[:, 0], biases[0] = 0.0, bias
    net.set_weights([weight, biases, *others])
    report = tn.gradient_check(net, X[:, :2], TARGETS["values"][:, :1])
    assert report.passed
    assert report.n_kinks == n_kinks
    assert ("layer0.bias[0]" in report.names) == (n_kinks == 0)
    assert ("(3 at a kink or a sharp bend left out)" in str(report)) == (n_kinks > 0)


def test_a_check_of_nothing_has_not_passed() -> None:
    net = tn.Sequential(tn.Linear(1, 1), tn.ReLU(), backend="numpy")
    net.set_weights([np.ones((1, 1)), -np.ones(1)])
    report = tn.gradient_check(net, [[1.0]], [1.0])
    assert report.names == []
    assert not report.passed
    assert "FAILED" in str(report)


def test_many_elements_are_checked_by_some_of_each_array() -> None:
    net = tn.Sequential(tn.Linear(3, 20), tn.Tanh(), tn.Linear(20, 3), seed=0, backend="numpy")
    all_of_them, some = (tn.gradient_check(net, X, TARGETS["values"], most=most) for most in (10_000, 50))
    assert len(some.names) == 10 + 10 + 10 + 3 + 10
    assert {name.partition("[")[0] for name in some.names} == {name.partition("[")[0] for name in all_of_them.names}
    where = [all_of_them.names.index(name) for name in some.names]
    np.testing.assert_array_equal(some.analytic, all_of_them.analytic[where])
    np.testing.assert_allclose(some.numeric, all_of_them.numeric[where], rtol=1e-12)
    assert repr(some).startswith(f"GradientCheck(43 of {len(all_of_them.names)} elements, ")


def test_gradients_add_up_until_they_are_set_to_zero(backend: str) -> None:
    net = network("tanh", backend)
    grad = np.ones((6, N_OUT))
    net.forward(X)
    net.backward(grad)
    once = net.state.gradients.copy()
    net.forward(X)
    dx = net.backward(grad)
    np.testing.assert_allclose(net.state.gradients, 2.0 * once, rtol=1e-14)
    assert dx.shape == X.shape
    net.zero_grad()
    assert not net.state.gradients.any()


def test_a_loop_by_hand_equals_fit(backend: str) -> None:
    by_hand, fitted = network("tanh", backend), network("tanh", backend)
    loss, optimizer, y = tn.MeanSquaredError(), tn.Adam(0.01), TARGETS["values"]
    for _ in range(5):
        by_hand.zero_grad()
        by_hand.backward(loss.backward(by_hand.forward(X), y))
        optimizer.step(by_hand)
    fitted.fit(X, y, optimizer=tn.Adam(0.01), epochs=5, shuffle=False)
    np.testing.assert_allclose(by_hand.flat_parameters(), fitted.flat_parameters(), rtol=1e-12)


def test_weights_can_be_changed_in_place(backend: str) -> None:
    net = network("tanh", backend)
    before = net.get_weights()[0]
    net.forward(X)
    net.backward(np.ones((6, N_OUT)))
    layer = net.layers[0]
    layer.weight -= 0.1 * layer.weight_grad
    np.testing.assert_allclose(net.get_weights()[0], before - 0.1 * layer.weight_grad)
    assert np.shares_memory(layer.weight, net.state.parameters)


def test_a_layer_by_itself_computes_what_the_model_computes(backend: str) -> None:
    net = network("gelu", backend)
    y, dy = X, np.ones((6, N_OUT))
    for layer in net.layers:
        y = layer.forward(y)
    for layer in reversed(net.layers):
        dy = layer.backward(dy)
    apart = net.state.gradients.copy()
    net.zero_grad()
    np.testing.assert_allclose(net.forward(X), y, rtol=1e-14)
    np.testing.assert_allclose(net.backward(np.ones((6, N_OUT))), dy, rtol=1e-13)
    np.testing.assert_allclose(net.state.gradients, apart, rtol=1e-13)
