"""Laplace's approximation: exact where a network is linear, and as wide as the errors are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn


def linear_problem() -> tuple[tn.Sequential, Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x @ rng.normal(size=(3, 2)) + rng.normal(size=(40, 2))
    net = tn.Sequential(tn.Linear(3, 2, bias=False), dtype="float64", seed=0, backend="numpy")
    net.fit(x, y, optimizer="lm", epochs=20)
    return net, x, y


def test_it_is_bayesian_regression_where_the_network_is_linear() -> None:
    net, x, y = linear_problem()
    found = tn.laplace(net, x, y, noise=0.7, prior_precision=2.5)
    covariance = np.linalg.inv(x.T @ x / 0.7**2 + 2.5 * np.eye(3))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", x, covariance, x))
    np.testing.assert_allclose(found.std(x), np.tile(expected[:, None], (1, 2)), rtol=1e-10)
    np.testing.assert_allclose(found.std(x, noise=True), np.sqrt(found.std(x) ** 2 + 0.49), rtol=1e-12)
    np.testing.assert_array_equal(found.mean(x), net.predict(x))


def test_noise_and_prior_are_where_the_evidence_is_largest() -> None:
    net, x, y = linear_problem()
    found = tn.laplace(net, x, y)

    def log_evidence(precision: float, noise: float) -> float:
        """Of the data, given by Gaussians alone: the targets are normal with this covariance around 0."""
        design = np.kron(x, np.eye(2))
        covariance = design @ design.T / precision + noise**2 * np.eye(80)
        _, size = np.linalg.slogdet(covariance)
        flat = y.reshape(-1)
        return -0.5 * (size + float(flat @ np.linalg.solve(covariance, flat)))

    ridge = found.prior_precision * found.noise**2
    # MacKay's equations hold in the minimum of errors and penalty together: put the weights there, and find them again.
    for _ in range(50):
        net.set_weights([np.linalg.solve(x.T @ x + ridge * np.eye(3), x.T @ y)])
        found = tn.laplace(net, x, y)
        ridge = found.prior_precision * found.noise**2
    best = log_evidence(found.prior_precision, found.noise)
    for precision, noise in ((1.05, 1.0), (0.95, 1.0), (1.0, 1.05), (1.0, 0.95)):
        assert log_evidence(found.prior_precision * precision, found.noise * noise) < best


def test_intervals_hold_as_many_targets_as_they_say() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (300, 1))
    y = np.sin(4 * x) + 0.1 * rng.normal(size=x.shape)
    net = tn.Sequential(tn.Linear(1, 10), tn.Tanh(), tn.Linear(10, 1), dtype="float64", seed=0, backend="numpy")
    net.fit(x[:100], y[:100], optimizer="br", epochs=80)
    found = tn.laplace(net, x[:100], y[:100])
    assert found.noise == pytest.approx(0.1, rel=0.2)
    assert 4 < found.effective_parameters < 20
    away = np.abs(y[100:] - found.mean(x[100:])) / found.std(x[100:], noise=True)
    for width, share in ((1.645, 0.90), (1.0, 0.683)):
        assert (away < width).mean() == pytest.approx(share, abs=0.06)
    truth = np.abs(np.sin(4 * x[100:]) - found.mean(x[100:])) / found.std(x[100:])
    assert (truth < 1.96).mean() > 0.8
    assert found.std([[4.0]]) > 5 * found.std([[0.0]])
    assert "effective_parameters" in repr(found)


def test_what_is_frozen_is_certain_and_what_does_not_fit_is_told() -> None:
    net, x, y = linear_problem()
    with pytest.raises(ValueError, match=r"targets of shape \(40, 2\); got \(40, 1\)"):
        tn.laplace(net, x, y[:, :1])
    wide = tn.Sequential(tn.Linear(3, 2000), tn.Tanh(), tn.Linear(2000, 2), backend="numpy")
    with pytest.raises(ValueError, match="at most 5,000"):
        tn.laplace(wide, x, y)
    deep = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2), dtype="float64", seed=0, backend="numpy")
    deep.layers[0].trainable = False
    hidden = np.tanh(x @ deep.get_weights()[0] + deep.get_weights()[1])
    design = np.hstack([hidden, np.ones((40, 1))])
    covariance = np.linalg.inv(design.T @ design + np.eye(5))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", design, covariance, design))
    found = tn.laplace(deep, x, y, noise=1.0, prior_precision=1.0)
    np.testing.assert_allclose(found.std(x)[:, 0], expected, rtol=1e-9)
