"""CasADi: the function computes what the network does, and CasADi's own derivatives are those of the network."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from exchange_networks import KINDS, LEVELS, NAMES, X, activation_alone, embedded, network

import tinynet as tn
from tinynet.base.errors import DependencyError


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_the_network(name: str) -> None:
    ca = pytest.importorskip("casadi")
    net, x = network(name), X[:5]
    function = net.to_casadi(name="surrogate")
    assert function.name() == "surrogate"
    np.testing.assert_allclose(np.array(function(x.T)).T, net.predict(x), rtol=1e-10, atol=1e-13)
    row = ca.MX.sym("row", 3)
    slope = ca.Function("slope", [row], [ca.jacobian(function(row), row)])
    found = np.stack([np.array(slope(one)) for one in x])
    np.testing.assert_allclose(found, net.jacobian(x), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("kind", [*KINDS, "erf"])
def test_derivatives_are_right_where_choices_change(kind: str) -> None:
    """CasADi derives by itself what the function is written with, such as the absolute value in a sigmoid."""
    ca = pytest.importorskip("casadi")
    last = tn.Activation(tn.math.erf) if kind == "erf" else None
    net = activation_alone(kind) if last is None else tn.Sequential(tn.Linear(1, 1), last, dtype="float64")
    x = ca.MX.sym("x")
    slope = ca.Function("slope", [x], [ca.jacobian(net.to_casadi()(x), x)])
    np.testing.assert_allclose(np.array(slope(0.0)), net.jacobian([[0.0]])[0], rtol=1e-12)


def test_a_level_picks_its_vector() -> None:
    pytest.importorskip("casadi")
    net = embedded()
    np.testing.assert_allclose(np.array(net.to_casadi()(LEVELS.T)).T, net.predict(LEVELS), rtol=1e-10, atol=1e-13)


def test_an_optimiser_of_casadi_finds_the_minimum_of_a_network() -> None:
    ca = pytest.importorskip("casadi")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2))
    y = np.square(x - [0.3, -0.2]).sum(axis=1, keepdims=True)
    net = tn.Sequential(tn.Linear(2, 8), tn.Tanh(), tn.Linear(8, 1), dtype="float64", seed=0, backend="numpy")
    net.fit(x, y, optimizer="lm", epochs=60)
    point = ca.MX.sym("point", 2)
    solver = ca.nlpsol("solver", "ipopt", {"x": point, "f": net.to_casadi()(point)}, {"ipopt.print_level": 0})
    found = np.array(solver(x0=[0, 0], lbx=-1, ubx=1)["x"])[:, 0]
    np.testing.assert_allclose(found, [0.3, -0.2], atol=0.02)


def test_without_casadi_the_message_tells_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "casadi", None)
    with pytest.raises(DependencyError, match="pip install casadi"):
        network("Tanh").to_casadi()
