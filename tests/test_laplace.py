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


# -- classes and labels ------------------------------------------------------------------------------------------------


def probabilities(z: Any) -> Any:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def classes(n: int, seed: int = 5) -> tuple[Any, Any]:
    """Three classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return np.array([[0.0, 1.0], [1.0, -0.5], [-1.0, -0.5]])[labels] + rng.normal(size=(n, 2)), labels


def test_of_labels_it_is_logistic_regression_where_the_network_is_linear() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 3))
    y = (rng.random((50, 2)) < 0.5).astype(float)
    net = tn.Sequential(tn.Linear(3, 2, bias=False), tn.Sigmoid(), dtype="float64", seed=0, backend="numpy")
    net.fit(x, y, loss="bce", optimizer=tn.SGD(0.1), epochs=5)
    found = tn.laplace(net, x, y, prior_precision=1.5)
    z = x @ net.get_weights()[0]
    p = 1 / (1 + np.exp(-z))
    for k in range(2):
        covariance = np.linalg.inv((x.T * (p * (1 - p))[:, k]) @ x + 1.5 * np.eye(3))
        variance = np.einsum("ni,ij,nj->n", x, covariance, x)
        mean = 1 / (1 + np.exp(-z[:, k] / np.sqrt(1 + np.pi * variance / 8)))
        np.testing.assert_allclose(found.mean(x)[:, k], mean, rtol=1e-9)
        many = 1 / (1 + np.exp(-(z[:, k] + np.sqrt(variance) * rng.normal(size=(20000, 1)))))
        np.testing.assert_allclose(found.std(x)[:, k], many.std(axis=0), rtol=0.05)
    np.testing.assert_allclose(found.std(x, noise=True), np.sqrt(found.mean(x) * (1 - found.mean(x))))


def test_of_classes_its_precision_is_the_second_derivative_of_the_loss() -> None:
    """Of a linear network, whose Gauss-Newton matrix is all there is; of logits, and of the end in Softmax."""
    x, labels = classes(40)
    net = tn.Sequential(tn.Linear(2, 3), dtype="float64", seed=1, backend="numpy")
    start, curvature = net.flat_parameters(), np.empty((9, 9))
    for i in range(9):
        for side in (-1, 1):
            net.set_flat_parameters(start + side * 1e-5 * np.eye(9)[i])
            z = np.hstack([x, np.ones((40, 1))])
            d = probabilities(net.predict(x)) - np.eye(3)[labels]
            gradient = (z.T @ d).reshape(-1)
            curvature[i] = gradient if side == -1 else (gradient - curvature[i]) / 2e-5
    net.set_flat_parameters(start)
    covariance = np.linalg.inv(curvature + 0.8 * np.eye(9))
    jacobian = net.parameter_jacobian(x)
    apart = jacobian[:, :, None] - jacobian[:, None]
    variance = np.einsum("nkli,ij,nklj->nkl", apart, covariance, apart)
    z = net.predict(x)
    want = 1 / np.exp((z[:, None] - z[:, :, None]) / np.sqrt(1 + np.pi * variance / 8)).sum(axis=2)
    want /= want.sum(axis=1, keepdims=True)
    found = tn.laplace(net, x, labels, loss="cross_entropy", prior_precision=0.8)
    np.testing.assert_allclose(found.mean(x), want, rtol=1e-6)
    ends = tn.Sequential(tn.Linear(2, 3), tn.Softmax(), dtype="float64", initial_values=start, backend="numpy")
    loss = tn.CrossEntropy(from_logits=False)
    rows = tn.laplace(ends, x, np.eye(3)[labels], loss=loss, prior_precision=0.8)
    np.testing.assert_allclose(rows.mean(x), found.mean(x), rtol=1e-10)
    drawn = found.draws(x, 5000, seed=3)
    np.testing.assert_allclose(drawn.sum(axis=2), 1.0)
    np.testing.assert_allclose(drawn.mean(axis=0), found.mean(x), atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=0), found.std(x), atol=0.01)


def test_the_prior_is_where_the_evidence_of_classes_is_largest() -> None:
    x, labels = classes(60)
    net = tn.Sequential(tn.Linear(2, 3), dtype="float64", seed=1, backend="numpy")
    net.fit(x, labels, loss="cross_entropy", optimizer="lm", epochs=20)
    found = tn.laplace(net, x, labels)
    p, jacobian, weights = probabilities(net.predict(x)), net.parameter_jacobian(x), net.flat_parameters()
    middle = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    curvature = np.einsum("nki,nkl,nlj->ij", jacobian, middle, jacobian)

    def log_evidence(precision: float) -> float:
        sizes = np.linalg.eigvalsh(curvature) + precision
        return 0.5 * (9 * np.log(precision) - precision * float(weights @ weights) - float(np.log(sizes).sum()))

    best = log_evidence(found.prior_precision)
    assert max(log_evidence(found.prior_precision * factor) for factor in (0.95, 1.05)) < best
    assert isinstance(found, tn.ClassLaplace)
    assert 4 < found.effective_parameters < 7  # A bias for all classes moves no probability, nor does a weight.
    assert repr(found).startswith("ClassLaplace(classes, prior_precision=")


def test_probabilities_of_a_network_that_has_learned_too_well_get_better() -> None:
    x, labels = classes(400)
    net = tn.Sequential(
        tn.Normalize(2).adapt(x[:60]), tn.Linear(2, 12), tn.Tanh(), tn.Linear(12, 3), seed=0, backend="numpy"
    )
    net.fit(x[:60], labels[:60], loss="cross_entropy", optimizer=tn.Adam(0.03, weight_decay=1e-4), epochs=300)
    found = tn.laplace(net, x[:60], labels[:60])
    rest, truth = x[60:], labels[60:]
    own, better = probabilities(net.predict(rest)), found.mean(rest)
    of_truth = np.arange(340), truth
    assert np.log(better[of_truth]).mean() > np.log(own[of_truth]).mean() + 0.05
    sure, right = better.max(axis=1), better.argmax(axis=1) == truth
    assert abs(sure.mean() - right.mean()) < 0.5 * abs(own.max(axis=1).mean() - right.mean())


def test_what_gives_no_logits_is_told() -> None:
    x, labels = classes(20)
    net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), backend="numpy", seed=0)
    with pytest.raises(ValueError, match=r"expects logits of classes.* Softmax.*ends in Tanh"):
        tn.laplace(net, x, labels, loss=tn.CrossEntropy(from_logits=False))
    with pytest.raises(ValueError, match="no noise with CrossEntropy"):
        tn.laplace(net, x, labels, loss="cross_entropy", noise=1.0)
    with pytest.raises(ValueError, match=r"expects a cross-entropy.*BinaryFocal"):
        tn.laplace(net, x, np.eye(3)[labels], loss="focal")
    with pytest.raises(ValueError, match="as many targets as samples; got 19 and 20"):
        tn.laplace(net, x, labels[1:], loss="cross_entropy")
