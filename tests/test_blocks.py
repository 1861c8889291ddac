"""Several outputs for each target: quantiles that do not cross, and a mean with its variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fused import OPTIMIZERS, TIERS, assert_agrees

import tinynet as tn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2)) * 40 + 300
WEIGHT = np.linspace(0.5, 2, 30)
LOSSES: dict[str, tuple[Any, Any]] = {
    "quantiles": (lambda: tn.Increasing(3, 2), tn.Quantile([0.1, 0.5, 0.8])),
    "gaussian": (lambda: tn.MeanVariance(2, floor=1e-3), tn.GaussianNLL()),
}
POWERS = {"quantiles": (1, 1, 1), "gaussian": (1, 2)}


def network(name: str, backend: str, *, width: int = 4, scaled: bool = False, dtype: str = "float64") -> tn.Sequential:
    last = LOSSES[name][0]()
    ending = [tn.Denormalize(2, POWERS[name]).adapt(Y)] if scaled else []
    layers = [tn.Linear(3, width), tn.Tanh(), tn.Linear(width, last.n_in), last, *ending]
    return tn.Sequential(*layers, seed=1, dtype=dtype, backend=backend)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_central_differences(name: str, backend: str) -> None:
    for reduction in ("mean", "sum"):
        loss = type(LOSSES[name][1])(**LOSSES[name][1].config() | {"reduction": reduction})
        net = network(name, backend)
        assert tn.gradient_check(net, X[:5], Y[:5] / 300, loss=loss).passed
        net.layers[2].weight = np.zeros_like(net.layers[2].weight)  # All that goes into the last layer is exactly 0.
        assert tn.gradient_check(net, X[:5], Y[:5] / 300, loss=loss).passed


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", LOSSES)
def test_every_tier_trains_to_what_the_loop_reaches(name: str, tier: str) -> None:
    width, batch_size = TIERS[tier]
    last, loss = LOSSES[name]
    layers = lambda: [tn.Linear(3, width), tn.Tanh(), tn.Linear(width, last().n_in), last()]  # noqa: E731
    y = RNG.normal(size=(23, 2))
    assert_agrees(layers, loss, y, OPTIMIZERS["momentum"], batch_size=batch_size, weighted=True, tier=tier)


@pytest.mark.parametrize("width", [4, 20], ids=["unrolled", "tiles"])
@pytest.mark.parametrize("name", LOSSES)
def test_ensembles_in_lanes_train_to_what_each_model_does(name: str, width: int) -> None:
    results = []
    for backend in ("numba", "numpy"):
        models = tn.Ensemble(network(name, backend, width=width, scaled=True), 3)
        history = models.fit(X, Y, loss=LOSSES[name][1], epochs=2, batch_size=7)
        assert history.plan.startswith("fused") == (backend == "numba")
        results.append(models.predict(X))
        np.testing.assert_array_equal(models[1].predict(X), results[-1][1])
        value = models.evaluate(X, Y, metrics="mae")
        assert value["mae"][2] == pytest.approx(
            np.abs(results[-1][2][:, 2 * (name == "quantiles") :][:, :2] - Y).mean()
        )
    np.testing.assert_allclose(*results, rtol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_have_the_units_of_targets_and_metrics_look_at_the_estimate(name: str, backend: str) -> None:
    net = network(name, backend, scaled=True)
    history = net.fit(X, Y, loss=LOSSES[name][1], epochs=20, batch_size=10, metrics=["mae", "r2"], optimizer="adam")
    first, second, *_ = np.split(net.predict(X), len(POWERS[name]), axis=1)
    estimate = second if name == "quantiles" else first
    assert history["mae"][-1] == pytest.approx(np.abs(estimate - Y).mean())
    assert abs(estimate.mean() - 300) < 60  # Those of standardised targets would be near 0.
    if name == "gaussian":
        assert 40**2 / 10 < second.mean() < 40**2 * 10
    # The loss is that of standardised targets: the same without a unit.
    plain = network(name, backend)
    plain.set_flat_parameters(net.flat_parameters())
    scaled = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    expected = plain.evaluate(X, scaled, loss=LOSSES[name][1])["loss"]
    assert net.evaluate(X, Y)["loss"] == pytest.approx(expected)


def test_quantiles_never_cross_and_hold_their_share_of_the_targets() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (3000, 1))
    y = x + rng.exponential(size=x.shape) * (1 + x)
    net = tn.Sequential(tn.Linear(1, 8), tn.Tanh(), tn.Linear(8, 3), tn.Increasing(3), seed=0)
    net.fit(x, y, loss=tn.Quantile([0.1, 0.5, 0.9]), optimizer=tn.Adam(0.01), epochs=40, batch_size=50)
    found = net.predict(x)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_allclose((y <= found).mean(axis=0), [0.1, 0.5, 0.9], atol=0.05)
    far = net.predict(np.linspace(-100, 100, 50)[:, np.newaxis])
    assert (np.diff(far, axis=1) >= 0).all()


def test_several_quantiles_are_the_mean_of_each_pinball_loss() -> None:
    p, t = RNG.normal(size=(9, 6)), RNG.normal(size=(9, 2))
    each = [tn.Quantile(q)(part, t) for q, part in zip([0.2, 0.5, 0.7], np.split(p, 3, axis=1), strict=True)]
    assert tn.Quantile([0.2, 0.5, 0.7])(p, t) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gaussian_loss_is_pytorchs(reduction: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    p = np.hstack([RNG.normal(size=(9, 2)), RNG.uniform(0.1, 3, (9, 2))])
    t = RNG.normal(size=(9, 2))
    given = torch.tensor(p, requires_grad=True)
    mean, variance = given.chunk(2, dim=1)
    expected = torch.nn.functional.gaussian_nll_loss(mean, torch.tensor(t), variance, reduction=reduction)
    expected.backward()
    loss = tn.GaussianNLL(reduction)
    assert loss(p, t) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(p, t), given.grad.numpy(), rtol=1e-12)


def test_the_variance_follows_the_noise() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (4000, 1))
    y = np.sin(3 * x) + rng.normal(size=x.shape) * np.exp(x)
    net = tn.Sequential(tn.Linear(1, 16), tn.Tanh(), tn.Linear(16, 2), tn.MeanVariance(), seed=0)
    net.fit(x, y, loss="gaussian_nll", optimizer=tn.Adam(0.01), epochs=40, batch_size=50)
    _, variance = np.split(net.predict([[-0.9], [0.9]]), 2, axis=1)
    np.testing.assert_allclose(variance.ravel(), np.exp([-1.8, 1.8]), rtol=0.35)


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_are_those_of_central_differences(name: str, backend: str) -> None:
    net, x, h = network(name, backend, scaled=True), X[:3], 1e-5
    steps = h * np.eye(3)
    slopes = np.stack([(net.predict(x + s) - net.predict(x - s)) / (2 * h) for s in steps], axis=-1)
    np.testing.assert_allclose(net.jacobian(x), slopes, rtol=1e-5, atol=1e-5 * np.abs(slopes).max())
    curves = np.stack([(net.jacobian(x + s) - net.jacobian(x - s)) / (2 * h) for s in steps], axis=-1)
    np.testing.assert_allclose(net.hessian(x), curves, rtol=1e-5, atol=1e-5 * np.abs(curves).max())
    v = RNG.normal(size=net.predict(x).shape)
    np.testing.assert_allclose(net.vjp(x, v), np.einsum("nk,nki->ni", v, net.jacobian(x)))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loop_of_your_own_goes_through_them(name: str, backend: str) -> None:
    net = network(name, backend)
    np.testing.assert_allclose(net.forward(X, training=False), net.predict(X), rtol=1e-12)
    v = RNG.normal(size=net.predict(X).shape)
    net.forward(X)
    np.testing.assert_allclose(net.backward(v), net.vjp(X, v), rtol=1e-9, atol=1e-12)
    # A step by hand is that of a fit.
    loss, fitted = LOSSES[name][1], network(name, backend)
    net.zero_grad()
    net.backward(loss.backward(net.forward(X), Y / 300))
    tn.SGD(0.1).step(net)
    fitted.fit(X, Y / 300, loss=loss, optimizer=tn.SGD(0.1), epochs=1, batch_size=30, shuffle=False)
    np.testing.assert_allclose(net.flat_parameters(), fitted.flat_parameters(), rtol=1e-9)


def test_another_loss_on_such_outputs_runs_and_says_why_it_is_slow() -> None:
    weights = {}
    for backend in ("numpy", "numba"):
        net = network("quantiles", backend)
        net.fit(X, RNG.normal(size=(30, 6)) * 0, loss="mse", epochs=2, batch_size=10, shuffle=False)
        weights[backend] = net.flat_parameters()
        assert backend == "numpy" or "several outputs for each target (increasing)" in net.history.plan
    np.testing.assert_allclose(weights["numba"], weights["numpy"], rtol=1e-10)


def test_layers_too_large_for_generated_code_say_so() -> None:
    net = network("gaussian", "numba", width=6000, dtype="float32")
    net.fit(X, Y / 300, loss=tn.GaussianNLL(), epochs=1)
    assert net.history.plan.startswith(("fused", "loop: a loss of several outputs for each target"))


@pytest.mark.parametrize("name", LOSSES)
def test_a_file_has_them(name: str, tmp_path: Path) -> None:
    net = network(name, "numpy", scaled=True)
    net.fit(X, Y, loss=LOSSES[name][1], epochs=1)
    net.save(tmp_path / "net.npz")
    again = tn.load(tmp_path / "net.npz", backend="numpy")
    assert repr(again.loss) == repr(net.loss)
    assert repr(again.layers) == repr(net.layers)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert again.evaluate(X, Y) == net.evaluate(X, Y)
    np.testing.assert_allclose(again.layers[-1].mean, Y.mean(axis=0))


def test_a_report_is_of_the_estimate() -> None:
    net = network("gaussian", "numpy", scaled=True)
    net.fit(X, Y, loss=tn.GaussianNLL(), epochs=1)
    assert "mae" in str(net.report(X, Y, names=["first", "second"]))


def test_a_network_with_another_end_is_refused() -> None:
    net, y = tn.Sequential(tn.Linear(3, 6), backend="numpy"), Y / 300
    with pytest.raises(ValueError, match=r"ends in Increasing\(3, n\), of 3 outputs of each target; got .* Linear"):
        net.fit(X, y, loss=tn.Quantile([0.1, 0.5, 0.9]), epochs=1)
    with pytest.raises(ValueError, match=r"ends in MeanVariance\(n\)"):
        network("quantiles", "numpy").fit(X, y[:, [0, 1, 1]], loss=tn.GaussianNLL(), epochs=1)
    with pytest.raises(ValueError, match="expects 3 outputs for each target; got 4 in all"):
        network("gaussian", "numpy").fit(X, y, loss=tn.Quantile([0.1, 0.5, 0.9]), epochs=1)
    with pytest.warns(tn.ScaleWarning, match=r"tn.Denormalize\(2, powers=\(1, 2\)\).adapt\(y\)"):
        network("gaussian", "numpy").fit(X, Y, loss=tn.GaussianNLL(), epochs=1)


@pytest.mark.parametrize("q", [[0.5], [0.9, 0.1], [0.1, 0.1], [], [0.5, 1.0]])
def test_quantiles_that_do_not_increase_are_refused(q: list[float]) -> None:
    with pytest.raises(ValueError, match=r"q must|at least two that increase"):
        tn.Quantile(q)


def test_a_sweep_over_quantiles_trains_each_by_itself() -> None:
    def build(several: bool, seed: int = 0) -> tn.Sequential:
        ending = [tn.Linear(4, 2), tn.Increasing(2)] if several else [tn.Linear(4, 1)]
        return tn.Sequential(tn.Linear(3, 4), tn.Tanh(), *ending, dtype="float64", seed=seed, backend="numba")

    y, options = RNG.normal(size=(30, 1)), {"epochs": 2, "batch_size": 10}
    for several, values in ((True, ([0.1, 0.9], [0.2, 0.8])), (False, (0.1, 0.9))):
        space = {"loss": [tn.Quantile(q) for q in values], "several": [several]}
        result = tn.sweep(build, space, X, y, **options)  # type: ignore[arg-type]
        for run, q in enumerate(values):
            alone = build(several)
            alone.fit(X, y, loss=tn.Quantile(q), **options)  # type: ignore[arg-type]
            np.testing.assert_allclose(result.model(run).predict(X), alone.predict(X), rtol=1e-9)


def test_slopes_are_of_one_output_for_each_target() -> None:
    with pytest.raises(ValueError, match="one output for each target; got GaussianNLL"):
        tn.Sobolev("gaussian_nll")


def test_a_scaling_for_other_outputs_is_refused() -> None:
    layers = [tn.Linear(3, 4), tn.MeanVariance(2), tn.Denormalize(4).adapt(np.hstack([Y, Y]))]
    with pytest.raises(ValueError, match=r"powers=\(1, 2\)\), of n targets; got Denormalize\(4\)"):
        tn.Sequential(*layers, backend="numpy").fit(X, Y, loss=tn.GaussianNLL(), epochs=1)


def test_laplace_is_of_one_output_for_each_target() -> None:
    with pytest.raises(ValueError, match="laplace expects one output for each target; got MeanVariance"):
        tn.laplace(network("gaussian", "numpy"), X, Y)


def test_powers_say_the_units_of_the_blocks() -> None:
    with pytest.raises(ValueError, match="and 1 first"):
        tn.Denormalize(1, powers=(2, 1))
    layer = tn.Denormalize(1, powers=(1, 2)).adapt([[0.0], [4.0]])
    np.testing.assert_allclose(layer(np.array([[1.0, 3.0]])), [[4.0, 12.0]])


def test_second_order_refuses_such_losses_and_lbfgs_takes_them() -> None:
    with pytest.raises(ValueError, match=r"Use tn\.LBFGS"):
        network("gaussian", "numpy").fit(X, Y / 300, loss=tn.GaussianNLL(), optimizer="lm", epochs=1)
    losses = [
        network("gaussian", backend).fit(X, Y / 300, loss=tn.GaussianNLL(), optimizer="lbfgs", epochs=4)["loss"]
        for backend in ("numpy", "numba")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


CLASSES = RNG.integers(0, 4, 30)


def classes_network(backend: str, width: int = 5, dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 4), seed=1, dtype=dtype, backend=backend)


@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_categorical_focal_loss_is_its_definition_and_cross_entropy_without_focus(gamma: float, backend: str) -> None:
    z = RNG.normal(size=(30, 4)) * 3
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    chosen = p[np.arange(30), CLASSES]
    loss = tn.CategoricalFocal(gamma)
    with tn.use_backend(backend):
        assert loss(z, CLASSES) == pytest.approx((-((1 - chosen) ** gamma) * np.log(chosen)).mean(), rel=1e-12)
        assert loss(z, np.eye(4)[CLASSES]) == pytest.approx(loss(z, CLASSES))
        if not gamma:
            expected = tn.CrossEntropy()
            np.testing.assert_allclose(loss.backward(z, CLASSES), expected.backward(z, CLASSES), atol=1e-15)
    assert tn.gradient_check(classes_network(backend), X[:5], CLASSES[:5], loss=loss).passed


@pytest.mark.parametrize("tier", TIERS)
def test_categorical_focal_loss_in_every_tier(tier: str) -> None:
    width, batch_size = TIERS[tier]
    loss, y = tn.CategoricalFocal(2.0), CLASSES[:23]
    layers = lambda: [tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 4)]  # noqa: E731
    target = loss.taught_target(loss.check_target(y, 4, "float64"), 4, "float64")
    assert_agrees(layers, Taught(loss), target, OPTIMIZERS["adam"], batch_size=batch_size, weighted=True, tier=tier)


class Taught(tn.Loss):
    """A loss with targets as its kernel reads them."""

    def __init__(self, loss: tn.Loss) -> None:
        super().__init__()
        self.loss = loss

    def lower(self, ops: Any = (), *, index_target: bool = False) -> Any:
        return self.loss.lower(ops, index_target=index_target)

    def check_target(self, y: Any, n_out: int, dtype: str) -> Any:
        return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_categorical_focal_loss_trains_models_whose_metrics_are_of_classes(dtype: str, tmp_path: Path) -> None:
    results = []
    options: Any = {"metrics": ["accuracy", "log_loss"], "class_weight": "balanced", "batch_size": 7, "epochs": 3}
    for backend in ("numba", "numpy"):
        net = classes_network(backend, dtype=dtype)
        history = net.fit(X, CLASSES, loss=tn.CategoricalFocal(), **options)
        models = tn.Ensemble(classes_network(backend, dtype=dtype), 2)
        many = models.fit(X, CLASSES, loss="categorical_focal", **options)
        results.append([*history["loss"], *history["log_loss"], *many["loss"].ravel(), *many["accuracy"].ravel()])
    np.testing.assert_allclose(*results, rtol=1e-9 if dtype == "float64" else 1e-4)
    net.save(tmp_path / "net.npz")
    assert repr(tn.load(tmp_path / "net.npz").loss) == "CategoricalFocal(gamma=2.0, reduction='mean')"
    far = np.array([[0, 200.0, -200.0]], dtype)
    assert tn.CategoricalFocal()(far, [1]) == 0
    assert np.isfinite([tn.CategoricalFocal().backward(far, [c]) for c in range(3)]).all()
    with pytest.raises(ValueError, match="rows of probabilities"):
        tn.CategoricalFocal()(far, [[0.5, 0.25, 0.25]])
