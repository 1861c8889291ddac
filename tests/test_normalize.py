"""Normalize: whoever says that it has seen data holds their columns, whatever was done to the layer."""

from __future__ import annotations

from collections.abc import Callable
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
