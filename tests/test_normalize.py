"""Normalize: whoever says that it has seen data holds their columns, whatever was done to the layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

X = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 2.0, 30.0] + [5.0, -5.0, 0.5]
STANDARD = (X - X.mean(axis=0)) / X.std(axis=0)


def in_model(layer: tn.Normalize, **settings: Any) -> tn.Sequential:
    return tn.Sequential(layer, tn.Linear(3, 2), dtype="float64", seed=0, backend="numpy", **settings)


WAYS: dict[str, Callable[[tn.Normalize], Any]] = {
    "fresh_copy": lambda layer: layer.fresh_copy(),
    "fresh_copy of a fresh_copy": lambda layer: layer.fresh_copy().fresh_copy(),
    "fresh_copy out of a model": lambda layer: in_model(layer).layers[0].fresh_copy(),
    "a model": lambda layer: in_model(layer).layers[0],
    "a model that was cloned": lambda layer: in_model(layer).clone().layers[0],
    "a model that was moved": lambda layer: in_model(layer).to("numba").layers[0],
    "an ensemble": lambda layer: tn.Ensemble(in_model(layer), 2).layers[0],
    "a part of an ensemble": lambda layer: tn.Ensemble(in_model(layer), 3)[1:].layers[0],
    "a joined ensemble": lambda layer: tn.Ensemble.concatenate([tn.Ensemble(in_model(layer), 2)]).layers[0],
    "a model of an ensemble": lambda layer: tn.Ensemble(in_model(layer), 2)[1].layers[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_adapted_holds_the_columns(way: str) -> None:
    layer = tn.Normalize(3).build("float64", backend="numpy").adapt(X)
    got = WAYS[way](layer)
    assert got.adapted
    np.testing.assert_allclose(got.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(got.scale, X.std(axis=0), rtol=1e-12)
    other = tn.Sequential(got.fresh_copy(), dtype="float64", backend="numpy")
    np.testing.assert_allclose(other.predict(X), STANDARD, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_adapted_stays_so(way: str) -> None:
    assert not WAYS[way](tn.Normalize(3)).adapted


def test_a_copy_has_columns_of_its_own() -> None:
    layer = tn.Normalize(3).build("float64", backend="numpy").adapt(X)
    other = layer.fresh_copy()
    other.adapt(X * 2)
    np.testing.assert_allclose(layer.mean, X.mean(axis=0), rtol=1e-12)
    assert layer.fresh_copy().owned is False


def test_a_layer_that_is_built_anew_has_seen_no_data() -> None:
    layer = tn.Normalize(3).adapt(X)
    layer.build("float64")
    assert not layer.adapted
    np.testing.assert_array_equal(layer.mean, np.zeros(3))


def test_nobody_can_say_that_a_layer_has_seen_data() -> None:
    with pytest.raises(AttributeError):
        tn.Normalize(3).adapted = True


# -- exact columns -----------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)
COLUMNS = {
    "seconds since 1970": 1_700_000_050 + RNG.normal(size=(40, 1)),
    "large": RNG.normal(size=(40, 1)) * 1e200,
    "small": RNG.normal(size=(40, 1)) * 1e-200,
    "subnormal in float32": RNG.normal(size=(40, 1)) * 1e-44,
    "subnormal in float64": RNG.normal(size=(40, 1)) * 1e-308,
    "ordinary": RNG.normal(size=(40, 1)) * 3 + 1,
    "constant": np.full((40, 1), 1e9),
}
ALL = np.hstack(list(COLUMNS.values()))
TARGET = RNG.normal(size=(40, 2))


def oracle(x: Any) -> Any:
    """Return columns standardised in long double: without overflow, and without a rounding that would be seen."""
    wide = np.asarray(x, np.longdouble)
    scale = wide.std(axis=0)
    return ((wide - wide.mean(axis=0)) / np.where(scale == 0, 1, scale)).astype(np.float64)


def networks(dtype: str, backend: str) -> tuple[tn.Sequential, tn.Sequential]:
    """Return a network that standardises its samples, and one that gets them standardised."""
    rest = [tn.Linear(len(COLUMNS), 5), tn.Tanh(), tn.Linear(5, 2)]
    plain = tn.Sequential(*rest, dtype=dtype, seed=0, backend=backend)
    layers = [tn.Normalize(len(COLUMNS)).adapt(ALL), *(layer.fresh_copy() for layer in rest)]
    whole = tn.Sequential(*layers, dtype=dtype, seed=0, backend=backend)
    whole.set_weights(plain.get_weights())
    return whole, plain


def paths(net: tn.Sequential, x: Any) -> dict[str, Any]:
    """Return what all paths make of samples."""
    models = tn.Ensemble(net, 2, seeds=[0, 1])
    found = {"predict": net.predict(x), "one row": net.predict(x[3:4]), "forward": net.forward(x)}
    found |= {"models predict": models.predict(x), "mean": models.mean(x)}
    found["evaluate"] = net.evaluate(x, TARGET, loss="mse")["loss"]
    found["models evaluate"] = models.evaluate(x, TARGET, loss="mse")["loss"]
    settings: dict[str, Any] = {"validation_split": 0.2, "metrics": "rmse", "batch_size": 16}
    for name, trained in (("fit", net.clone()), ("models fit", tn.Ensemble(net, 2, seeds=[0, 1]))):
        history = trained.fit(x, TARGET, optimizer=tn.SGD(0.05), epochs=2, **settings)
        found[name] = np.concatenate([array.ravel() for array in trained.get_weights()])
        found[f"{name}, figures"] = np.array([history[key] for key in ("loss", "val_loss", "val_rmse")])
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("column", COLUMNS)
def test_columns_of_any_size_are_standardised(column: str, dtype: str) -> None:
    x = COLUMNS[column]
    for backend in ("numpy", "numba"):
        layer = tn.Normalize(1).adapt(x)
        got = tn.Sequential(layer, dtype=dtype, backend=backend).predict(x)
        # An offset as large as that of seconds leaves float64 itself no more than this.
        np.testing.assert_allclose(got, oracle(x), rtol=1e-6 if dtype == "float32" else 1e-9, atol=1e-6)
        assert layer.mean.dtype == layer.scale.dtype == np.float64


@pytest.mark.parametrize(("backend", "dtype"), [("numpy", "float32"), ("numpy", "float64"), ("numba", "float32")])
def test_every_path_standardises_before_it_rounds(backend: str, dtype: str, tmp_path: Path) -> None:
    whole, plain = networks(dtype, backend)
    standard = whole.layers[0]
    given = ((ALL - np.asarray(standard.mean)) / np.asarray(standard.scale)).astype(dtype)
    wanted = paths(plain, given)
    np.save(tmp_path / "x.npy", ALL.astype(">f8"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for way, x in {"in memory": ALL, "by columns": np.asfortranarray(ALL), "on disk": mapped}.items():
        for name, value in paths(whole, x).items():
            tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
            np.testing.assert_allclose(value, wanted[name], rtol=tolerance, atol=tolerance, err_msg=f"{name}, {way}")


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_whole_numbers_keep_their_last_digits(backend: str) -> None:
    x = np.arange(2**30, 2**30 + 40).reshape(-1, 1)
    net = tn.Sequential(tn.Normalize(1).adapt(x), tn.Linear(1, 1), seed=0, backend=backend)
    weight, bias = net.get_weights()
    for given in (x, x.astype("i4"), x.astype("u8"), x.astype("f8")):
        np.testing.assert_allclose(net.predict(given), oracle(x) * weight + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_models_may_have_columns_of_their_own(backend: str) -> None:
    nets = []
    for factor in (1.0, 2.0):
        layers = [tn.Normalize(3).adapt(X * factor), tn.Linear(3, 2)]
        nets.append(tn.Sequential(*layers, seed=0, backend=backend))
    models = tn.Ensemble.concatenate([tn.Ensemble(net, 1, seeds=[0]) for net in nets])
    np.testing.assert_allclose(models.predict(X), [net.predict(X) for net in nets], rtol=1e-5, atol=1e-6)
    y = X[:, :2]
    models.fit(X, y, optimizer=tn.SGD(0.1), epochs=2, shuffle=False)
    for net in nets:
        net.fit(X, y, optimizer=tn.SGD(0.1), epochs=2, shuffle=False)
    np.testing.assert_allclose(models.predict(X), [net.predict(X) for net in nets], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_into_the_dtype_once_standardised_is_refused() -> None:
    net = tn.Sequential(tn.Normalize(1).adapt([[0.0], [1e-30]]), tn.Linear(1, 1), seed=0, backend="numpy")
    with pytest.raises(ValueError, match="its columns standardised"):
        net.fit([[1e300], [0.0]], [[0.0], [1.0]])


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_keep_the_columns_as_they_are(ending: str, tmp_path: Path) -> None:
    net = tn.Sequential(tn.Normalize(len(COLUMNS)).adapt(ALL), tn.Linear(len(COLUMNS), 1), seed=0, backend="numpy")
    net.save(tmp_path / f"net.{ending}")
    other = tn.load(tmp_path / f"net.{ending}", backend="numpy")
    np.testing.assert_array_equal(other.layers[0].mean, net.layers[0].mean)
    np.testing.assert_array_equal(other.predict(ALL), net.predict(ALL))


@pytest.mark.parametrize("way", [lambda layer: layer, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_model_gets_the_numbers_that_a_layer_was_given(way: Callable[[tn.Layer], tn.Layer]) -> None:
    layer, values = tn.Linear(2, 1), np.array([[1 / 3], [0.7]])
    layer.bias = [0.1]
    layer.weight = values
    weight, bias = tn.Sequential(way(layer), dtype="float64", backend="numpy").get_weights()
    np.testing.assert_array_equal(weight, values)
    np.testing.assert_array_equal(bias, [0.1])


def test_what_is_written_into_the_array_of_a_layer_counts() -> None:
    layer = tn.Linear(1, 2)
    layer.weight = [[0.1, 0.2]]
    layer.weight[0, 1] = 7.0
    weight, _ = tn.Sequential(layer, dtype="float64", backend="numpy").get_weights()
    np.testing.assert_array_equal(weight, np.array([[0.1, 7.0]], "float32"))
