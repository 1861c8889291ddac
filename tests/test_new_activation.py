"""A new activation is a formula and a class: every backend, plan and export then has it, and no other file names it."""

from __future__ import annotations

import ast
import re
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tinynet_kernels
from cuda_on_cpu.installing import installed
from test_c_export import needs_cc
from test_c_export import run as run_c
from tinynet_kernels import formulas, kinds
from tinynet_kernels.expressions import select
from tinynet_kernels.formulas import Activation
from tinynet_kernels.reference.activations import _ACTIVATIONS as BY_HAND

import tinynet as tn
from tinynet.layers import activations as layers

# The derivative reads y only. What is compiled is kept on disk by the name of the kind, so that has the formula in it.
SOFTSIGN = Activation(
    lambda z, alpha: alpha * select(abs(z) > 1, select(z < 0, -1, 1) / (1 + 1 / abs(z)), z / (1 + abs(z))),
    lambda z, y, alpha: (alpha - abs(y)) * (1 - abs(y) / alpha),
)
KIND = f"softsign_{zlib.crc32(repr(SOFTSIGN.terms).encode()):x}"
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 2))


class Softsign(layers._Named):
    """``alpha x / (1 + |x|)``."""

    kind, alpha = KIND, 0.5


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of a formula."""
    monkeypatch.setitem(formulas.ACTIVATIONS, KIND, SOFTSIGN)
    monkeypatch.setitem(kinds.ACTIVATIONS, KIND, kinds._activation_traits(KIND))


def network(backend: str, **settings: Any) -> tn.Sequential:
    net = tn.Sequential(tn.Linear(3, 5), Softsign(), tn.Linear(5, 2), seed=0, backend=backend, dtype="float64")
    net.fit(X, Y, epochs=2, batch_size=4, **settings)
    return net


def definition(net: tn.Sequential) -> np.ndarray:
    """What a network predicts, by hand."""
    w0, b0, w1, b1 = (np.asarray(w, np.float64) for w in net.get_weights())
    z = X @ w0 + b0
    return np.asarray(0.5 * z / (1 + np.abs(z)) @ w1 + b1)


def test_its_traits_follow_from_its_formula() -> None:
    assert kinds.ACTIVATIONS[KIND] == kinds.ActivationTraits(reads_z=False, elementwise=True, uses_alpha=True)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_it_trains_and_predicts(backend: str) -> None:
    net = network(backend)
    np.testing.assert_allclose(net.predict(X), definition(net), rtol=1e-12)
    assert tn.gradient_check(net, X, Y, loss="mse").passed
    np.testing.assert_allclose(net.predict(X), network("numpy").predict(X), rtol=1e-12)


def test_it_runs_in_fused_kernels_for_a_gpu() -> None:
    from_numpy = network("numpy").predict(X)
    with installed("fake"):
        from tinynet_kernels.cuda import sources

        sources._source.cache_clear()
        try:
            net = network("cupy")
            np.testing.assert_allclose(net.predict(X), from_numpy, rtol=1e-12)
        finally:
            sources._source.cache_clear()


@needs_cc
def test_it_is_exported_to_c(tmp_path: Path) -> None:
    net = network("numpy")
    np.testing.assert_allclose(run_c(net, X, tmp_path), definition(net), rtol=1e-12)


def test_it_is_exported_to_onnx() -> None:
    net = network("numpy")
    session = onnxruntime.InferenceSession(net.to_onnx().SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"input": X})
    np.testing.assert_allclose(y, definition(net), rtol=1e-12)


OF_A_KIND = ["leaky_relu", "elu", "gelu"]
"""Kinds whose names mean nothing else."""

PLACES = {
    "tinynet_kernels/formulas.py",
    "tinynet_kernels/reference/activations.py",  # By hand, to hold the formula against.
    "tinynet_kernels/reference/second_derivatives.py",
    "tinynet/layers/activations.py",
}

FOREIGN = {"tinynet/exchange/to_keras.py"}
"""Files with the names that other libraries have for activations."""


@cache
def named() -> dict[str, set[str]]:
    """Return the files that name each kind: Python's as a text of its own, others anywhere."""
    found: dict[str, set[str]] = {kind: set() for kind in OF_A_KIND}
    for package in (Path(tn.__file__).parent, Path(tinynet_kernels.__file__).parent):
        for path in (path for ending in ("py", "cu", "cuh") for path in package.rglob(f"*.{ending}")):
            text = path.read_text(encoding="utf-8")
            for kind in (kind for kind in OF_A_KIND if re.search(rf"\b{kind}\b", text)):
                nodes = ast.walk(ast.parse(text)) if path.suffix == ".py" else ()
                if path.suffix != ".py" or any(isinstance(n, ast.Constant) and n.value == kind for n in nodes):
                    found[kind].add(path.relative_to(package.parent).as_posix())
    return found


@pytest.mark.parametrize("kind", OF_A_KIND)
def test_no_other_file_names_a_kind(kind: str) -> None:
    assert kind in formulas.ACTIVATIONS
    assert kind in BY_HAND
    assert named()[kind] - FOREIGN == PLACES
