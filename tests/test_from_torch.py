"""Networks of PyTorch predict the same here."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
pytestmark = pytest.mark.peers
nn = torch.nn

X = np.random.default_rng(2).normal(size=(50, 4)) * 3
ATOL = {"float32": 1e-6, "float64": 1e-12}
MODULES: dict[str, Callable[[], Any]] = {
    "Identity": nn.Identity,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "LeakyReLU": lambda: nn.LeakyReLU(0.3),
    "ELU": lambda: nn.ELU(0.7),
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "Softplus": lambda: nn.Softplus(threshold=40),
    "Softmax": lambda: nn.Softmax(dim=1),
    "Softmax of the last": lambda: nn.Softmax(dim=-1),
    "Dropout": lambda: nn.Dropout(0.4),
    "Flatten": nn.Flatten,
    "nested": lambda: nn.Sequential(nn.Linear(5, 5), nn.Sequential(nn.Tanh()), nn.Linear(5, 5, bias=False)),
}


def seen() -> Any:
    """A batch norm that has seen batches."""
    module = nn.BatchNorm1d(5, eps=1e-3)
    nn.init.normal_(module.weight)
    for _ in range(3):
        module(2.0 * torch.randn(8, 5) + 1.0)
    return module


MODULES |= {
    "LayerNorm": lambda: nn.LayerNorm(5, eps=1e-3),
    "LayerNorm without weights": lambda: nn.LayerNorm(5, elementwise_affine=False),
    "BatchNorm1d": seen,
    "BatchNorm1d without weights": lambda: nn.BatchNorm1d(5, affine=False),
}


def predicted(module: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(module.eval()(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_modules_predict_the_same(name: str, dtype: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), MODULES[name](), nn.Linear(5, 3, bias=False), nn.Tanh())
    module = module.to(getattr(torch, dtype))
    net = tn.from_torch(module, backend="numpy")
    assert net.dtype == dtype
    x = X.astype(dtype)
    np.testing.assert_allclose(net.predict(x), predicted(module, x), rtol=0, atol=ATOL[dtype])


def test_the_shortcut_of_softplus_is_as_far_off_as_documented() -> None:
    module = nn.Sequential(nn.Linear(1, 1), nn.Softplus()).double()
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[0].bias.fill_(0.0)
    z = np.linspace(-40, 40, 1001)[:, None]
    error = np.abs(tn.from_torch(module, backend="numpy").predict(z) - predicted(module, z)).max()
    assert error < 2.1e-9


def test_one_activation_may_stand_in_several_places() -> None:
    tanh = nn.Tanh()
    module = nn.Sequential(nn.Linear(4, 5), tanh, nn.Linear(5, 5), tanh).double()
    np.testing.assert_allclose(tn.from_torch(module, backend="numpy").predict(X), predicted(module, X), atol=1e-12)


def test_modules_with_names_are_taken_over() -> None:
    from collections import OrderedDict

    module = nn.Sequential(OrderedDict(first=nn.Linear(4, 2), act=nn.ReLU()))
    assert repr(tn.from_torch(module, backend="numpy").layers) == "(Linear(4, 2), ReLU())"


def test_the_network_has_its_own_weights() -> None:
    module = nn.Sequential(nn.Linear(4, 2))
    net = tn.from_torch(module, backend="numpy")
    before = predicted(module, X.astype("float32"))
    net.set_flat_parameters(np.zeros(net.n_parameters))
    np.testing.assert_array_equal(predicted(module, X.astype("float32")), before)


def test_all_modules_that_are_not_known_are_named() -> None:
    module = nn.Sequential(nn.Linear(4, 2), nn.Sequential(nn.InstanceNorm1d(2)), nn.PReLU())
    with pytest.raises(ValueError, match=r"1\.0: InstanceNorm1d\(.*; 2: PReLU\(.*It knows Linear"):
        tn.from_torch(module)


class Linear(nn.Linear):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


UNFIT: dict[str, Callable[[], Any]] = {
    "a subclass": lambda: Linear(4, 4),
    "approximate": lambda: nn.GELU(approximate="tanh"),
    "beta": lambda: nn.Softplus(beta=2),
    "threshold": lambda: nn.Softplus(threshold=5),
    "dim": lambda: nn.Softmax(dim=0),
    "p=1": lambda: nn.Dropout(1.0),
    "start_dim": lambda: nn.Flatten(0),
    "normalized_shape": lambda: nn.LayerNorm((2, 2)),
    "bias": lambda: nn.LayerNorm(4, bias=False),
    "momentum": lambda: nn.BatchNorm1d(4, momentum=None),
    "track_running_stats": lambda: nn.BatchNorm1d(4, track_running_stats=False),
}


@pytest.mark.parametrize("name", UNFIT)
def test_modules_that_compute_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="from_torch cannot take over 1: "):
        tn.from_torch(nn.Sequential(nn.Linear(4, 4), UNFIT[name]()))


@pytest.mark.parametrize("place", ["module", "nested", "whole"])
def test_hooks_that_change_what_is_computed_are_refused(place: str) -> None:
    inner = nn.Sequential(nn.Tanh())
    module = nn.Sequential(nn.Linear(4, 4), inner)
    {"module": module[0], "nested": inner, "whole": module}[place].register_forward_hook(lambda m, i, o: o * 2)
    with pytest.raises(ValueError, match="cannot take over"):
        tn.from_torch(module)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_in_half_precision_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"got \['{dtype}'\]\. Convert with module\.float"):
        tn.from_torch(nn.Sequential(nn.Linear(4, 2)).to(getattr(torch, dtype)))


def test_weights_of_two_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="one dtype"):
        tn.from_torch(nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2).double()))


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(tn.DependencyError, match="pip install torch"):
        tn.from_torch(None)


@pytest.mark.parametrize("other", [nn.Linear(2, 2), "net", None])
def test_other_things_are_refused(other: Any) -> None:
    with pytest.raises(TypeError, match=r"expects a torch\.nn\.Sequential"):
        tn.from_torch(other)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        tn.from_torch(nn.Sequential(nn.Tanh()))


def test_weights_that_are_not_finite_are_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    with torch.no_grad():
        module[2].weight[0, 1] = math.nan
    with pytest.raises(ValueError, match=r"from_torch expects finite weights; those of layer2\.weight are not"):
        tn.from_torch(module)
