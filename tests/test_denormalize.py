"""Denormalize: the loss is that of standardised targets, and all else has the units of the targets."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.stack([1000 * X[:, 0] + 5e5, 1e-3 * X[:, 1] * X[:, 2], np.full(60, 7.0)], axis=1)
MEAN, SCALE = Y.mean(axis=0), np.where(Y.std(axis=0) < 1e-9, 1.0, Y.std(axis=0))
STANDARD = (Y - MEAN) / SCALE
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}


def network(
    backend: str, dtype: str = "float32", *, units: bool = True, seed: int = 0, targets: Any = Y
) -> tn.Sequential:
    layers: list[tn.Layer] = [tn.Normalize(3).adapt(X), tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 3)]
    last = [tn.Denormalize(3).adapt(targets)] if units else []
    return tn.Sequential(*layers, *last, seed=seed, dtype=dtype, backend=backend)


@pytest.fixture(scope="module", params=["numpy", "numba"])
def pair(request: pytest.FixtureRequest) -> tuple[tn.Sequential, tn.Sequential]:
    """A network that scales its targets, and one that gets them scaled, both trained."""
    scaled, plain = (network(request.param, "float64", units=units) for units in (True, False))
    for net, y in ((scaled, Y), (plain, STANDARD)):
        net.fit(X, y, epochs=4, batch_size=16, validation_split=0.2, metrics=["mae", "rmse"])
    return scaled, plain


def test_it_learns_what_standardised_targets_teach(pair: tuple[tn.Sequential, tn.Sequential]) -> None:
    scaled, plain = pair
    for one, other in zip(scaled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    assert scaled.history is not None
    assert plain.history is not None
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(scaled.history[name], plain.history[name], rtol=1e-12)
    loss = plain.evaluate(X, STANDARD)["loss"]
    figures = scaled.evaluate(X, Y, metrics="mae")
    assert figures["loss"] == pytest.approx(loss, rel=1e-12)
    error = np.abs(plain.predict(X) * SCALE + MEAN - Y).mean()
    assert figures["mae"] == pytest.approx(error, rel=1e-9)
    assert scaled.history["val_mae"][-1] == pytest.approx(scaled.evaluate(X[48:], Y[48:], metrics="mae")["mae"])
    assert scaled.report(X, Y).figures["mae"] == pytest.approx(error, rel=1e-9)


def test_predictions_and_derivatives_have_the_units_of_the_targets(pair: tuple[tn.Sequential, tn.Sequential]) -> None:
    scaled, plain = pair
    for x in (X, X[:1]):
        np.testing.assert_allclose(scaled.predict(x), plain.predict(x) * SCALE + MEAN, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(scaled.forward(x), scaled.predict(x), rtol=1e-12)
        np.testing.assert_allclose(scaled.jacobian(x) / SCALE[:, None], plain.jacobian(x), rtol=1e-9, atol=1e-12)
    unit = SCALE[:, None, None]
    np.testing.assert_allclose(scaled.hessian(X) / unit, plain.hessian(X), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.jvp(X, X) / SCALE, plain.jvp(X, X), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.vjp(X, STANDARD), plain.vjp(X, STANDARD * SCALE), rtol=1e-9, atol=1e-9)
    with scaled.backend.active():
        scaled.forward(X)
        back = scaled.backward(STANDARD)
    np.testing.assert_allclose(back, plain.vjp(X, STANDARD * SCALE), rtol=1e-9, atol=1e-9)
    assert tn.gradient_check(scaled, X[:5], Y[:5]).passed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_targets_are_standardised_before_they_are_rounded(backend: str, dtype: str, tmp_path: Path) -> None:
    y = 2.0**30 + np.arange(60.0)
    np.save(tmp_path / "y.npy", y[:, None].astype(">f8"))
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    standard = ((y - y.mean()) / y.std())[:, None]
    plain = tn.Sequential(tn.Linear(3, 1), seed=0, dtype=dtype, backend=backend)
    plain.fit(X, standard, epochs=2)
    for given in (y, y[:, None], y.astype(np.int64), mapped):
        layers = tn.Linear(3, 1), tn.Denormalize(1).adapt(given)
        net = tn.Sequential(*layers, seed=0, dtype=dtype, backend=backend)
        net.fit(X, given, epochs=2)
        np.testing.assert_allclose(net.get_weights()[0], plain.get_weights()[0], rtol=TOLERANCE[dtype])
    assert net.layers[-1].mean == pytest.approx(y.mean(), rel=1e-15)
    assert net.layers[-1].scale == pytest.approx(y.std(), rel=1e-15)


@pytest.mark.parametrize("optimizer", ["adam", "lm", "lbfgs"])
def test_models_of_an_ensemble_are_what_each_is_alone(backend: str, optimizer: str) -> None:
    models = tn.Ensemble(network(backend, "float64"), 2)
    models.fit(X, Y, epochs=3, optimizer=optimizer, metrics="rmse")
    single = network(backend, "float64", seed=1)
    single.fit(X, Y, epochs=3, optimizer=optimizer, metrics="rmse")
    np.testing.assert_allclose(models.predict(X)[1], single.predict(X), rtol=1e-6, atol=1e-9)
    figures, alone = (model.evaluate(X, Y, metrics="rmse") for model in (models, single))
    for name, value in alone.items():
        assert figures[name][1] == pytest.approx(value, rel=1e-5)


def test_models_with_columns_of_their_own_predict_but_share_no_targets() -> None:
    nets = [tn.Sequential(tn.Linear(3, 1), tn.Denormalize(1).adapt(y), seed=0, backend="numpy") for y in Y.T[:2]]
    models = tn.Ensemble.concatenate([tn.Ensemble(net, 1, seeds=[0]) for net in nets])
    np.testing.assert_allclose(models.predict(X), [net.predict(X) for net in nets], rtol=1e-6)
    with pytest.raises(ValueError, match="the same columns in Denormalize"):
        models.fit(X, Y[:, :1])


def test_copies_and_files_keep_the_columns(tmp_path: Path, backend: str) -> None:
    net = network(backend)
    for name in ("net.npz", "net.safetensors"):
        net.save(tmp_path / name)
    loaded = [tn.load(tmp_path / name, backend=backend) for name in ("net.npz", "net.safetensors")]
    for other in (*loaded, pickle.loads(pickle.dumps(net)), net.clone()):
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        np.testing.assert_array_equal(other.layers[-1].scale, net.layers[-1].scale)


def test_a_resumed_training_ends_as_one_that_never_stopped(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"batch_size": 16, "validation_split": 0.2, "metrics": "mae"}
    whole, first, second = (network("numpy") for _ in range(3))
    wanted = whole.fit(X, Y, epochs=6, callbacks=[tn.Checkpoint(tmp_path / "other")], **settings)
    path = tmp_path / "run"
    first.fit(X, Y, epochs=3, callbacks=[tn.Checkpoint(path)], **settings)
    history = second.fit(X, Y, epochs=6, callbacks=[tn.Checkpoint(path)], resume_from=path, **settings)
    assert [list(history[name]) for name in wanted] == [list(wanted[name]) for name in wanted]
    np.testing.assert_array_equal(second.flat_parameters(), whole.flat_parameters())
    for net, y, message in (
        (network("numpy", targets=2 * Y), Y, r"layer 4, Denormalize\(3\), has other columns"),
        (network("numpy"), Y + np.array([1.0, 0.0, 0.0]), "its y has other values"),
    ):
        with pytest.raises(tn.errors.ResumeError, match=message):
            net.fit(X, y, epochs=6, callbacks=[tn.Checkpoint(path)], resume_from=path, **settings)


@pytest.mark.parametrize("loss", ["bce", "poisson", "focal"])
def test_losses_of_classes_and_counts_are_refused(loss: str) -> None:
    net = network("numpy")
    with pytest.raises(ValueError, match="expects targets as they are; a network that ends in Denormalize"):
        net.fit(X, np.ones((60, 3)), loss=loss)


def test_its_place_is_the_end_and_it_wants_data() -> None:
    net = tn.Sequential(tn.Denormalize(3).adapt(Y), tn.Linear(3, 1), backend="numpy")
    with pytest.raises(ValueError, match=r"last layer of a network; got it as layer 0 of 2"):
        net.fit(X, X[:, :1])
    net = tn.Sequential(tn.Linear(3, 1), tn.Denormalize(1), backend="numpy")
    with pytest.raises(ValueError, match=r"Denormalize\(1\) has seen no data yet. Call its adapt\(y\)"):
        net.predict(X)
    with pytest.raises(ValueError, match="standardised by Denormalize"):
        tn.Sequential(tn.Linear(1, 1), tn.Denormalize(1).adapt([0.0, 1e-30]), backend="numpy").fit([[1.0]], [[1e30]])


# -- a word to those who scale nothing ---------------------------------------------------------------------------------


def test_who_scales_nothing_is_told_once_where_they_call_it() -> None:
    net, x, y = tn.Sequential(tn.Linear(1, 1), backend="numpy"), X[:, :1], 1000 * X[:, :1] + 5e5
    for fit in (net.fit, tn.Ensemble(net, 2).fit):
        with pytest.warns(
            tn.ScaleWarning, match=r"y with means up to 5e\+05.*tn\.Denormalize\(1\)\.adapt\(y\)"
        ) as told:
            fit(x, y)
        assert [warning.filename for warning in told] == [__file__]
    with pytest.warns(tn.ScaleWarning, match=r"x with means up to 1e\+03.*tn\.Normalize\(1\)\.adapt\(x\)"):
        net.fit(x + 1000, x)


def test_the_usual_case_is_not_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network("numpy").fit(1000 * X + 5, Y)
        net = tn.Sequential(tn.Linear(3, 3), backend="numpy")
        net.fit(X * 10, STANDARD * 20)
        net.fit(X, np.arange(180.0).reshape(60, 3), loss="poisson")
