"""LogCosh, Quantile, BinaryFocal: right to the last digits, on every backend, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = {"numbers": RNG.normal(size=(30, 2)), "labels": RNG.integers(0, 2, (30, 2)).astype(float)}
LOSSES = {"log_cosh": tn.LogCosh(), "quantile": tn.Quantile(0.8), "focal": tn.BinaryFocal(1.5, "sum")}


def network(backend: str, dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), seed=1, dtype=dtype, backend=backend)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_central_differences(name: str, backend: str) -> None:
    loss, net = LOSSES[name], network(backend)
    assert tn.gradient_check(net, X[:5], Y[str(loss.targets)][:5], loss=loss).passed
    net.layers[2].weight = np.zeros((4, 2))  # All predictions are exactly 0.
    assert tn.gradient_check(net, X[:5], Y[str(loss.targets)][:5], loss=loss).passed


@pytest.mark.parametrize("name", LOSSES)
def test_they_train_compiled_to_what_numpy_reaches(name: str) -> None:
    loss, weights = LOSSES[name], {}
    for backend in ("numpy", "numba"):
        net = network(backend)
        net.fit(X, Y[str(loss.targets)], loss=loss, epochs=3, batch_size=7, sample_weight=np.linspace(0.5, 2, 30))
        weights[backend] = net.predict(X)
        assert net.history.plan.startswith("fused") == (backend == "numba")
    np.testing.assert_allclose(weights["numba"], weights["numpy"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_cosh_keeps_its_digits_of_small_and_large_differences(dtype: str, backend: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    d = np.array([1e-6, 1e-3, 0.1, 0.999, 1.001, 5.0, 80.0, 1e4], dtype)
    with tn.use_backend(backend):
        found = [tn.LogCosh()(one.reshape(1, 1), np.zeros((1, 1), dtype)) for one in d]
    with mpmath.workdps(40):
        exact = [float(mpmath.log(mpmath.cosh(mpmath.mpf(float(one))))) for one in d]
    np.testing.assert_allclose(found, exact, rtol=8 * np.finfo(dtype).eps)


def test_a_constant_that_minimises_the_pinball_loss_is_the_quantile() -> None:
    y = RNG.exponential(size=(999, 1))
    grid = np.linspace(0, 5, 5001)
    losses = [tn.Quantile(0.9)(np.full_like(y, p), y) for p in grid]
    assert abs(grid[int(np.argmin(losses))] - np.quantile(y, 0.9)) < 0.02


def test_pinball_loss_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    p, t = RNG.normal(size=50), RNG.normal(size=50)
    expected = metrics.mean_pinball_loss(t, p, alpha=0.2)
    assert tn.Quantile(0.2)(p[:, None], t[:, None]) == pytest.approx(expected, rel=1e-13)


def test_focal_without_focus_is_binary_cross_entropy_and_far_logits_stay_finite() -> None:
    z, t = RNG.normal(size=(9, 2)) * 4, RNG.integers(0, 2, (9, 2)).astype(float)
    bce = tn.BinaryCrossEntropy(from_logits=True)
    np.testing.assert_allclose(tn.BinaryFocal(0.0)(z, t), bce(z, t), rtol=1e-13)
    far = np.array([[1e4, -1e4]])
    assert tn.BinaryFocal()(far, [[0.0, 1.0]]) == 1e4
    assert np.isfinite(tn.BinaryFocal().backward(far, [[0.0, 1.0]])).all()


def test_focal_refuses_probabilities() -> None:
    net = tn.Sequential(tn.Linear(3, 2), tn.Sigmoid(), backend="numpy")
    with pytest.raises(ValueError, match="expects logits; got a network that ends in Sigmoid"):
        net.fit(X, Y["labels"], loss=tn.BinaryFocal(), epochs=1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_file_has_the_class_and_its_settings(name: str, tmp_path: Path) -> None:
    loss, net = LOSSES[name], network("numpy")
    net.fit(X, Y[str(loss.targets)], loss=loss, epochs=1)
    net.save(tmp_path / "net.npz")
    again = tn.load(tmp_path / "net.npz", backend="numpy")
    assert repr(again.loss) == repr(loss)
    assert again.evaluate(X, Y[str(loss.targets)]) == net.evaluate(X, Y[str(loss.targets)])
